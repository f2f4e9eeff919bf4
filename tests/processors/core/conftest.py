"""Logs of derived spans, made by hand: what the core folds, without Kafka or Avro."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl
import pytest

LOG_START_MS = 1_700_000_000_000

_TOKENS = ["input", "cache_read", "cache_write", "output", "reasoning", "system", "instructions", "few_shot", "context"]
_TEXTS = ["environment", "service", "name", "kind", "otel_kind", "status", "error_type", "block_reason", "tool_name"]
_TEXTS += ["request_id", "session_id", "user", "tenant", "experiment", "run_id", "dataset_id", "prompt_id"]
_TEXTS += ["prompt_version", "model", "provider", "usage", "cost_status", "price_version"]

SPAN: dict[str, Any] = {
    "offset": pl.Int64,
    "log_time": pl.Int64,
    "position": pl.UInt32,
    "trace_id": pl.String,
    "span_id": pl.String,
    "parent_id": pl.String,
    "parent_remote": pl.Boolean,
    "start": pl.Int64,
    "end": pl.Int64,
    **dict.fromkeys(_TEXTS, pl.String),
    **{f"{name}_tokens": pl.Int64 for name in [*_TOKENS, "user"]},
    **dict.fromkeys(["duration", "ttft", "tpot", "cost"], pl.Int64),
    **dict.fromkeys(["request", "error", "blocked", "cached"], pl.Boolean),
    "documents": pl.List(pl.Struct({"id": pl.String, "score": pl.Float64, "cited": pl.Boolean})),
    "scores": pl.List(pl.Struct({"name": pl.String, "value": pl.Float64})),
}
_DEFAULTS: dict[str, Any] = {
    "environment": "test",
    "service": "chat",
    "name": "answer",
    "kind": "llm",
    "otel_kind": "internal",
    "status": "ok",
    "usage": "unknown",
    "cost_status": "none",
    "parent_remote": False,
    "request": False,
    "error": False,
    "blocked": False,
    "documents": [],
    "scores": [],
}

Message = tuple[int, int, Sequence[dict[str, Any]]]
"""Offset, log time (ms since `LOG_START_MS`), spans."""


def span(trace: str, span_id: str, end_ms: int, duration_ms: float = 100, **facts: Any) -> dict[str, Any]:
    """A derived span that ends `end_ms` after `LOG_START_MS`; the root of its trace unless `parent_id` is given."""
    end = (LOG_START_MS + end_ms) * 1_000_000
    duration = round(duration_ms * 1e6)
    given = {"trace_id": trace, "span_id": span_id, "start": end - duration, "end": end, "duration": duration, **facts}
    return {**dict.fromkeys(SPAN), **_DEFAULTS, **given}


def frames(messages: Sequence[Message]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """One poll as `Partition.fold` takes it."""
    rows = [
        {**each, "offset": offset, "log_time": LOG_START_MS + log_time, "position": position}
        for offset, log_time, spans in messages
        for position, each in enumerate(spans)
    ]
    heads = [(offset, LOG_START_MS + log_time) for offset, log_time, _ in messages]
    spans = pl.DataFrame([tuple(row[name] for name in SPAN) for row in rows], schema=SPAN, orient="row")
    return spans, pl.DataFrame(heads, schema={"offset": pl.Int64, "log_time": pl.Int64}, orient="row")


@pytest.fixture(scope="session")
def make_span() -> Callable[..., dict[str, Any]]:
    return span


@pytest.fixture(scope="session")
def make_frames() -> Callable[[Sequence[Message]], tuple[pl.DataFrame, pl.DataFrame]]:
    return frames
