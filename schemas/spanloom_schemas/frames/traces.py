"""The summary of a trace: totals, stages, critical path, from its spans."""

from collections.abc import Mapping, Sequence
from functools import cache

import polars as pl

from spanloom_schemas import codec
from spanloom_schemas.frames import documents, paths, shape
from spanloom_schemas.frames.durations import lasted

MAX_STEPS = 100
"""Steps of a critical path that a summary keeps: those with the longest self time."""

_FIRST = (
    *("request_id", "session_id", "user", "tenant", "experiment", "run_id"),
    *("prompt_id", "prompt_version", "block_reason"),
)
_SUMS = (
    *("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"),
    *("system_tokens", "instructions_tokens", "few_shot_tokens", "context_tokens", "user_tokens", "cost"),
)
_COUNTS = ("errors", "blocks", "cache_hits", "documents", "cited", "unpriced", "estimated")
_USED = (
    *("offset", "position", "span_id", "parent_id", "kind", "name", "start", "end", "duration", "status"),
    *("environment", "service", *_FIRST, *_SUMS, "cost_status", "error", "blocked", "cached", "usage"),
    *("model", "ttft", "documents", "scores"),
)


@cache
def columns() -> Mapping[str, pl.DataType]:
    """Columns of a summary: those of the Trace schema."""
    return shape.columns(shape.items(codec.newest("trace_batch").source))


def summarise(spans: pl.DataFrame, keys: Sequence[str] = ("trace_id",)) -> pl.DataFrame:
    """One row a trace, in order of its first appearance: `keys`, then the columns of the Trace schema.

    `spans` is a derived span frame, in any order; `keys` are the columns that tell traces apart. A span id counts once:
    the copy of the earliest offset, then position. Integers only, ties go by span id, so any order gives the same row.

    The top (see `paths.tree`) gives service, environment, name, status (error or ok) and the start for ttft (ns to the
    first token of any llm span); request_id, session, user, tenant, experiment, run, prompt (its version with it) and
    block_reason are the top's or else the first there is. start, end and duration leave feedback out. cost is the sum
    of the known costs, with `unpriced` spans beside it. stages: by kind, sum of durations and of self times.
    critical_path: the MAX_STEPS longest steps, in order of time. scores: the latest by name. first_offset: the lowest.
    state: partial where there is no span without a parent (reason no_root) or where a parent is missing (orphans).
    """
    traces = spans.select(keys).unique(maintain_order=True).with_row_index("trace")
    rows = paths.tree(_rows(spans, keys, traces))
    rows = rows.with_columns(paths.self_times(rows))
    some = [_at(traces["trace"], part) for part in (_models(rows), _scores(rows))]
    found = pl.concat([traces, _totals(rows), _stages(rows), _path(rows), *some], how="horizontal")
    wanted = columns()
    others = [key for key in keys if key not in wanted]
    return found.select(*others, *(pl.col(name).cast(kind) for name, kind in wanted.items()))


def _rows(spans: pl.DataFrame, keys: Sequence[str], traces: pl.DataFrame) -> pl.DataFrame:
    """The spans with the number of their trace, each id once, by trace, start and span id."""
    numbers = spans.select(keys).join(traces, on=keys, how="left", nulls_equal=True, maintain_order="left")["trace"]
    rows = spans.select(numbers, *_USED)
    copied = rows.select("trace", "span_id").is_duplicated()
    if copied.any():
        first = rows.filter(copied).sort("offset", "position").unique(["trace", "span_id"], keep="first")
        rows = pl.concat([rows.filter(~copied), first], rechunk=True)
    return rows.sort("trace", "start", "span_id")


def _totals(rows: pl.DataFrame) -> pl.DataFrame:
    """Of each trace, in order, all that is one number or text."""
    tops = rows.filter("top").select("environment", "service", "name", "status", *_FIRST, top_start="start")
    version = pl.when(pl.col("prompt_id").is_not_null()).then(pl.col("prompt_version").fill_null(""))
    tops = tops.with_columns(version)
    found = (
        rows.select("trace", "offset", "start", "end", *_marks())
        .group_by("trace", maintain_order=True)
        .agg(
            pl.col("offset").min().alias("first_offset"),
            pl.len().alias("spans"),
            pl.col("timed_start", "start", "first_token").min(),
            pl.col("timed_end", "end").max(),
            pl.col("rooted", "orphaned").any(),
            pl.col(*_FIRST).first(ignore_nulls=True).name.prefix("any_"),
            pl.col(*_SUMS, *_COUNTS).sum(),
        )
    )
    reason = pl.when(~pl.col("rooted")).then(pl.lit("no_root")).when("orphaned").then(pl.lit("orphans"))
    start, end = pl.coalesce("timed_start", "start"), pl.coalesce("timed_end", "end")
    return pl.concat([tops, found.drop("trace")], how="horizontal").with_columns(
        *(pl.coalesce(name, f"any_{name}").alias(name) for name in _FIRST if name != "prompt_version"),
        start=start,
        end=end,
        duration=lasted(start, end),
        ttft=pl.when(pl.col("first_token").is_not_null()).then(lasted(pl.col("top_start"), pl.col("first_token"))),
        state=pl.when(reason.is_null()).then(pl.lit("complete")).otherwise(pl.lit("partial")),
        reason=reason,
        status=pl.when(pl.col("status") == "error").then(pl.lit("error")).otherwise(pl.lit("ok")),
        prompt_version=pl.coalesce("prompt_version", "any_prompt_version").replace("", None),
    )


def _marks() -> list[pl.Expr]:
    """What each span adds to its trace; worked out for all spans at once, so that a group only sums."""
    timed, llm = pl.col("kind") != "feedback", pl.col("kind") == "llm"
    parentless = pl.col("parent_id").is_null()
    version = pl.when(pl.col("prompt_id").is_not_null()).then(pl.col("prompt_version").fill_null(""))
    return [
        pl.col(*_FIRST, *_SUMS).exclude("prompt_version"),
        version.alias("prompt_version"),
        pl.when(timed).then("start").alias("timed_start"),
        pl.when(timed).then("end").alias("timed_end"),
        pl.when(llm).then(pl.col("start") + pl.col("ttft")).alias("first_token"),
        (parentless & timed).alias("rooted"),
        (~parentless & pl.col("parent").is_null() & ~pl.col("top")).alias("orphaned"),
        pl.col("error").cast(pl.Int64).alias("errors"),
        pl.col("blocked").cast(pl.Int64).alias("blocks"),
        pl.col("cached").cast(pl.Int64).alias("cache_hits"),
        documents.retrieved().cast(pl.Int64).alias("documents"),
        documents.cited().cast(pl.Int64).alias("cited"),
        (pl.col("cost_status") == "unpriced").cast(pl.Int64).alias("unpriced"),
        (pl.col("usage") == "estimated").cast(pl.Int64).alias("estimated"),
    ]


def _models(rows: pl.DataFrame) -> pl.DataFrame:
    """By `trace`, of those with a model."""
    used = rows.select("trace", "model").drop_nulls().unique().sort("trace", "model")
    return used.group_by("trace").agg(pl.col("model").alias("models"))


def _stages(rows: pl.DataFrame) -> pl.DataFrame:
    """Of each trace, in order."""
    stages = rows.group_by("trace", "kind").agg(pl.len().alias("spans"), pl.col("duration", "self").sum())
    return _listed(stages.sort("trace", "kind"), "stages").drop("trace")


def _path(rows: pl.DataFrame) -> pl.DataFrame:
    """Of each trace, in order: the top is a step of every path."""
    steps = paths.critical_path(rows)
    steps = pl.concat(
        [rows.select("trace", "span_id", "name", "kind")[steps["row"]], steps.select("self")], how="horizontal"
    )
    long = steps.group_by("trace").len().filter(pl.col("len") > MAX_STEPS)
    if long.height:
        rank = pl.struct(-pl.col("self"), "span_id").rank("ordinal").over("trace")
        steps = steps.filter(rank <= MAX_STEPS)
    return _listed(steps, "critical_path").drop("trace")


def _scores(rows: pl.DataFrame) -> pl.DataFrame:
    """By `trace`, of those with scores."""
    scored = rows.filter(pl.col("scores").list.len() > 0).sort("end", "span_id").select("trace", "scores")
    each = scored.explode("scores").select("trace", pl.col("scores").struct.unnest())
    last = each.group_by("trace", "name", maintain_order=True).agg(pl.col("value").last())
    return _listed(last.sort("trace", "name"), "scores")


def _listed(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """Rows, sorted by trace, as one list of records a trace, in the shape the schema gives that column."""
    fields = [pl.col(name).cast(kind) for name, kind in _records()[column].items()]
    return rows.group_by("trace", maintain_order=True).agg(pl.struct(fields).alias(column))


def _at(traces: pl.Series, part: pl.DataFrame) -> pl.DataFrame:
    """A part that only some traces have, for each trace in order; null where there is none."""
    return traces.to_frame().join(part, on="trace", how="left", maintain_order="left").drop("trace")


@cache
def _records() -> dict[str, dict[str, pl.DataType]]:
    """The fields of the summary's columns that are lists of records."""
    fields = shape.items(codec.newest("trace_batch").source)["fields"]
    return {name: shape.columns(record) for name, record in shape.record_lists(fields).items()}
