"""The statement that sums up hours of traces by who asked for what, and those that say which."""

from collections.abc import Iterable
from datetime import datetime

from spanloom_sinks.rollup_sql import among, literal

KEY = ("environment", "tenant", "service", "name", "user")
SUMS = (
    *("traces", "spans", "failed", "blocked", "unpriced_traces"),
    *("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"),
    *("cost", "unpriced", "duration"),
)

# How far the log of traces has come. An hour is over when it has passed its end by some minutes.
TOLD = "SELECT toUnixTimestamp(max(log_time)) AS told FROM traces"
# Hours with traces behind the last one that is closed.
DUE = """
SELECT DISTINCT toUnixTimestamp(toStartOfHour(start)) AS hour FROM traces
WHERE start < toDateTime({before:UInt32}, 'UTC')
  AND start >= (SELECT if(count() = 0, toDateTime(0, 'UTC'), max(start) + toIntervalHour(1)) FROM traces_1h_closed)
ORDER BY hour LIMIT {limit:UInt32}
"""
NOW = "SELECT toUnixTimestamp64Micro(now64(6)) AS now"

# What is older than traces are kept is not complete any more: there what counts fewer traces loses.
_KEPT = """(
    SELECT max(log_time) - toIntervalDay((
        SELECT toUInt32OrZero(extract(engine_full, 'toIntervalDay\\\\((\\\\d+)\\\\)')) - 1 FROM system.tables
        WHERE database = currentDatabase() AND name = 'traces'))
    FROM traces)"""


def hours(starts: Iterable[datetime]) -> str:
    """The statement that sums up these hours again; `{version:UInt64}` is the server's time before it began."""
    starts = sorted(starts)
    window, first, last = among(starts), literal(starts[0]), literal(starts[-1])
    keys = ", ".join(f"t.{name}" for name in ("at", *KEY))
    merged = "sumMap(t.stages.kind::Array(String), t.stages.spans, t.stages.duration, t.stages.self)"
    return f"""
        INSERT INTO traces_1h (start, {", ".join(KEY)}, version, {", ".join(SUMS)}, stages)
        WITH (SELECT max(version) FROM traces_1h WHERE start {window}) AS last
        SELECT {keys}, if(t.at >= {_KEPT}, greatest({{version:UInt64}}, last + 1), toUInt64(sum(t.traces))),
            {", ".join(f"sum(t.{name})" for name in SUMS)},
            arrayZip({", ".join(f"({merged}).{n}" for n in range(1, 5))})
        FROM (
            SELECT toStartOfHour(c.start) AS at, {", ".join((*KEY, *SUMS))}, stages FROM trace_counts AS c
            WHERE c.start >= {first} AND c.start < {last} + toIntervalHour(1) AND toStartOfHour(c.start) {window}
            UNION ALL
            SELECT g.start AS at, {", ".join(f"g.{name} AS {name}" for name in KEY)},
                {", ".join(f"toInt64(0) AS {name}" for name in SUMS)}, arrayResize(g.stages, 0) AS stages
            FROM traces_1h AS g WHERE g.start {window}
        ) AS t
        GROUP BY {keys}"""
