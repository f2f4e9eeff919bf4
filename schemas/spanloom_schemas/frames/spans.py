"""The span frame: one row a span, flat, with what its message's header says of all its spans."""

import polars as pl

from spanloom_schemas.frames.splice import Decoded

HEADER = ("producer", "epoch", "sequence", "service", "environment", "host", "version", "sdk", "sent")
"""Columns that come from the message's header."""

PLAIN = (
    *("offset", "log_time", "position", "trace_id", "span_id", "parent_id", "parent_remote", "name", "kind"),
    *("otel_kind", "start", "end", "status", "error_type", "tool_name", "block_reason"),
    *("scores", "events", "links", "attributes"),
)
"""Columns that keep their name."""

NESTED: dict[str, dict[str, str]] = {
    "context": {
        name: name for name in ("request_id", "session_id", "user", "tenant", "experiment", "run_id", "dataset_id")
    },
    "prompt": {
        "id": "prompt_id",
        "version": "prompt_version",
        "context_truncated": "context_truncated",
        "system_tokens": "system_tokens",
        "instructions_tokens": "instructions_tokens",
        "few_shot_tokens": "few_shot_tokens",
        "context_tokens": "context_tokens",
        "user_tokens": "user_tokens",
    },
    "llm": {
        **{name: name for name in ("provider", "request_model", "response_model", "model_version", "service_tier")},
        **{name: name for name in ("temperature", "top_p", "max_tokens", "usage")},
        **{name: name for name in ("input_tokens", "cache_read_tokens", "cache_write_tokens")},
        **{name: name for name in ("output_tokens", "reasoning_tokens", "cached", "batch_size")},
        "time_to_first_token": "ttft",
        "finish_reasons": "finish_reasons",
    },
    "retrieval": {"k": "retriever_k", "documents": "documents"},
    "payload": {name: name for name in ("input_hash", "output_hash", "input", "output")},
}
"""For each nested record, the flat column that each of its fields becomes."""

SHORT = 256
"""Characters of an id, a name or a label; what is longer is cut, as the producer cuts it: they are keys of panes."""
WHOLE = ("input", "output")
"""Texts that are not cut."""

_ABSENT = {
    "context_truncated": pl.lit(value=False),
    "cached": pl.lit(value=False),
    "usage": pl.lit("unknown"),
}


def flatten(decoded: Decoded) -> pl.DataFrame:
    """The span frame of decoded span batches, in the order of their messages.

    Columns: HEADER, PLAIN and the values of NESTED. kind, otel_kind and status are String; times are Int64 epoch
    nanoseconds (log_time: milliseconds); ttft is nanoseconds. Where the nested record is null its columns are null, but
    context_truncated and cached are false, usage is "unknown", and documents and finish_reasons are empty lists. Texts
    but those of WHOLE, attributes, events and links have at most SHORT characters, names of scores too.
    """
    rows, headers = decoded.rows, decoded.headers
    message = headers.select(pl.int_range(pl.len()).repeat_by("count").explode(empty_as_null=False)).to_series()
    own = shortened(rows.select(*PLAIN, *_FIELDS))
    return pl.concat([own, shortened(headers.select(HEADER))[message]], how="horizontal")


def shortened(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with long texts cut: to ask first costs next to nothing, to cut does not."""
    texts = {name: pl.col(name) for name, kind in frame.schema.items() if kind == pl.String and name not in WHOLE}
    if "scores" in frame.columns:
        texts["scores"] = pl.col("scores").explode(empty_as_null=False).struct.field("name")
    longest = frame.select(text.str.len_bytes().max().alias(name) for name, text in texts.items()).row(0)
    long = [name for name, most in zip(texts, longest, strict=True) if (most or 0) > SHORT]
    cut = [_CUT_NAMES if name == "scores" else pl.col(name).str.head(SHORT) for name in long]
    return frame.with_columns(cut) if cut else frame


def _field(record: str, old: str, new: str) -> pl.Expr:
    value = pl.col(record).struct.field(old)
    if new in _ABSENT:
        value = value.fill_null(_ABSENT[new])
    if new in ("documents", "finish_reasons"):
        value = value.fill_null([])
    return value.alias(new)


_FIELDS = [_field(record, old, new) for record, new_by_old in NESTED.items() for old, new in new_by_old.items()]
_CUT_NAMES = pl.col("scores").list.eval(pl.element().struct.with_fields(pl.field("name").str.head(SHORT)))
