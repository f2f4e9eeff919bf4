"""Traces, each as its one truth (the view `trace_summaries`): one by its id, or those that a filter finds."""

from datetime import datetime
from functools import partial
from typing import Any, Literal

from spanloom_traces.conditions import Field, Parameters, compiled
from spanloom_traces.connection import Connection
from spanloom_traces.grammar import Condition, FilterError, parse
from spanloom_traces.model import Score, Stage, Step, Trace
from spanloom_traces.period import Since, began
from spanloom_traces.trace_filter import TraceFilter

Order = Literal["recent", "slow", "costly"]

_COLUMNS = """
    t.trace_id AS trace_id, t.service AS service, t.name AS name,
    toUnixTimestamp64Nano(t.start) AS start, toUnixTimestamp64Nano(t.end) AS end, t.duration AS duration,
    t.spans AS spans, t.state AS state, nullIf(t.reason, '') AS reason, t.status AS status, t.errors AS errors,
    t.blocks AS blocks, nullIf(t.block_reason, '') AS block_reason,
    nullIf(t.environment, '') AS environment, nullIf(t.request_id, '') AS request_id, nullIf(t.user, '') AS user,
    nullIf(t.session_id, '') AS session_id, nullIf(t.tenant, '') AS tenant, nullIf(t.experiment, '') AS experiment,
    nullIf(t.run_id, '') AS run_id, nullIf(t.prompt_id, '') AS prompt_id,
    nullIf(t.prompt_version, '') AS prompt_version, t.models AS models,
    t.input_tokens + t.cache_read_tokens + t.cache_write_tokens AS input_tokens,
    t.output_tokens + t.reasoning_tokens AS output_tokens, t.context_tokens AS context_tokens,
    t.cache_hits AS cache_hits, t.documents AS documents, t.cited AS cited,
    t.cost AS cost, t.unpriced AS unpriced, t.ttft AS ttft,
    arrayMap(stage -> (stage.kind, stage.spans, stage.duration, stage.self), t.stages) AS stages,
    arrayMap(step -> (step.span_id, step.name, step.kind, step.self), t.critical_path) AS critical_path,
    arrayMap(score -> (score.name, score.value), t.scores) AS scores
"""

_ORDERS: dict[Order, str] = {
    "recent": "t.start DESC, t.trace_id",
    "slow": "t.duration DESC, t.trace_id",
    "costly": "t.cost DESC NULLS LAST, t.trace_id",
}

_TEXTS = (
    *("trace_id", "service", "name", "state", "reason", "status", "environment", "request_id", "user", "session_id"),
    *("tenant", "experiment", "run_id", "prompt_id", "prompt_version", "block_reason"),
)
_NUMBERS = {
    "duration": "t.duration / 1e9",
    "ttft": "t.ttft / 1e9",
    "tokens": "t.input_tokens + t.cache_read_tokens + t.cache_write_tokens + t.output_tokens + t.reasoning_tokens",
    "input_tokens": "t.input_tokens + t.cache_read_tokens + t.cache_write_tokens",
    "output_tokens": "t.output_tokens + t.reasoning_tokens",
    **{name: f"t.{name}" for name in ("context_tokens", "cache_hits", "documents", "cited")},
    **{name: f"t.{name}" for name in ("spans", "errors", "blocks", "unpriced")},
}
_ENTITIES = {
    **dict.fromkeys(("attributes", "attribute", "attr", "trace"), ""),
    **dict.fromkeys(("scores", "score"), "score"),
    "span": "span",
}
_ATTRIBUTE = "attributes."

FIELDS = (*_TEXTS, "model", *_NUMBERS, "cost", "scores.NAME", f"span.{_ATTRIBUTE}NAME")
"""What a filter of traces may name: texts, the models that answered, numbers (seconds, tokens, dollars), scores, and
attributes of spans, as MLflow writes them.
"""


def trace(connection: Connection, trace_id: str) -> Trace | None:
    """The one truth about a trace; None when it is not assembled yet, or not there. Raises StoreError."""
    text = (
        f"SELECT {_COLUMNS} FROM trace_summaries AS t WHERE t.trace_id = {{trace_id:String}} ORDER BY t.start LIMIT 1"
    )
    return next((_trace(row) for row in connection.rows(text, {"trace_id": trace_id})), None)


def traces(
    connection: Connection,
    where: TraceFilter | str,
    *,
    since: Since,
    until: datetime | None,
    order: Order,
    limit: int,
) -> list[Trace]:
    """The first `limit` traces in `order` that began in the time and that `where` finds.

    Raises FilterError for a filter that cannot be read, StoreError.
    """
    parameters = Parameters()
    asked = parse(where, _ENTITIES) if isinstance(where, str) else where.conditions()
    found = compiled(asked, partial(_field, since=since), parameters)
    condition = f"{began('t.start', since, until, parameters)} AND {found}"
    text = (
        f"SELECT {_COLUMNS} FROM trace_summaries AS t WHERE {condition} "
        f"ORDER BY {_ORDERS[order]} LIMIT {parameters.add(limit, 'UInt64')}"
    )
    return [_trace(row) for row in connection.rows(text, parameters.values)]


def _field(condition: Condition, parameters: Parameters, since: Since) -> Field:
    match condition.entity, condition.key:
        case "span", key if key.startswith(_ATTRIBUTE):
            return _attribute(condition, parameters, since)
        case "score", key:
            return Field(
                f"arrayFirstOrNull(one -> one.name = {parameters.add(key, 'String')}, t.scores).value", "number"
            )
        case "", "cost":
            return Field(_cost(condition), "number")
        case "", "model":
            return Field("one", "text", "arrayExists(one -> {}, t.models)")
        case "", key if key in _TEXTS:
            return Field(f"nullIf(t.{key}, '')", "text")
        case "", key if key in _NUMBERS:
            return Field(_NUMBERS[key], "number")
    named = ".".join(filter(None, (condition.entity, condition.key)))
    raise FilterError(f"a trace has no {named}; a filter may name {', '.join(FIELDS)}")


def _attribute(condition: Condition, parameters: Parameters, since: Since) -> Field:
    """An attribute of any span of the trace, as a number where it is compared with one."""
    name = parameters.add(condition.key.removeprefix(_ATTRIBUTE), "String")
    ended = began("s.end", since, None, parameters)  # no span ends before its trace begins
    has = f"{ended} AND mapContains(s.attributes, {name})"
    among = f"t.trace_id IN (SELECT s.trace_id FROM spans AS s WHERE {has} AND {{}})"
    if isinstance(condition.value, str | tuple):
        return Field(f"s.attributes[{name}]", "text", among)
    return Field(f"toFloat64OrNull(s.attributes[{name}])", "number", among)


def _cost(condition: Condition) -> str:
    """Dollars. What is known of a cost is a lower bound: it can be above a value, and not for sure below one."""
    return "t.dollars" if condition.comparator in (">", ">=") else "if(t.unpriced > 0, NULL, t.dollars)"


def _trace(row: dict[str, Any]) -> Trace:
    listed = {
        "models": tuple(row["models"]),
        "stages": tuple(Stage(*stage) for stage in row["stages"]),
        "critical_path": tuple(Step(*step) for step in row["critical_path"]),
        "scores": tuple(Score(*score) for score in row["scores"]),
    }
    return Trace(**(row | listed))
