"""The one door to ClickHouse: queries in, polars frames through, one kind of error out."""

import logging
from io import BytesIO
from typing import Any

import clickhouse_connect
import polars as pl
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error
from spanloom_schemas.settings import ClickHouseSettings
from urllib3.exceptions import HTTPError

# What goes wrong is raised, and said once; without a handler the driver's log would reach stderr as well.
logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())

_INSERT = {
    # An answer must mean that the rows are in the table and their token in its log.
    "async_insert": 0,
    "insert_deduplicate": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    # Copies are told apart by FINAL and merges; looking for them in every block doubles what an insert costs.
    "optimize_on_insert": 0,
    # A few spans with absurd times must not make a block impossible to insert.
    "max_partitions_per_insert_block": 0,
}


class StoreError(Exception):
    """ClickHouse did not do what was asked: it is away, slow, or refuses; the message is one line."""


class Store:
    """A ClickHouse database; connects at the first use, and again after a failure."""

    def __init__(self, settings: ClickHouseSettings, timeout_seconds: int = 60) -> None:
        self.database = settings.clickhouse_database
        self._settings = settings
        self._timeout = timeout_seconds
        self._client: Client | None = None

    def insert(self, table: str, rows: pl.DataFrame, token: str | None = None) -> None:
        """Insert `rows` (columns by name); a second insert with the same token changes nothing. Raises StoreError."""
        body = BytesIO()
        rows = _telling(rows)
        rows.rechunk().write_ipc_stream(body, compat_level=pl.CompatLevel.oldest())
        settings = _INSERT | ({"insert_deduplication_token": token} if token else {})
        self._call("raw_insert", table, rows.columns, body.getvalue(), settings, fmt="ArrowStream")

    def command(self, sql: str, **parameters: Any) -> None:
        """Run a statement without an answer; `{name:Type}` in it are server-side parameters. Raises StoreError."""
        self._call("command", sql, parameters=parameters or None)

    def query(self, sql: str, **parameters: Any) -> pl.DataFrame:
        """The answer to a query as a frame; `{name:Type}` in it are server-side parameters. Raises StoreError."""
        body = self._call("raw_query", sql, parameters=parameters or None, fmt="ArrowStream", settings=self._arrow())
        return pl.read_ipc_stream(body) if body else pl.DataFrame()

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _arrow(self) -> dict[str, int | str]:
        """Settings of an answer; a user who only reads may set none, and gets the same by the server's defaults."""
        if self._client is None:
            self._call("ping")
        already = self._client.server_settings.get("readonly") if self._client is not None else None
        return {} if already and already.value != "0" else _ARROW

    def _call(self, method: str, *arguments: Any, **named: Any) -> Any:
        try:
            if self._client is None:
                self._client = _connect(self._settings, self._timeout)
            return getattr(self._client, method)(*arguments, **named)
        except (Error, HTTPError, OSError) as error:
            self.close()
            said = " ".join(str(error).split())
            advice = self._settings.advice(said)
            raise StoreError(
                advice or f"SPANLOOM_CLICKHOUSE_URL {self._settings.clickhouse_url}: {said[:500]}"
            ) from error


_ARROW: dict[str, int | str] = {
    "output_format_arrow_string_as_string": 1,
    "output_format_arrow_compression_method": "none",
}


def _telling(rows: pl.DataFrame) -> pl.DataFrame:
    """Without columns that hold nothing but what the table fills in by itself: of spans a quarter or more."""
    return rows.select(column for column in rows.iter_columns() if not _silent(column))


def _silent(column: pl.Series) -> bool:
    if column.null_count() == column.len():
        return True
    if column.dtype == pl.String:
        return column.str.len_bytes().max() == 0
    if isinstance(column.dtype, pl.Enum):
        return column.dtype.categories.str.len_bytes().max() == 0
    if column.dtype == pl.Boolean:
        return not column.any()
    return isinstance(column.dtype, pl.List) and column.list.len().max() == 0


def _connect(settings: ClickHouseSettings, timeout: int) -> Client:
    return clickhouse_connect.get_client(
        **settings.connection(),
        send_receive_timeout=timeout,
        connect_timeout=5,
        autogenerate_session_id=False,
        compress=False,
    )
