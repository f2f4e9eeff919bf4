"""The spans of a trace as they are stored, each once."""

from collections.abc import Mapping
from typing import Any

from spanloom_traces.connection import Connection
from spanloom_traces.model import Document, Event, Score, Span, SpanDetail

_FACTS = """
    t.span_id AS span_id, nullIf(t.parent_id, '') AS parent_id, t.parent_remote AS parent_remote,
    t.name AS name, t.kind AS kind, t.service AS service,
    toUnixTimestamp64Nano(t.start) AS start, toUnixTimestamp64Nano(t.end) AS end,
    t.status AS status, nullIf(t.error_type, '') AS error_type, nullIf(t.block_reason, '') AS block_reason,
    nullIf(t.model, '') AS model, nullIf(t.prompt_id, '') AS prompt_id, nullIf(t.prompt_version, '') AS prompt_version,
    if(isNull(t.input_tokens) AND isNull(t.cache_read_tokens) AND isNull(t.cache_write_tokens), NULL,
        ifNull(t.input_tokens, 0) + ifNull(t.cache_read_tokens, 0) + ifNull(t.cache_write_tokens, 0)) AS input_tokens,
    if(isNull(t.output_tokens) AND isNull(t.reasoning_tokens), NULL,
        ifNull(t.output_tokens, 0) + ifNull(t.reasoning_tokens, 0)) AS output_tokens,
    t.ttft AS ttft, t.cost AS cost, t.cost_status AS cost_status, t.cached AS cached,
    length(t.documents) AS documents, arrayCount(document -> document.cited, t.documents) AS cited
"""

_DETAILS = """
    nullIf(t.provider, '') AS provider, nullIf(t.request_model, '') AS request_model,
    nullIf(t.response_model, '') AS response_model, nullIf(t.model_version, '') AS model_version,
    nullIf(t.service_tier, '') AS service_tier, t.temperature AS temperature, t.top_p AS top_p,
    t.max_tokens AS max_tokens, t.finish_reasons AS finish_reasons, t.retriever_k AS retriever_k,
    nullIf(t.tool_name, '') AS tool_name, t.context_truncated AS context_truncated,
    t.system_tokens AS system_tokens, t.instructions_tokens AS instructions_tokens,
    t.few_shot_tokens AS few_shot_tokens, t.context_tokens AS context_tokens, t.user_tokens AS user_tokens,
    arrayMap(document -> (document.id, document.score, document.cited), t.documents) AS named,
    arrayMap(score -> (score.name, score.value), t.scores) AS scores,
    arrayMap(event -> (event.name, toUnixTimestamp64Nano(event.time), event.attributes), t.events) AS events,
    t.attributes AS attributes, nullIf(t.input, '') AS input, nullIf(t.output, '') AS output
"""

_FROM = """
FROM spans AS t FINAL
WHERE t.trace_id = {trace_id:String}
ORDER BY t.start, t.end, t.span_id
"""


def spans(connection: Connection, trace_id: str) -> list[Span]:
    """The spans of a trace by start; none for a trace that is not there. Raises StoreError."""
    return [Span(**row) for row in connection.rows(f"SELECT {_FACTS} {_FROM}", {"trace_id": trace_id})]


def details(connection: Connection, trace_id: str) -> list[SpanDetail]:
    """As `spans`, with everything that is known of each. Raises StoreError."""
    text = f"SELECT {_FACTS}, {_DETAILS} {_FROM}"
    return [_detail(row) for row in connection.rows(text, {"trace_id": trace_id})]


def _detail(row: Mapping[str, Any]) -> SpanDetail:
    listed = {
        "finish_reasons": tuple(row["finish_reasons"]),
        "named": tuple(Document(*document) for document in row["named"]),
        "scores": tuple(Score(*score) for score in row["scores"]),
        "events": tuple(Event(*event) for event in row["events"]),
    }
    return SpanDetail(**{**row, **listed})
