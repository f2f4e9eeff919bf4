"""What follows from one span alone: duration, model, request, error, blocked, tpot and, from the price book, cost.

One function for processors and sinks, so that both say the same of every span.
"""

from collections.abc import Collection

import polars as pl

from spanloom_schemas.frames.cost import MOST_TOKENS, costs
from spanloom_schemas.frames.durations import LONGEST_NS, lasted
from spanloom_schemas.prices.book import Book

TOKENS = (
    *("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"),
    *("system_tokens", "instructions_tokens", "few_shot_tokens", "context_tokens", "user_tokens"),
)

DERIVED = ("duration", "model", "request", "error", "blocked", "tpot", "cost", "cost_status", "price_version")
"""The columns added."""


def derive(spans: pl.DataFrame, book: Book, project: Collection[str] | None = None) -> pl.DataFrame:
    """The span frame with the columns DERIVED; with `project` only those of its and the frame's columns named there.

    What no clock or counter says is unknown, so that one bad span spoils no sum: a count of tokens is within 0 and
    MOST_TOKENS, a TTFT within 0 and LONGEST_NS, else null. (Cost is judged by what was said.)

    duration: ns, 0 to LONGEST_NS. model: the one that answered, else the one asked for. request: a service-entry span
    (no parent, or a remote one) that is no feedback. error: status is error. blocked: there is a block reason.
    tpot: ns per output token after the first; null unless kind is llm, TTFT is known and there are two tokens or more.

    cost: nano-dollars, by the book at the span's end, rounded half up once; null: not known, which is never 0.
    cost_status: `free`: answered from the application's own cache, 0. `priced`: by the book. `unpriced`: tokens were
    used, or kind is llm or embedding, but the model has no price or nobody said, credibly, how many tokens: null.
    `none`: nothing to pay for, 0; a call that failed before its first token, with no count of tokens, is such a one.
    price_version: the book's.
    """
    priced = costs(spans, book) if project is None or not {"cost", "cost_status"}.isdisjoint(project) else []
    out = _believed(spans).with_columns(*_PLAIN, *priced, price_version=pl.lit(book.version))
    return out if project is None else out.select(project)


def _believed(spans: pl.DataFrame) -> pl.DataFrame:
    """Without counts and times that cannot be; asking first costs next to nothing."""
    most = dict.fromkeys(TOKENS, MOST_TOKENS) | {"ttft": LONGEST_NS}
    odd = [name for name in most if name in spans.columns and not _is_within(spans[name], most[name])]
    cut = [pl.when(pl.col(name).is_between(0, most[name])).then(name).alias(name) for name in odd]
    return spans.with_columns(cut) if cut else spans


def _is_within(column: pl.Series, most: int) -> bool:
    return bool((column.min() or 0) >= 0 and (column.max() or 0) <= most)  # type: ignore[operator]


def _plain() -> list[pl.Expr]:
    duration = lasted(pl.col("start"), pl.col("end"))
    tokens = pl.sum_horizontal(pl.col("output_tokens", "reasoning_tokens").clip(0, None))
    timed = (pl.col("kind") == "llm") & pl.col("ttft").is_not_null() & (tokens > 1)
    decoding = pl.max_horizontal(duration - pl.col("ttft"), pl.lit(0, pl.Int64))
    entry = pl.col("parent_id").is_null() | pl.col("parent_remote")
    return [
        duration.alias("duration"),
        pl.coalesce("response_model", "request_model").alias("model"),
        (entry & (pl.col("kind") != "feedback")).alias("request"),
        (pl.col("status") == "error").alias("error"),
        pl.col("block_reason").is_not_null().alias("blocked"),
        pl.when(timed).then(decoding // (tokens - 1)).alias("tpot"),
    ]


_PLAIN = _plain()
