"""llm.panes → `panes`: a row a pane of one source partition and key, or what came late in one message."""

import polars as pl
from spanloom_schemas.frames.splice import Decoded
from spanloom_schemas.panes import KEY

from spanloom_sinks.rows.columns import text, time_ms
from spanloom_sinks.source import Source

SUMS = (
    *("spans", "errors", "blocks", "input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens"),
    *("reasoning_tokens", "system_tokens", "instructions_tokens", "few_shot_tokens", "context_tokens", "user_tokens"),
    *("cache_hits", "documents", "cited", "cost", "unpriced", "estimated", "duration", "ttft", "tpot"),
)
_LISTS = ("duration_sketch", "ttft_sketch", "tpot_sketch", "latency_le", "scores", "block_reasons", "worst")
_HEADER = ("topic_id", "partition", "revision", "next_offset", "price_version", "log_clock")


def rows(decoded: Decoded, source: Source) -> pl.DataFrame:
    """The rows of `panes`. `source` is llm.panes; a row names the partition whose spans it sums up."""
    panes = decoded.rows.join(
        decoded.headers.select("offset", *_HEADER), on="offset", how="left", maintain_order="left"
    )
    return panes.select(
        # The column has whole seconds; a pane starts on one.
        time_ms("start").dt.cast_time_unit("ms").alias("start"),
        text(*(name for name in KEY if name != "request")),
        pl.col("request", "final").fill_null(False),
        pl.col(*SUMS).fill_null(0),
        *(pl.col(name).fill_null([]) for name in _LISTS),
        pl.col("late_offset").fill_null(-1),
        *_HEADER[:-1],
        time_ms("log_clock"),
        time_ms("log_time"),
    )
