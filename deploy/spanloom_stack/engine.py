"""The ClickHouse engine of chDB, in this process: one short-lived handle a request, so no state leaks between two.

A handle costs 0.2 ms. chDB must not be forked after it was opened, and one process holds a data folder at a time.
"""

import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from chdb.state.sqlitelike import Connection

from spanloom_stack import sql

_CONFIGURATION = Path(__file__).with_name("clickhouse.xml")
_CODE = re.compile(r"Code: (\d+)\. ")

# Given to every handle first. async_insert off: an answer means the rows are in the table, and their token is recorded.
_LIMITS = {"max_execution_time": "60", "max_memory_usage": "1000000000", "max_threads": "2", "async_insert": "0"}


class EngineError(Exception):
    """What the engine refused or failed to do: ClickHouse's error code and its message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Answer(NamedTuple):
    """A finished statement. Counts are of rows and bytes, `elapsed` in seconds."""

    body: bytes = b""
    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    elapsed: float = 0.0


class Request(NamedTuple):
    """Whose statement, and with what."""

    database: str
    settings: Mapping[str, str]
    parameters: Mapping[str, str]  # values in ClickHouse's escaped text, as they come over HTTP
    read_only: bool


class Engine:
    """The engine over one data folder, for use by several threads; opening it locks the folder."""

    def __init__(self, data: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self._path = f"{data.absolute()}?{urlencode({'config-file': str(_CONFIGURATION)})}"
        try:
            self._keeper = Connection(self._path)  # keeps the engine open between requests
        except Exception as error:
            raise EngineError(0, f"cannot open the engine's data folder {data}: {_first_line(error)}") from error
        version, revision, timezone, name = self._ask("SELECT version(), revision(), timezone(), hostName()").split(
            "\t"
        )
        self.version, self.revision, self.timezone, self.name = version, int(revision), timezone, name
        functions = self._ask("SELECT name FROM system.table_functions").split("\n")
        safe = {function.lower() for function in sql.SAFE_TABLE_FUNCTIONS}
        self._forbidden = frozenset({function.lower() for function in functions} - safe | {"file"})

    def query(self, text: str, format: str, request: Request) -> Answer:
        """Run one statement. Raises EngineError."""
        with self._handle(request) as handle:
            if request.read_only:
                self._guard(handle, text)
            try:
                result = handle.query(text, format, params=dict(request.parameters))
            except Exception as error:
                raise _error(error) from error
            return Answer(
                body=result.bytes(),
                read_rows=result.storage_rows_read(),
                read_bytes=result.storage_bytes_read(),
                elapsed=result.elapsed(),
            )

    def insert(self, insert: sql.Insert, chunks: Iterable[bytes], request: Request) -> Answer:
        """Run an INSERT with the data in `chunks`, in memory that does not grow with it.

        Nothing is written when `chunks` raises. Raises EngineError.
        """
        if request.read_only:
            raise EngineError(164, "Code: 164. DB::Exception: Cannot execute query in readonly mode. (READONLY)")
        with tempfile.TemporaryFile() as file, self._handle(request) as handle:
            for chunk in chunks:
                file.write(chunk)
            try:
                file.flush()
                statement = insert.of_file(f"/proc/self/fd/{file.fileno()}")
                done = handle.query(statement, params=dict(request.parameters))
            except Exception as error:
                raise _error(error) from error
            return Answer(written_rows=done.rows_written(), written_bytes=done.bytes_written(), elapsed=done.elapsed())

    def close(self) -> None:
        """Close the engine; what was inserted is on disk."""
        self._keeper.close()

    def _handle(self, request: Request) -> Connection:
        handle = Connection(self._path)
        try:
            _set(handle, _LIMITS | dict(request.settings))
            if request.database != "default":
                handle.query(f"USE `{request.database.replace('`', '``')}`")
            if request.read_only:
                handle.query("SET readonly = 1")
        except Exception as error:
            handle.close()
            raise _error(error) from error
        return handle

    def _guard(self, handle: Connection, text: str) -> None:
        """Refuse what a reader may not do, judged by the engine's own reading of the text."""
        try:
            canonical = handle.query(f"SELECT formatQuerySingleLine({sql.literal(text)})", "RawBLOB").bytes().decode()
        except Exception as error:
            raise _error(error) from error
        reason = sql.refusal(canonical, self._forbidden)
        if reason:
            raise EngineError(164, f"Code: 164. DB::Exception: {reason}. (READONLY)")

    def _ask(self, text: str) -> str:
        return str(self._keeper.query(text, "TabSeparated").bytes().decode().rstrip("\n"))


def _set(handle: Connection, settings: Mapping[str, str]) -> None:
    for name in settings:
        if not re.fullmatch(r"\w+", name):
            raise EngineError(115, f"Code: 115. DB::Exception: Unknown setting '{name}'. (UNKNOWN_SETTING)")
    if settings:
        handle.query("SET " + ", ".join(f"{name} = {sql.literal(value)}" for name, value in settings.items()))


def _error(error: Exception) -> EngineError:
    if isinstance(error, EngineError):
        return error
    message = str(error)
    found = _CODE.search(message)
    return EngineError(int(found[1]) if found else 1002, message[found.start() :] if found else message)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
