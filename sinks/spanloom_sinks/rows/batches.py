"""llm.spans → `batches`: a row a message, the ledger."""

import polars as pl
from spanloom_schemas.frames.spans import shortened
from spanloom_schemas.frames.splice import Decoded

from spanloom_sinks.rows.columns import place, text, time_ms, time_ns
from spanloom_sinks.source import Source, clocks


def rows(decoded: Decoded, source: Source) -> pl.DataFrame:
    """The rows of `batches`."""
    ticks = clocks(decoded, source.log_clock)
    return (
        shortened(decoded.headers)
        .join(ticks, on="offset", how="left", maintain_order="left")
        .select(
            text("producer", "service", "environment", "host", "version", "sdk"),
            *("epoch", "sequence", "made", "given_up", "last"),
            time_ns("sent"),
            pl.col("dropped").alias("dropped_items"),
            pl.col("shed").alias("shed_items"),
            pl.col("count").cast(pl.Int64).alias("spans"),
            *place(source),
            "offset",
            *(time_ms(name) for name in ("log_time", "log_clock")),
        )
    )
