"""llm.dead_letters → `dead_letters`: a row a message and stage that could not read it."""

import polars as pl
from spanloom_schemas.frames.splice import Decoded

from spanloom_sinks.rows.columns import text, time_ms
from spanloom_sinks.source import Source


def rows(decoded: Decoded, source: Source) -> pl.DataFrame:
    """The rows of `dead_letters`; `log_time` is that of the message which could not be read."""
    return decoded.rows.select(
        text("topic", "topic_id", "stage", "reason", "error"),
        pl.col("partition").cast(pl.Int32),
        *("offset", "key", "value"),
        time_ms("log_time"),
        time_ms("message_time").alias("at"),
    )
