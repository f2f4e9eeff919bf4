"""The one door to ClickHouse for whoever reads: texts with server-side parameters in, rows out, one kind of error.

Every value goes to the server as a parameter, never into the text of a statement, and every statement is sent as one
that may only read.
"""

import json
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError, OperationalError
from spanloom_schemas.settings import ClickHouseSettings

from spanloom_traces.model import Answer

# What goes wrong is raised, and said once; without a handler the driver's log would reach stderr as well.
logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())

# Codes of ClickHouse's errors.
_NOT_THERE = (60, 81)


class StoreError(Exception):
    """What was asked cannot be answered: one line that says why and what to do."""


class NotThere(StoreError):
    """There is no such trace, run or prompt version, or no longer."""


@contextmanager
def connect(settings: ClickHouseSettings) -> Iterator[Client]:
    """A client; whatever goes wrong while it is used is a StoreError."""
    with _one_error(settings):
        client = _client(settings)
        try:
            yield client
        finally:
            client.close()


class Connection:
    """A database that is only read; connects at the first use. Threads may share it."""

    def __init__(self, settings: ClickHouseSettings) -> None:
        self._settings = settings
        self._opened: Client | None = None
        self._lock = threading.Lock()

    def rows(self, text: str, parameters: Mapping[str, object]) -> list[dict[str, Any]]:
        """The rows that `text` answers; `{name:Type}` in it are server-side parameters. Raises StoreError."""
        with _one_error(self._settings):
            client = self._client()
            answer = client.query(text, parameters=dict(parameters), settings=_reading(client))
            return list(answer.named_results())

    def stream(self, text: str, parameters: Mapping[str, object]) -> Iterator[dict[str, Any]]:
        """As `rows`, a block of them in memory at a time."""
        with _one_error(self._settings):
            client = self._client()
            answer = client.query_row_block_stream(text, parameters=dict(parameters), settings=_reading(client))
            with answer as blocks:
                names = blocks.source.column_names
                for block in blocks:
                    for row in block:
                        yield dict(zip(names, row, strict=True))

    def answer(self, statement: str) -> Answer:
        """What any one statement answers, values as JSON has them. Raises StoreError, as for one that would write."""
        with _one_error(self._settings):
            client = self._client()
            body = client.raw_query(statement, settings=_reading(client), fmt="JSONCompactEachRowWithNamesAndTypes")
        lines = body.decode(errors="replace").splitlines() if isinstance(body, bytes) else str(body).splitlines()
        if not lines:
            return Answer((), ())
        columns, _types, *rows = (json.loads(line) for line in lines)
        return Answer(tuple(columns), tuple(tuple(row) for row in rows))

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    def _client(self) -> Client:
        with self._lock:
            if self._opened is None:
                self._opened = _client(self._settings)
            return self._opened


def _client(settings: ClickHouseSettings) -> Client:
    return clickhouse_connect.get_client(**settings.connection(), autogenerate_session_id=False, connect_timeout=5)


def _reading(client: Client) -> dict[str, str]:
    """The server refuses whatever would change anything. A user who only reads anyway may not set it again."""
    already = client.server_settings.get("readonly")
    return {} if already and already.value != "0" else {"readonly": "1"}


@contextmanager
def _one_error(settings: ClickHouseSettings) -> Iterator[None]:
    try:
        yield
    except ClickHouseError as error:
        raise StoreError(_advice(error, settings)) from error


def _advice(error: ClickHouseError, settings: ClickHouseSettings) -> str:
    code = getattr(error, "code", None)
    if code in _NOT_THERE:
        return f"the database at {settings.clickhouse_url} has no such table ({_reason(error)}); run spanloom migrate"
    if advice := settings.advice(str(error)):
        return advice
    if isinstance(error, OperationalError) or (isinstance(error, DatabaseError) and code is None):
        return (
            f"ClickHouse does not answer at {settings.clickhouse_url}; start it with spanloom up, or set "
            f"SPANLOOM_CLICKHOUSE_URL"
        )
    return _reason(error)


def _reason(error: ClickHouseError) -> str:
    """The server's message without what the client and the server put around it."""
    text = str(error).partition("DB::Exception:")[2] or str(error)
    return " ".join(text.partition(" (version ")[0].partition(" Expected one of")[0].split())[:500]
