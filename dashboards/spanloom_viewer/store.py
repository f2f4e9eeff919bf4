"""Reads ClickHouse. Every value goes to the server as a parameter, never into the text of a statement.

Each trace is read as its one truth (view `trace_summaries`), each span once (`FINAL`), each alert as its last record.
"""

import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import click
import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError, OperationalError

from spanloom_viewer.model import Alert, Answer, Span, Trace
from spanloom_viewer.settings import ViewerSettings

# What goes wrong is raised, and said once; without a handler the driver's log would reach stderr as well.
logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())

Order = Literal["recent", "slow", "costly"]

_SPANS = """
SELECT
    t.span_id AS span_id, nullIf(t.parent_id, '') AS parent_id, t.parent_remote AS parent_remote,
    t.name AS name, t.kind AS kind, t.service AS service,
    toUnixTimestamp64Nano(t.start) AS start, toUnixTimestamp64Nano(t.end) AS end,
    t.status AS status, nullIf(t.error_type, '') AS error_type, nullIf(t.block_reason, '') AS block_reason,
    nullIf(t.model, '') AS model, nullIf(t.prompt_id, '') AS prompt_id, nullIf(t.prompt_version, '') AS prompt_version,
    if(isNull(t.input_tokens) AND isNull(t.cache_read_tokens) AND isNull(t.cache_write_tokens), NULL,
        ifNull(t.input_tokens, 0) + ifNull(t.cache_read_tokens, 0) + ifNull(t.cache_write_tokens, 0)) AS input_tokens,
    if(isNull(t.output_tokens) AND isNull(t.reasoning_tokens), NULL,
        ifNull(t.output_tokens, 0) + ifNull(t.reasoning_tokens, 0)) AS output_tokens,
    t.ttft AS ttft, t.cost AS cost, t.cost_status AS cost_status, t.cached AS cached,
    length(t.documents) AS documents, arrayCount(document -> document.cited, t.documents) AS cited
FROM spans AS t FINAL
WHERE t.trace_id = {trace_id:String}
ORDER BY t.start, t.end, t.span_id
"""

_TRACES = """
SELECT
    t.trace_id AS trace_id, t.service AS service, t.name AS name,
    toUnixTimestamp64Nano(t.start) AS start, toUnixTimestamp64Nano(t.end) AS end, t.duration AS duration,
    t.spans AS spans, t.state AS state, nullIf(t.reason, '') AS reason, t.status AS status, t.errors AS errors,
    t.blocks AS blocks, nullIf(t.block_reason, '') AS block_reason,
    nullIf(t.user, '') AS user, nullIf(t.session_id, '') AS session_id, nullIf(t.tenant, '') AS tenant,
    nullIf(t.prompt_id, '') AS prompt_id, nullIf(t.prompt_version, '') AS prompt_version, t.models AS models,
    t.input_tokens + t.cache_read_tokens + t.cache_write_tokens AS input_tokens,
    t.output_tokens + t.reasoning_tokens AS output_tokens,
    t.cost AS cost, t.unpriced AS unpriced, t.ttft AS ttft, t.critical_path.span_id AS critical_path
FROM trace_summaries AS t
"""

_ORDERS: dict[Order, str] = {
    "recent": "t.start DESC, t.trace_id",
    "slow": "t.duration DESC, t.trace_id",
    "costly": "t.cost DESC NULLS LAST, t.trace_id",
}

_ALERTS = """
SELECT
    t.rule AS rule, arraySort(arrayZip(mapKeys(t.labels), mapValues(t.labels))) AS group, t.state AS state,
    t.severity AS severity, t.value AS value, t.threshold AS threshold, t.unit AS unit,
    toUnixTimestamp64Milli(t.window_start) AS window_start, toUnixTimestamp64Milli(t.window_end) AS window_end,
    toUnixTimestamp64Milli(t.since) AS since, t.partial AS partial, t.trace_ids AS trace_ids, t.summary AS summary
FROM alerts_now AS t
WHERE t.state != 'resolved' OR t.at >= now64(3) - toIntervalSecond({seconds:UInt32})
"""

# Codes of ClickHouse's errors.
_NOT_THERE = (60, 81)


class StoreError(click.ClickException):
    """The store cannot be read: one line that says what to do."""


@contextmanager
def connect(settings: ViewerSettings) -> Iterator[Client]:
    """A client; whatever goes wrong while it is used is a StoreError."""
    try:
        client = clickhouse_connect.get_client(
            **settings.connection(),
            autogenerate_session_id=False,
            connect_timeout=5,
        )
        try:
            yield client
        finally:
            client.close()
    except ClickHouseError as error:
        raise StoreError(_advice(error, settings)) from error


def spans(client: Client, trace_id: str) -> list[Span]:
    """The spans of a trace by start; none for a trace that is not there."""
    return [Span(**row) for row in _rows(client, _SPANS, trace_id=trace_id)]


def trace(client: Client, trace_id: str) -> Trace | None:
    """The one truth about a trace; None when it is not assembled yet, or not there."""
    found = _rows(client, _TRACES + "WHERE t.trace_id = {trace_id:String} ORDER BY t.start LIMIT 1", trace_id=trace_id)
    return next((_trace(row) for row in found), None)


def traces(client: Client, order: Order, *, seconds: int, limit: int, errors: bool = False) -> list[Trace]:
    """The first `limit` traces in `order` that began in the last `seconds`; with `errors` only those with an error."""
    condition = "WHERE t.start >= now64(9) - toIntervalSecond({seconds:UInt32})" + (
        " AND t.errors > 0" if errors else ""
    )
    text = f"{_TRACES}{condition} ORDER BY {_ORDERS[order]} LIMIT {{limit:UInt32}}"
    return [_trace(row) for row in _rows(client, text, seconds=seconds, limit=limit)]


def alerts(client: Client, *, seconds: int) -> list[Alert]:
    """The last state of every alert that is pending or firing, or was resolved in the last `seconds`."""
    return [_alert(row) for row in _rows(client, _ALERTS, seconds=seconds)]


def _rows(client: Client, text: str, **parameters: object) -> Iterable[dict[str, Any]]:
    return client.query(text, parameters=parameters).named_results()


def _trace(row: dict[str, Any]) -> Trace:
    return Trace(**row | {name: tuple(row[name]) for name in ("models", "critical_path")})


def _alert(row: dict[str, Any]) -> Alert:
    group = tuple((key, value) for key, value in row["group"])
    return Alert(**row | {"group": group, "trace_ids": tuple(row["trace_ids"])})


def query(client: Client, sql: str) -> Answer:
    """What one statement answers; a statement that would change anything is refused by the server."""
    already = client.server_settings.get("readonly")
    settings = {} if already and already.value != "0" else {"readonly": "1"}
    body = client.raw_query(sql, settings=settings, fmt="JSONCompactEachRowWithNamesAndTypes")
    lines = body.decode(errors="replace").splitlines() if isinstance(body, bytes) else str(body).splitlines()
    if not lines:
        return Answer((), ())
    columns, _types, *rows = (json.loads(line) for line in lines)
    return Answer(tuple(columns), tuple(tuple(row) for row in rows))


def _advice(error: ClickHouseError, settings: ViewerSettings) -> str:
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
