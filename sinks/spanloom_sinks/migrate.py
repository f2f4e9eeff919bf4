"""Numbered DDL, applied once each; views and functions, applied whenever they changed; how long rows live.

Several processes may migrate at the same time: every statement may be run twice.
"""

import hashlib
import logging
import re
import threading
from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable

from msgspec.structs import replace
from spanloom_schemas.settings import ClickHouseSettings

from spanloom_sinks.settings import RetentionSettings
from spanloom_sinks.store import Store, StoreError

log = logging.getLogger(__name__)

_DEFAULT = RetentionSettings()

_WINDOWS = (
    {"{window}": "1m", "{start}": "t.start", "{seconds}": "60", "{panes}": "panes_1m"},
    {
        "{window}": "5m",
        "{start}": "toStartOfInterval(t.start, toIntervalMinute(5))",
        "{seconds}": "300",
        "{panes}": "panes_1m",
    },
    {"{window}": "1h", "{start}": "t.start", "{seconds}": "3600", "{panes}": "panes_1h"},
)
"""What stands for the names in braces of a view that is made for each length of a window."""

_MIGRATIONS = """
CREATE TABLE IF NOT EXISTS migrations
(
    name String,
    digest String,
    applied DateTime('UTC') DEFAULT now()
)
ENGINE = ReplacingMergeTree(applied)
ORDER BY name
"""


class MigrationError(Exception):
    """The database cannot be brought to what this version needs; the message is one line."""


def apply(settings: ClickHouseSettings, retention: RetentionSettings = _DEFAULT) -> list[str]:
    """Bring the database to what this version needs and return what was done, a line each.

    Raises StoreError when ClickHouse is away, MigrationError when a migration that was applied has changed since.
    """
    server = Store(replace(settings, clickhouse_database="default"))
    server.command("CREATE DATABASE IF NOT EXISTS {name:Identifier}", name=settings.clickhouse_database)
    server.close()
    store = Store(settings)
    try:
        store.command(_MIGRATIONS)
        applied = dict(store.query("SELECT name, argMax(digest, applied) FROM migrations GROUP BY name").iter_rows())
        return [*_migrate(store, applied), *_retain(store, retention)]
    finally:
        store.close()


def apply_when_up(settings: ClickHouseSettings, retention: RetentionSettings, stop: threading.Event) -> None:
    """As `apply`, waiting for ClickHouse as long as it takes, or until `stop` is set."""
    pause = 0.2
    while not stop.is_set():
        try:
            apply(settings, retention)
        except StoreError as error:
            if pause == 0.2:
                log.warning("cannot reach ClickHouse, trying again until it works: %s", error)
            pause = min(5.0, pause * 2)
            stop.wait(pause)
        else:
            return


def _migrate(store: Store, applied: dict[str, str]) -> Iterator[str]:
    for name, text, repeatable in migrations():
        digest = hashlib.sha256(text.encode()).hexdigest()
        if applied.get(name) == digest:
            continue
        if name in applied and not repeatable:
            raise MigrationError(
                f"{name} was changed after it was applied to {store.database}: add a new migration instead"
            )
        for statement in statements(text):
            store.command(statement)
        store.command(
            "INSERT INTO migrations (name, digest) VALUES ({name:String}, {digest:String})", name=name, digest=digest
        )
        yield f"applied {name}"


def migrations() -> list[tuple[str, str, bool]]:
    """Name, text and whether it may be applied again when changed, in the order of application."""
    ddl = files("spanloom_sinks") / "ddl"
    return [
        *((file.name, file.read_text(), False) for file in _sorted(ddl)),
        *((f"views/{file.name}", _of_each_window(file.read_text()), True) for file in _sorted(ddl / "views")),
    ]


def _of_each_window(view: str) -> str:
    """The text of a view once for each length of a window, where it has their names in braces; else as it is."""
    if "{window}" not in view:
        return view
    return "\n".join(_filled(view, names) for names in _WINDOWS)


def _filled(text: str, names: Mapping[str, str]) -> str:
    for name, meaning in names.items():
        text = text.replace(name, meaning)
    return text


def statements(text: str) -> list[str]:
    """The statements of a DDL file: each ends with a semicolon at the end of a line."""
    return [statement for part in text.split(";\n") if (statement := part.strip())]


def _sorted(folder: Traversable) -> list[Traversable]:
    return sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)


def _retain(store: Store, retention: RetentionSettings) -> Iterator[str]:
    tables = store.query("SELECT name, engine_full FROM system.tables WHERE database = currentDatabase()")
    for table, engine in tables.iter_rows():
        found = re.search(r"TTL (.+?) \+ toIntervalDay\((\d+)\)", engine)
        days = retention.days().get(table)
        if found and days is not None and int(found[2]) != days:
            store.command(f"ALTER TABLE {table} MODIFY TTL {found[1]} + toIntervalDay({days})")
            yield f"rows of {table} now live {days} days, not {found[2]}"
