"""One pane row from many spans: what is counted, and how two partial rows become one.

Everything is an integer sum or a top-k by a total order, so folding is associative to the bit. A *group* is an integer
that names the pane row a span belongs to. State and partial results are plain frames of numbers and strings, `WIDE`,
`TALL` and `WORST`: polars 2.1 corrupts memory when lists of structs are sorted within groups (ADR 0052).
"""

from __future__ import annotations

import operator
from collections.abc import Sequence

import polars as pl
from spanloom_schemas.frames import documents
from spanloom_schemas.panes import LATENCY_BOUNDS_S, WORST_KEPT

from spanloom_processors.core import sketch

LATENCIES = ("duration", "ttft", "tpot")
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
SCORE_UNIT = 1_000_000
# A score beyond this is no quality number, and its millionths would overflow a sum.
SCORE_LIMIT = 1e9

COUNTS = ("errors", "blocks", *TOKENS, "cache_hits", "documents", "cited", "cost", "unpriced", "estimated", *LATENCIES)
BUCKETS = tuple(f"le_{n}" for n in range(len(LATENCY_BOUNDS_S) + 1))
SUMS = ("spans", *COUNTS, *BUCKETS)

# Above this many spans it is cheaper to drop first, group by group, what cannot be among the worst.
_SORTED_AS_IT_IS = 1_000
_WHY = {
    "slow": (pl.col("duration"), None),
    "error": (pl.col("duration"), "error"),
    "blocked": (pl.col("duration"), "blocked"),
    "costly": (pl.when(pl.col("cost") > 0).then("cost"), None),
    "slow_ttft": (pl.col("ttft"), None),
    "slow_tpot": (pl.col("tpot"), None),
}
"""By reason the value that ranks a span (null where it does not apply) and the column that marks its spans."""

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
"""A row for each sketch bucket (`index`), score or block reason (`name`) of a group; `sum`: of scores in millionths."""
WORST = {"group": pl.Int64, "why": pl.String, "value": pl.Int64, "trace_id": pl.String, "span_id": pl.String}
"""The `WORST_KEPT` worst spans of a group by each reason, worst first."""


def _latency_buckets() -> dict[str, pl.Expr]:
    bounds = [round(seconds * 1e9) for seconds in LATENCY_BOUNDS_S]
    above = [pl.lit(True), *(pl.col("duration") > bound for bound in bounds)]
    within = [*(pl.col("duration") <= bound for bound in bounds), pl.lit(True)]
    return dict(zip(BUCKETS, map(operator.and_, above, within), strict=True))


_COUNTED = {
    "errors": pl.col("error"),
    "blocks": pl.col("blocked"),
    **{name: pl.col(name) for name in TOKENS},
    "cache_hits": pl.col("cached"),
    "documents": documents.retrieved(),
    "cited": documents.cited(),
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
_OF = ("group", "start", "late_offset")
_IDENTITY = pl.col("trace_id", "span_id")
_SCORE = pl.col("scores").struct.field("value")
_INDEX = {name: sketch.index(pl.col(name)).alias("index") for name in LATENCIES}
_COUNT = pl.len().cast(pl.Int64).alias("count")
_NO_SUM = pl.lit(0, pl.Int64).alias("sum")
_NO_NAME = pl.lit(None, pl.String).alias("name")
_NO_INDEX = pl.lit(None, pl.Int32).alias("index")


def wide(spans: pl.DataFrame) -> pl.DataFrame:
    """Spans with `group` as `WIDE`."""
    return spans.group_by("group").agg(_WIDE)


def add_wide(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Partial sums of the same groups as one."""
    return pl.concat(parts).group_by("group").agg(pl.col(SUMS).sum())


def tall(spans: pl.DataFrame, scores: pl.DataFrame, reasons: pl.DataFrame) -> pl.DataFrame:
    """Spans with `group`, and their scores and block reasons one by one, as `TALL`."""
    parts = [_sketched(spans, name) for name in LATENCIES if spans[name].null_count() < spans.height]
    if scores.height:
        total = pl.col("sum").sum()
        parts.append(scores.group_by("group", "name").agg(_NO_INDEX, _COUNT, total, fact=pl.lit("scores")))
    if reasons.height:
        parts.append(reasons.group_by("group", "name").agg(_NO_INDEX, _COUNT, _NO_SUM, fact=pl.lit("block_reasons")))
    return pl.concat([part.select(TALL.keys()) for part in parts])


def _sketched(spans: pl.DataFrame, name: str) -> pl.DataFrame:
    buckets = spans.select("group", _INDEX[name]).drop_nulls()
    return buckets.group_by("group", "index").agg(_NO_NAME, _COUNT, _NO_SUM, fact=pl.lit(name))


def add_tall(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Partial tallies of the same groups as one."""
    return pl.concat(parts).group_by("group", "fact", "index", "name").agg(pl.col("count", "sum").sum())


def worst(spans: pl.DataFrame) -> pl.DataFrame:
    """Spans with `group` as `WORST`."""
    parts = []
    for why, (value, marked) in _WHY.items():
        if marked and not spans[marked].any():
            continue
        found = spans.select("group", _IDENTITY, why=pl.lit(why), value=value)
        if marked:
            found = found.filter(spans[marked])
        if found["value"].null_count():
            found = found.drop_nulls("value")
        if found.height > _SORTED_AS_IT_IS:
            found = found.filter(pl.col("value") >= pl.col("value").top_k(WORST_KEPT).min().over("group"))
        parts.append(found)
    return add_worst([part.select(WORST.keys()) for part in parts if part.height])


def add_worst(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The first of each group and reason by (value descending, span id, trace id)."""
    order = ["group", "why", "value", "span_id", "trace_id"]
    ranked = pl.concat(parts).sort(order, descending=[False, False, True, False, False])
    return ranked.filter(pl.int_range(pl.len()).over("group", "why") < WORST_KEPT)


def scores_of(spans: pl.DataFrame) -> pl.DataFrame:
    """The finite scores of spans one by one, in order: `group`, `start`, `late_offset`, `name`, `sum` (millionths)."""
    some = spans.select(*_OF, "scores").filter(pl.col("scores").list.len() > 0)
    if some.is_empty():
        return some
    each = some.explode("scores").filter(_SCORE.is_finite() & (_SCORE.abs() <= SCORE_LIMIT))
    name = pl.col("scores").struct.field("name").alias("name")
    return each.select(*_OF, name, (_SCORE * SCORE_UNIT).round().cast(pl.Int64).alias("sum"))


def reasons_of(spans: pl.DataFrame) -> pl.DataFrame:
    """The block reasons of spans one by one, in order: `group`, `start`, `late_offset`, `name`."""
    if spans["block_reason"].null_count() == spans.height:
        return spans.clear()
    return spans.select(*_OF, pl.col("block_reason").alias("name")).drop_nulls("name")
