"""The figures of a dashboard over some time, summed up from panes: as exact as `spanloom verify` says they are."""

from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Struct
from spanloom_schemas.panes import LATENCY_BOUNDS_S

from spanloom_traces.conditions import Parameters
from spanloom_traces.connection import Connection
from spanloom_traces.period import Since, moment

_LONG = timedelta(days=3)
"""What goes further back is summed up from hours; of the last one from minutes, since it may end within it."""

_HOURS = """(
    SELECT * FROM panes_1h FINAL WHERE start >= begins AND start < toStartOfHour(ends)
    UNION ALL
    SELECT * FROM panes_1m FINAL WHERE start >= begins AND start >= toStartOfHour(ends) AND start < ends
)"""
_MINUTES = "(SELECT * FROM panes_1m FINAL WHERE start >= begins AND start < ends)"
_FIGURES = """
WITH (SELECT {unit}({since})) AS begins, greatest((SELECT {until}), begins) AS ends
SELECT
    toUnixTimestamp64Nano(toDateTime64(begins, 9, 'UTC')) AS start, toUnixTimestamp64Nano(ends) AS end,
    sumIf(t.spans, t.request) AS request_count,
    sum(t.input_tokens + t.cache_read_tokens + t.cache_write_tokens) AS prompt_tokens,
    sum(t.output_tokens + t.reasoning_tokens) AS completion_tokens,
    prompt_tokens + completion_tokens AS total_tokens,
    knownDollars(sum(t.cost), sum(t.unpriced)) AS total_cost,
    sum(t.unpriced) AS unpriced,
    if(request_count = 0, NULL, sumIf(t.duration, t.request) / request_count / 1e6) AS avg_latency_ms,
    sketchQuantile(0.5, sumMapIf(t.duration_sketch.index, t.duration_sketch.count, t.request)) / 1e6 AS p50_latency_ms,
    sketchQuantile(0.95, sumMapIf(t.duration_sketch.index, t.duration_sketch.count, t.request)) / 1e6 AS p95_latency_ms,
    sketchQuantile(0.99, sumMapIf(t.duration_sketch.index, t.duration_sketch.count, t.request)) / 1e6 AS p99_latency_ms,
    sumIf(t.errors, t.request) AS error_count,
    if(request_count = 0, NULL, error_count / request_count) AS error_rate,
    sum(t.cache_hits) AS cache_hits,
    greatest(0, sumIf(t.spans, t.kind = 'llm') - cache_hits) AS cache_misses,
    sumForEachIf(t.latency_le, t.request) AS latencies
FROM {panes} AS t
WHERE ({service} = '' OR t.service = {service}) AND ({environment} = '' OR t.environment = {environment})
"""


class Bucket(Struct, frozen=True, rename="camel"):
    """Requests that took longer than the bucket before, and at most `le_ms`; None: any longer."""

    le_ms: float | None
    count: int


class DashboardData(Struct, frozen=True, rename="camel"):
    """Figures of the requests (service entries) from `start` to `end`, and of all that was done for them.

    `msgspec.json.encode` writes the names as requestCount, avgLatencyMs and so on. None: of no requests there is none.
    """

    start: int
    """Epoch nanoseconds, like `end`; the beginning of a minute, or of an hour. `end` is now, or that of a minute."""
    end: int
    request_count: int
    prompt_tokens: int
    """All that was sent: fresh, read from a cache and written to it."""
    completion_tokens: int
    total_tokens: int
    total_cost: float | None
    """Dollars. Beside it `unpriced` spans cost an unknown amount; None: nothing is known."""
    unpriced: int
    avg_latency_ms: float | None
    p50_latency_ms: float | None
    p95_latency_ms: float | None
    p99_latency_ms: float | None
    error_count: int
    error_rate: float | None
    cache_hits: int
    """Model calls that the application's own cache answered; `cache_misses` are the others."""
    cache_misses: int
    throughput: float
    """Requests a second."""
    latency_histogram: tuple[Bucket, ...]


def dashboard_data(
    connection: Connection, since: Since, until: datetime | None, service: str, environment: str
) -> DashboardData:
    """The figures of one service and environment; '' stands for all of them. Raises StoreError."""
    parameters, long = Parameters(), _is_long(since)
    text = _FIGURES.format(
        unit="toStartOfHour" if long else "toStartOfMinute",
        panes=_HOURS if long else _MINUTES,
        since=moment(since, parameters),
        until=moment(timedelta(), parameters) if until is None else _end_of_minute(moment(until, parameters)),
        service=parameters.add(service, "String"),
        environment=parameters.add(environment, "String"),
    )
    (row,) = connection.rows(text, parameters.values)
    return _figures(row)


def _end_of_minute(moment: str) -> str:
    """The end of the minute that `moment`, in whole microseconds, is in or at the end of."""
    return f"toDateTime64(toStartOfMinute({moment} + toIntervalMicrosecond(59999999)), 9, 'UTC')"


def _figures(row: dict[str, Any]) -> DashboardData:
    bounds = (*(1000 * bound for bound in LATENCY_BOUNDS_S), None)
    counts = row.pop("latencies") or [0] * len(bounds)
    seconds = (row["end"] - row["start"]) / 1e9
    return DashboardData(
        **row,
        throughput=row["request_count"] / seconds if seconds else 0.0,
        latency_histogram=tuple(Bucket(le, count) for le, count in zip(bounds, counts, strict=True)),
    )


def _is_long(since: Since) -> bool:
    if isinstance(since, timedelta):
        return since > _LONG
    return datetime.now(UTC) - (since if since.tzinfo else since.replace(tzinfo=UTC)) > _LONG
