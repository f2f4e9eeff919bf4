"""Runs and prompt versions: what was set, and what came of it, summed up from their traces.

A run is all traces with one run_id; a prompt version all those with one prompt_id and prompt_version. Latencies and
costs are of whole traces: what one request took, and cost. What the traces do not tell (temperature, provider …) comes
from the spans, while they live.
"""

from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from spanloom_traces.conditions import Field, Parameters, compiled
from spanloom_traces.connection import Connection
from spanloom_traces.grammar import Condition, FilterError, parse
from spanloom_traces.period import Since, began

Grouping = Literal["run", "prompt"]


class Run(Struct, frozen=True):
    """A run, or a prompt version: its parameters, metrics and tags by name, as MLflow has them."""

    run_id: str
    """Of a prompt version `id@version`."""
    start: int
    """Epoch nanoseconds of its first trace's start."""
    end: int
    """Of its last trace's end."""
    params: dict[str, str]
    metrics: dict[str, float]
    """What is unknown is left out: a mean cost while spans are unpriced, a rate of nothing."""
    tags: dict[str, str]


ENTITIES = {
    **dict.fromkeys(("params", "param", "parameters", "parameter"), "param"),
    **dict.fromkeys(("metrics", "metric"), "metric"),
    **dict.fromkeys(("tags", "tag"), "tag"),
    **dict.fromkeys(("attributes", "attribute", "attr", "run"), "attribute"),
}
"""What may stand before the first dot, and what it means: MLflow's words."""

_KEYS: dict[Grouping, str] = {
    "run": "nullIf(t.run_id, '')",
    "prompt": "if(t.prompt_id = '', NULL, concat(t.prompt_id, '@', t.prompt_version))",
}


def _different(value: str) -> str:
    """All different values of a run, in order, in one text."""
    return f"arrayStringConcat(arraySort(arrayFilter(one -> one != '', groupUniqArray(toString({value})))), ',')"


def _numbers(value: str) -> str:
    return f"arrayStringConcat(arrayMap(one -> toString(one), arraySort(groupUniqArray({value}))), ',')"


def _percentile(q: int, values: str) -> str:
    """The smallest value that `q` % of them do not exceed."""
    return f"if(empty({values}), NULL, arraySort({values})[intDiv({q} * length({values}) + 99, 100)])"


_TRACE_PARAMS = {
    "llm.model": "arrayStringConcat(arraySort(groupUniqArrayArray(t.models)), ',')",
    "prompt.id": _different("t.prompt_id"),
    "prompt.version": _different("t.prompt_version"),
}
_SPAN_PARAMS = {
    "llm.provider": _different("t.provider"),
    "llm.model_version": _different("t.model_version"),
    "llm.service_tier": _different("t.service_tier"),
    "llm.temperature": _numbers("t.temperature"),
    "llm.top_p": _numbers("t.top_p"),
    "llm.max_tokens": _numbers("t.max_tokens"),
    "retrieval.k": _numbers("t.retriever_k"),
}
_TRACE_TAGS = {name: _different(f"t.{name}") for name in ("service", "environment", "tenant", "experiment")}
_SPAN_TAGS = {"dataset_id": _different("t.dataset_id"), "service.version": _different("t.version")}
_METRICS = {
    "requests": "count()",
    "errors": "countIf(t.status = 'error')",
    "error_rate": "errors / requests",
    "blocked": "countIf(t.blocks > 0)",
    "block_rate": "blocked / requests",
    "partial": "countIf(t.state = 'partial')",
    "spans": "sum(t.spans)",
    "latency_ms_mean": "avg(t.duration) / 1e6",
    **{f"latency_ms_p{q}": f"{_percentile(q, 'groupArray(t.duration)')} / 1e6" for q in (50, 95, 99)},
    **{f"ttft_ms_p{q}": f"{_percentile(q, 'groupArray(t.ttft)')} / 1e6" for q in (50, 95, 99)},
    "cost_usd": "if(unpriced > 0, NULL, sum(t.cost) / requests / 1e9)",
    "cost_usd_total": "if(unpriced > 0, NULL, sum(t.cost) / 1e9)",
    "cost_usd_known": "knownDollars(sum(ifNull(t.cost, 0)), unpriced)",
    "unpriced": "sum(t.unpriced)",
    "input_tokens": "sum(t.input_tokens + t.cache_read_tokens + t.cache_write_tokens)",
    "output_tokens": "sum(t.output_tokens + t.reasoning_tokens)",
    "tokens_per_request": "(input_tokens + output_tokens) / requests",
    "context_tokens": "sum(t.context_tokens)",
    "cache_hits": "sum(t.cache_hits)",
    "documents": "sum(t.documents)",
    "context_use_rate": "if(documents = 0, NULL, sum(t.cited) / documents)",
}
_SCORE = "score."
"""The mean of each score is a metric too: `score.hit_at_k`."""

PARAMS = (*_TRACE_PARAMS, *_SPAN_PARAMS)
TAGS = (*_TRACE_TAGS, *_SPAN_TAGS)
METRICS = (*_METRICS, f"{_SCORE}NAME")
_ATTRIBUTES = {
    "run_id": Field("run_id", "text"),
    "run_name": Field("run_id", "text"),
    "start_time": Field("intDiv(start, 1000000)", "number"),
    "end_time": Field("intDiv(end, 1000000)", "number"),
}
"""As MLflow has them: times are epoch milliseconds."""


def runs(
    connection: Connection, filter: str, *, by: Grouping, since: Since, until: datetime | None, limit: int
) -> list[Run]:
    """The runs, or prompt versions, that have traces in the time and that `filter` finds, the latest first.

    Raises FilterError for a filter that cannot be read, StoreError.
    """
    return _found(connection, parse(filter, ENTITIES), by, since, until, limit)


def named(connection: Connection, names: tuple[str, ...], *, by: Grouping, since: Since) -> dict[str, Run]:
    """Those of them that have these names, by name. Raises StoreError."""
    condition = Condition("attribute", "run_id", "IN", names)
    return {run.run_id: run for run in _found(connection, (condition,), by, since, None, len(names))}


def _found(
    connection: Connection,
    conditions: tuple[Condition, ...],
    by: Grouping,
    since: Since,
    until: datetime | None,
    limit: int,
) -> list[Run]:
    parameters = Parameters()
    text = f"""
    SELECT * FROM
    (
        SELECT {_KEYS[by]} AS run_id,
            toUnixTimestamp64Nano(min(t.start)) AS start, toUnixTimestamp64Nano(max(t.end)) AS end,
            {_columns(_TRACE_PARAMS)}, {_columns(_TRACE_TAGS)}, {_columns(_METRICS)},
            avgMap(CAST((t.scores.name, t.scores.value), 'Map(String, Float64)')) AS scores
        FROM trace_summaries AS t
        WHERE isNotNull({_KEYS[by]}) AND {began("t.start", since, until, parameters)}
        GROUP BY run_id
    ) AS told
    LEFT JOIN
    (
        SELECT {_KEYS[by]} AS run_id, {_columns(_SPAN_PARAMS)}, {_columns(_SPAN_TAGS)}
        FROM spans AS t
        WHERE isNotNull({_KEYS[by]}) AND {began("t.end", since, until, parameters)}
        GROUP BY run_id
    ) AS described USING run_id
    WHERE {compiled(conditions, _field, parameters)}
    ORDER BY start DESC, run_id
    LIMIT {parameters.add(limit, "UInt64")}
    """
    return [_run(row) for row in connection.rows(text, parameters.values)]


def _columns(expressions: dict[str, str]) -> str:
    return ", ".join(f"{expression} AS {_column(name)}" for name, expression in expressions.items())


def _column(name: str) -> str:
    """A dot in a name would be taken for a table's, or a tuple's."""
    return name.replace(".", "_")


def _field(condition: Condition, parameters: Parameters) -> Field:
    entity, key = condition.entity, condition.key
    if entity == "param" and key in PARAMS:
        return Field(f"nullIf({_column(key)}, '')", "text")
    if entity == "tag" and key in TAGS:
        return Field(f"nullIf({_column(key)}, '')", "text")
    if entity == "metric" and key.startswith(_SCORE):
        name = parameters.add(key.removeprefix(_SCORE), "String")
        return Field(f"if(mapContains(scores, {name}), scores[{name}], NULL)", "number")
    if entity == "metric" and key in _METRICS:
        return Field(key, "number")
    if entity in ("attribute", "") and key in _ATTRIBUTES:
        return _ATTRIBUTES[key]
    known = {"param": PARAMS, "tag": TAGS, "metric": METRICS}.get(entity, tuple(_ATTRIBUTES))
    raise FilterError(
        f"a run has no {entity or 'attribute'} {key!r}; a filter may name {', '.join(known)}"
        + ("" if entity else ", or params., metrics. and tags. before the others")
    )


def _run(row: dict[str, Any]) -> Run:
    scores = {f"{_SCORE}{name}": value for name, value in sorted(row["scores"].items())}
    return Run(
        run_id=row["run_id"],
        start=row["start"],
        end=row["end"],
        params={name: row[_column(name)] for name in PARAMS if row[_column(name)]},
        metrics={name: float(row[name]) for name in _METRICS if row[name] is not None} | scores,
        tags={name: row[_column(name)] for name in TAGS if row[_column(name)]},
    )
