"""One pane row from many spans: what is counted, and how two partial rows become one.

Everything is an integer sum or a top-k by a total order, so folding is associative to the bit. A *group* is an integer
column naming the pane row a span belongs to. Two long frames hold what has no fixed width: tallies (sketch buckets, score
sums, block reasons) and the worst spans.
"""

from __future__ import annotations

import operator

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
WORST = 3
SCORE_UNIT = 1_000_000
# A score beyond this is no quality number, and its millionths would overflow a sum.
SCORE_LIMIT = 1e9

COUNTS = ("errors", "blocks", *TOKENS, "cache_hits", "documents", "cited", "cost", "unpriced", "estimated", *LATENCIES)
BUCKETS = tuple(f"le_{n}" for n in range(len(LATENCY_BOUNDS_S) + 1))
SUMS = ("spans", *COUNTS, *BUCKETS)

SUM_SCHEMA = {"group": pl.Int64, **dict.fromkeys(SUMS, pl.Int64)}
TALLY_SCHEMA = {
    "group": pl.Int64,
    "fact": pl.String,
    "index": pl.Int32,
    "name": pl.String,
    "count": pl.Int64,
    "sum": pl.Int64,
}
WORST_SCHEMA = {"group": pl.Int64, "why": pl.String, "value": pl.Int64, "trace_id": pl.String, "span_id": pl.String}

_OF = ("group", "start", "late_offset")
_WORST_OF = {
    "slow": ("duration", pl.lit(True)),
    "error": ("duration", pl.col("error")),
    "blocked": ("duration", pl.col("blocked")),
    "costly": ("cost", pl.col("cost") > 0),
    "slow_ttft": ("ttft", pl.lit(True)),
    "slow_tpot": ("tpot", pl.lit(True)),
}


def _latency_buckets() -> dict[str, pl.Expr]:
    bounds = [round(seconds * 1e9) for seconds in LATENCY_BOUNDS_S]
    above = [pl.lit(True), *(pl.col("duration") > bound for bound in bounds)]
    within = [*(pl.col("duration") <= bound for bound in bounds), pl.lit(True)]
    return dict(zip(BUCKETS, map(operator.and_, above, within), strict=True))


def sums(spans: pl.DataFrame) -> pl.DataFrame:
    """The integer sums of each group, as `SUM_SCHEMA` says."""
    documents = pl.col("documents").list
    counted = {
        "errors": pl.col("error"),
        "blocks": pl.col("blocked"),
        **{name: pl.col(name) for name in TOKENS},
        "cache_hits": pl.col("cached"),
        "documents": documents.len(),
        "cited": documents.eval(pl.element().struct.field("cited")).list.sum(),
        "cost": pl.col("cost"),
        "unpriced": pl.col("cost_status") == "unpriced",
        "estimated": pl.col("usage") == "estimated",
        **{name: pl.col(name) for name in LATENCIES},
        **_latency_buckets(),
    }
    summed = {name: value.cast(pl.Int64).sum() for name, value in counted.items()}
    return _shaped(spans.group_by("group").agg(pl.len().alias("spans"), **summed), SUM_SCHEMA)


def add_sums(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """Partial sums of the same groups as one."""
    return pl.concat(parts).group_by("group").agg(pl.col(SUMS).sum())


def scores(spans: pl.DataFrame) -> pl.DataFrame:
    """The finite scores of spans one by one, in order: `group`, `start`, `late_offset`, `name`, `sum` (millionths)."""
    value = pl.col("scores").struct.field("value")
    each = spans.filter(pl.col("scores").list.len() > 0).select(*_OF, "scores").explode("scores")
    return each.filter(value.is_finite() & (value.abs() <= SCORE_LIMIT)).select(
        *_OF,
        pl.col("scores").struct.field("name").alias("name"),
        (value * SCORE_UNIT).round().cast(pl.Int64).alias("sum"),
    )


def reasons(spans: pl.DataFrame) -> pl.DataFrame:
    """The block reasons of spans one by one, in order: `group`, `start`, `late_offset`, `name`."""
    blocked = spans.filter(pl.col("block_reason").is_not_null())
    return blocked.select(*_OF, pl.col("block_reason").alias("name"))


def tallies(spans: pl.DataFrame, scored: pl.DataFrame, blocked: pl.DataFrame) -> pl.DataFrame:
    """Three sketches of each group's spans, its scores and its block reasons, as `TALLY_SCHEMA` says."""
    parts = [_sketched(spans, latency) for latency in LATENCIES]
    if scored.height:
        counted = scored.group_by("group", "name").agg(pl.len().alias("count"), pl.col("sum").sum())
        parts.append(counted.with_columns(fact=pl.lit("scores")))
    if blocked.height:
        counted = blocked.group_by("group", "name").agg(pl.len().alias("count"))
        parts.append(counted.with_columns(fact=pl.lit("block_reasons")))
    return pl.concat([_shaped(part, TALLY_SCHEMA) for part in parts])


def _sketched(spans: pl.DataFrame, latency: str) -> pl.DataFrame:
    known = spans.select("group", latency).drop_nulls(latency)
    buckets = known.select("group", sketch.index(pl.col(latency)).alias("index"))
    return buckets.group_by("group", "index").agg(pl.len().alias("count")).with_columns(fact=pl.lit(latency))


def add_tallies(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """Partial tallies of the same groups as one."""
    return pl.concat(parts).group_by("group", "fact", "index", "name").agg(pl.col("count", "sum").sum())


def worst(spans: pl.DataFrame) -> pl.DataFrame:
    """The worst spans of each group by each reason, as `WORST_SCHEMA` says."""
    parts = []
    for why, (value, which) in _WORST_OF.items():
        found = spans.filter(which & pl.col(value).is_not_null()).select(
            "group", pl.lit(why).alias("why"), pl.col(value).alias("value"), "trace_id", "span_id"
        )
        # Sorting is what costs: first drop what cannot be among the worst.
        parts.append(found.filter(pl.col("value") >= pl.col("value").top_k(WORST).min().over("group")))
    return worst_of([_shaped(part, WORST_SCHEMA) for part in parts])


def worst_of(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """The first of each group and reason by (value descending, span id, trace id)."""
    order = ["group", "why", "value", "span_id", "trace_id"]
    ranked = pl.concat(parts).sort(order, descending=[False, False, True, False, False])
    return ranked.group_by("group", "why", maintain_order=True).head(WORST).select(WORST_SCHEMA.keys())


def _shaped(frame: pl.DataFrame, schema: dict[str, type[pl.DataType]]) -> pl.DataFrame:
    """The columns of a schema, absent ones null."""
    absent = [pl.lit(None).alias(name) for name in schema if name not in frame.columns]
    return frame.with_columns(absent).select(pl.col(name).cast(dtype) for name, dtype in schema.items())
