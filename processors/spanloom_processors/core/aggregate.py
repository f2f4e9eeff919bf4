"""One pane row from many spans: what is counted, and how two partial rows become one.

Everything is an integer sum or a top-k by a total order, so folding is associative to the bit. A *group* is an integer
column naming the pane row a span belongs to. Two long frames hold what has no fixed width: tallies (sketch buckets, score
sums, block reasons) and the worst spans.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence

import polars as pl

from spanloom_processors.core import sketch

LATENCIES = ("duration", "ttft", "tpot")
LATENCY_BOUNDS_S = (0.1, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Bucket bounds of llm_request_latency_seconds; a pane's `latency_le` has one count more, for +Inf."""
TOKENS = (
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "system_tokens",
    "instructions_tokens",
    "few_shot_tokens",
    "context_tokens",
    "user_tokens",
)
KEPT = 3
SCORE_UNIT = 1_000_000
# A score beyond this is no quality number, and its millionths would overflow a sum.
SCORE_LIMIT = 1e9

COUNTS = ("errors", "blocks", *TOKENS, "cache_hits", "documents", "cited", "cost", "unpriced", "estimated", *LATENCIES)
BUCKETS = tuple(f"le_{n}" for n in range(len(LATENCY_BOUNDS_S) + 1))
SUMS = ("spans", *COUNTS, *BUCKETS)

# Above this many spans it is cheaper to drop first, group by group, what cannot be among the worst.
_SORTED_AS_IT_IS = 1_000
_WHY = {
    "slow": ("duration", pl.lit(True)),
    "error": ("duration", pl.col("error")),
    "blocked": ("duration", pl.col("blocked")),
    "costly": ("cost", pl.col("cost") > 0),
    "slow_ttft": ("ttft", pl.lit(True)),
    "slow_tpot": ("tpot", pl.lit(True)),
}

WIDE = {"group": pl.Int64, **dict.fromkeys(SUMS, pl.Int64)}
"""One row for each group: its integer sums."""
TALL = {
    "group": pl.Int64,
    "fact": pl.String,
    "index": pl.Int32,
    "name": pl.String,
    "count": pl.Int64,
    "sum": pl.Int64,
}
"""One row for each sketch bucket (`index`), score or block reason (`name`) of a group; `sum` is of scores, in millionths."""
WORST = {"group": pl.Int64, "why": pl.String, "value": pl.Int64, "trace_id": pl.String, "span_id": pl.String}
"""The `KEPT` worst spans of a group by each reason, worst first."""


def _latency_buckets() -> dict[str, pl.Expr]:
    bounds = [round(seconds * 1e9) for seconds in LATENCY_BOUNDS_S]
    above = [pl.lit(True), *(pl.col("duration") > bound for bound in bounds)]
    within = [*(pl.col("duration") <= bound for bound in bounds), pl.lit(True)]
    return dict(zip(BUCKETS, map(operator.and_, above, within), strict=True))


_DOCUMENTS = pl.col("documents").list
_COUNTED = {
    "errors": pl.col("error"),
    "blocks": pl.col("blocked"),
    **{name: pl.col(name) for name in TOKENS},
    "cache_hits": pl.col("cached"),
    "documents": _DOCUMENTS.len(),
    "cited": _DOCUMENTS.eval(pl.element().struct.field("cited")).list.sum(),
    "cost": pl.col("cost"),
    "unpriced": pl.col("cost_status") == "unpriced",
    "estimated": pl.col("usage") == "estimated",
    **{name: pl.col(name) for name in LATENCIES},
    **_latency_buckets(),
}


_WIDE = [
    pl.len().cast(pl.Int64).alias("spans"),
    *(value.sum().cast(pl.Int64).alias(name) for name, value in _COUNTED.items()),
]
_INDEX = {name: sketch.index(pl.col(name)).alias("index") for name in LATENCIES}
_COUNT = pl.len().cast(pl.Int64).alias("count")


def wide(spans: pl.LazyFrame) -> pl.LazyFrame:
    """Spans with `group` as `WIDE`."""
    return spans.group_by("group").agg(_WIDE).select(WIDE.keys())


def tall(spans: pl.LazyFrame, scores: pl.LazyFrame, reasons: pl.LazyFrame) -> pl.LazyFrame:
    """Spans with `group`, and their scores and block reasons one by one, as `TALL`."""
    buckets = [
        spans.select("group", _INDEX[name]).drop_nulls().group_by("group", "index").agg(_COUNT, fact=pl.lit(name))
        for name in LATENCIES
    ]
    scored = scores.group_by("group", "name").agg(_COUNT, pl.col("sum").sum(), fact=pl.lit("scores"))
    blocked = reasons.group_by("group", "name").agg(_COUNT, fact=pl.lit("block_reasons"))
    return pl.concat([pl.LazyFrame(schema=TALL), *buckets, scored, blocked], how="diagonal")


def add_wide(parts: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
    """Partial rows of the same groups as one row a group."""
    return pl.concat(parts).group_by("group").agg(pl.col(SUMS).sum())


def add_tall(parts: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
    """Partial tallies of the same groups as one."""
    return pl.concat(parts).group_by("group", "fact", "index", "name").agg(pl.col("count", "sum").sum())


def worst(spans: pl.DataFrame) -> pl.LazyFrame:
    """Spans with `group` as `WORST`."""
    parts = []
    for why, (value, which) in _WHY.items():
        some = spans.lazy().filter(which & pl.col(value).is_not_null())
        found = some.select("group", pl.lit(why).alias("why"), pl.col(value).alias("value"), "trace_id", "span_id")
        if spans.height > _SORTED_AS_IT_IS:
            found = found.filter(pl.col("value") >= pl.col("value").top_k(KEPT).min().over("group"))
        parts.append(found)
    return add_worst(parts)


def add_worst(parts: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
    """The first of each group and reason by (value descending, span id, trace id)."""
    order = ["group", "why", "value", "span_id", "trace_id"]
    ranked = pl.concat(parts).sort(order, descending=[False, False, True, False, False])
    return ranked.filter(pl.int_range(pl.len()).over("group", "why") < KEPT)


_OF = ("group", "start", "late_offset")
_SCORE = pl.col("scores").struct.field("value")


def scores_of(spans: pl.DataFrame) -> pl.DataFrame:
    """The finite scores of spans one by one, in order: `group`, `start`, `late_offset`, `name`, `sum` (millionths)."""
    some = spans.filter(pl.col("scores").list.len() > 0).lazy()
    each = some.select(*_OF, "scores").explode("scores").filter(_SCORE.is_finite() & (_SCORE.abs() <= SCORE_LIMIT))
    name = pl.col("scores").struct.field("name").alias("name")
    return each.select(*_OF, name, (_SCORE * SCORE_UNIT).round().cast(pl.Int64).alias("sum")).collect()


def reasons_of(spans: pl.DataFrame) -> pl.DataFrame:
    """The block reasons of spans one by one, in order: `group`, `start`, `late_offset`, `name`."""
    named = spans.lazy().select(*_OF, pl.col("block_reason").alias("name"))
    return named.filter(pl.col("name").is_not_null()).collect()
