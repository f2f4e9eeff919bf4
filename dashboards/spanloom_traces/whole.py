"""Spans with everything that the table `spans` has of them, for whoever passes them on."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from spanloom_traces.connection import Connection

_COLUMNS = """
    trace_id, span_id, parent_id, parent_remote, name, kind, otel_kind,
    toUnixTimestamp64Nano(t.start) AS start, toUnixTimestamp64Nano(t.end) AS end, status, error_type,
    service, environment, host, version,
    request_id, session_id, user, tenant, experiment, run_id, dataset_id,
    prompt_id, prompt_version, context_truncated,
    system_tokens, instructions_tokens, few_shot_tokens, context_tokens, user_tokens,
    provider, request_model, response_model, model_version, service_tier, temperature, top_p, max_tokens, usage,
    input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
    cached, batch_size, ttft, finish_reasons, cost, cost_status, retriever_k, tool_name, block_reason,
    arrayMap(d -> (d.id, d.score, d.cited), t.documents) AS documents,
    arrayMap(s -> (s.name, s.value), t.scores) AS scores,
    arrayMap(e -> (e.name, toUnixTimestamp64Nano(e.time), e.attributes), t.events) AS events,
    arrayMap(l -> (l.trace_id, l.span_id, l.attributes), t.links) AS links,
    attributes, input_hash, output_hash
"""
_NAMES = {
    "documents": ("id", "score", "cited"),
    "scores": ("name", "value"),
    "events": ("name", "time", "attributes"),
    "links": ("trace_id", "span_id", "attributes"),
}
"""Columns of tuples, and what is in each."""
_TRACES = "t.trace_id IN {trace_ids:Array(String)}"
_RANGE = "t.end >= now64(9) - toIntervalSecond({since:UInt32}) AND t.end < now64(9) - toIntervalSecond({until:UInt32})"


def of_traces(connection: Connection, trace_ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    """All spans of some traces, each once, by event time. Raises StoreError."""
    return _rows(connection, _TRACES, {"trace_ids": list(trace_ids)})


def of_range(connection: Connection, since: timedelta, until: timedelta) -> Iterator[dict[str, Any]]:
    """The spans that ended from `since` to `until` ago, each once, by event time. Raises StoreError."""
    ago = {name: int(length.total_seconds()) for name, length in (("since", since), ("until", until))}
    return _rows(connection, _RANGE, ago)


def _rows(connection: Connection, condition: str, parameters: Mapping[str, object]) -> Iterator[dict[str, Any]]:
    text = f"SELECT {_COLUMNS} FROM spans AS t FINAL WHERE {condition} ORDER BY t.end, t.trace_id, t.span_id"
    return map(_named, connection.stream(text, parameters))


def _named(row: dict[str, Any]) -> dict[str, Any]:
    return row | {name: [dict(zip(keys, one, strict=True)) for one in row[name]] for name, keys in _NAMES.items()}
