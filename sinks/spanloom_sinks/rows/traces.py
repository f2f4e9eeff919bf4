"""llm.traces → `traces`: a row a segment of a trace; and the rows of a trace whose segments were summed up again."""

import polars as pl
from spanloom_schemas.frames.splice import Decoded

from spanloom_sinks.rows.columns import text, time_ms, time_ns
from spanloom_sinks.source import Source

_TEXTS = (
    *(
        "trace_id",
        "environment",
        "service",
        "name",
        "state",
        "reason",
        "status",
        "block_reason",
        "request_id",
        "session_id",
    ),
    *("user", "tenant", "experiment", "run_id", "prompt_id", "prompt_version"),
)
_NUMBERS = (
    *("spans", "errors", "blocks", "input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens"),
    *("reasoning_tokens", "system_tokens", "instructions_tokens", "few_shot_tokens", "context_tokens", "user_tokens"),
    *("cache_hits", "documents", "cited", "unpriced", "estimated"),
)
_LISTS = ("models", "stages", "critical_path", "scores")
_HEADER = ("topic_id", "partition", "revision", "log_clock")


def rows(decoded: Decoded, source: Source) -> pl.DataFrame:
    """The rows of `traces` as the processors emitted them. `source` is llm.traces; a row names its spans' partition."""
    segments = decoded.rows.join(
        decoded.headers.select("offset", *_HEADER), on="offset", how="left", maintain_order="left"
    )
    return segments.select(*_summary(), *_HEADER[:3], time_ms("log_clock"), time_ms("log_time")).with_columns(
        amended=pl.lit(False), superseded=pl.lit(False)
    )


def amended(summaries: pl.DataFrame, segments: pl.DataFrame) -> pl.DataFrame:
    """The rows that make one truth of traces that came in several segments.

    `summaries`: what `summarise` says of all spans of each trace. `segments`: the keys of their segments
    (`trace_id`, `topic_id`, `partition`, `first_offset`, `revision`, `log_clock`, `log_time`). Every segment gets a row
    with the whole trace in it: the first one stands (amended), the others are superseded.
    """
    keys = ("topic_id", "partition", "first_offset")
    ordered = segments.sort("trace_id", *keys)
    first = pl.int_range(pl.len()).over("trace_id") == 0
    marked = ordered.with_columns(amended=first, superseded=~first)
    return (
        summaries.drop("first_offset")
        .join(marked, on="trace_id", maintain_order="left")
        .select(*_summary(), *_HEADER, "log_time", "amended", "superseded")
    )


def _summary() -> list[pl.Expr]:
    return [
        text(*_TEXTS),
        pl.col(*_NUMBERS).fill_null(0),
        pl.col("first_offset", "duration", "cost", "ttft"),
        *(time_ns(name) for name in ("start", "end")),
        *(pl.col(name).fill_null([]) for name in _LISTS),
    ]
