"""The spans to export, as rows of the table `spans`."""

from collections.abc import Iterator
from typing import Any

from clickhouse_connect.driver.client import Client

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


def of_traces(client: Client, trace_ids: list[str]) -> Iterator[dict[str, Any]]:
    """All spans of some traces, each once, by event time."""
    return _rows(client, _TRACES, trace_ids=trace_ids)


def of_range(client: Client, since: int, until: int) -> Iterator[dict[str, Any]]:
    """The spans that ended from `since` to `until` seconds ago, each once, by event time."""
    return _rows(client, _RANGE, since=since, until=until)


def _rows(client: Client, condition: str, **parameters: object) -> Iterator[dict[str, Any]]:
    text = f"SELECT {_COLUMNS} FROM spans AS t FINAL WHERE {condition} ORDER BY t.end, t.trace_id, t.span_id"
    with client.query_row_block_stream(text, parameters=parameters) as blocks:
        names = blocks.source.column_names
        for block in blocks:
            for row in block:
                yield _named(dict(zip(names, row, strict=True)))


def _named(row: dict[str, Any]) -> dict[str, Any]:
    return row | {name: [dict(zip(keys, one, strict=True)) for one in row[name]] for name, keys in _NAMES.items()}
