"""llm.spans → `spans`: a row a span."""

import polars as pl
from spanloom_schemas.frames.derive import derive
from spanloom_schemas.frames.spans import flatten
from spanloom_schemas.frames.splice import Decoded
from spanloom_schemas.prices.book import Book

from spanloom_sinks.rows.columns import place, text, time_ms, time_ns
from spanloom_sinks.source import Source, clocks

# The pane a span belongs to, and until when it may come: as spanloom_processors.core.clock has it (a test compares).
PANE_MS = 10_000
LATENESS_MS = 3_000
FUTURE_MS = 5_000

TEXTS = (
    *("trace_id", "span_id", "parent_id", "name", "kind", "otel_kind", "status", "error_type"),
    *("service", "environment", "host", "version", "producer"),
    *(
        "request_id",
        "session_id",
        "user",
        "tenant",
        "experiment",
        "run_id",
        "dataset_id",
        "prompt_id",
        "prompt_version",
    ),
    *("provider", "request_model", "response_model", "model", "model_version", "service_tier", "usage"),
    *("cost_status", "price_version", "tool_name", "block_reason", "input_hash", "output_hash", "input", "output"),
)
LABELS = (
    *("name", "kind", "otel_kind", "status", "error_type", "service", "environment", "host", "version", "producer"),
    *("tenant", "experiment", "run_id", "dataset_id", "prompt_id", "prompt_version", "provider", "request_model"),
    *("response_model", "model", "model_version", "service_tier", "usage", "cost_status", "price_version"),
    *("tool_name", "block_reason", "topic_id"),
)
"""Those of few values a block, LowCardinality in the table."""
FLAGS = ("parent_remote", "request", "error", "context_truncated", "cached", "blocked")
NUMBERS = (
    *("system_tokens", "instructions_tokens", "few_shot_tokens", "context_tokens", "user_tokens", "max_tokens"),
    *("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"),
    *("batch_size", "ttft", "tpot", "cost", "retriever_k", "temperature", "top_p"),
)
_LISTS = ("finish_reasons", "documents", "scores")


def rows(decoded: Decoded, source: Source, book: Book) -> pl.DataFrame:
    """The rows of `spans`: a pure function of the messages, the log clock before them and the price book."""
    spans = derive(flatten(decoded), book)
    ticks = clocks(decoded, source.log_clock)
    return spans.join(ticks, on="offset", how="left", maintain_order="left").select(
        text(*TEXTS),
        *(pl.col(name).fill_null(False) for name in FLAGS),
        *NUMBERS,
        *(pl.col(name).fill_null([]) for name in _LISTS),
        *(time_ns(name) for name in ("start", "end")),
        pl.col("attributes").fill_null([]).alias("attribute_items"),
        _with_time("events").fill_null([]).alias("event_items"),
        pl.col("links").fill_null([]).alias("link_items"),
        timeliness().alias("timeliness"),
        *place(source),
        *("offset", "position"),
        *(time_ms(name) for name in ("log_time", "log_clock")),
    )


def timeliness() -> pl.Expr:
    """0: on time, 1: late, 2: future-dated; of spans with `end` (ns), `log_time` and `log_clock` (ms)."""
    pane_end = (pl.col("end") // (PANE_MS * 1_000_000) + 1) * PANE_MS
    return (
        pl.when(pl.col("end") > (pl.col("log_time") + FUTURE_MS) * 1_000_000)
        .then(2)
        .when(pl.col("log_clock") >= pane_end + LATENESS_MS)
        .then(1)
        .otherwise(0)
        .cast(pl.Int8)
    )


def _with_time(events: str) -> pl.Expr:
    time = pl.element().struct.with_fields(pl.field("time").cast(pl.Datetime("ns", "UTC")))
    return pl.col(events).list.eval(time)
