"""llm.alerts → `alerts`: a row a transition."""

import polars as pl
from spanloom_schemas.frames.splice import Decoded

from spanloom_sinks.rows.columns import text, time_ms
from spanloom_sinks.source import Source

_TIMES = ("window_start", "window_end", "since", "at")


def rows(decoded: Decoded, source: Source) -> pl.DataFrame:
    """The rows of `alerts`."""
    return decoded.rows.select(
        text("identity", "state", "rule", "severity", "unit", "summary", "description"),
        pl.col("group").alias("group_items"),
        *("value", "threshold", "partial", "trace_ids"),
        *(time_ms(name) for name in _TIMES),
        time_ms("message_time").alias("log_time"),
        *(pl.when(pl.col(name) > 0).then(time_ms(name)).alias(name) for name in ("fired", "resolved")),
    )
