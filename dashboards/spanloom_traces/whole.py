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
_RANGE = "t.end >= fromUnixTimestamp64Nano({since:Int64}) AND t.end < fromUnixTimestamp64Nano({until:Int64})"
_AFTER = "(toUnixTimestamp64Nano(t.end), t.trace_id, t.span_id) > ({end:Int64}, {trace_id:String}, {span_id:String})"
_MINUTE = 60 * 10**9
AT_ONCE = 5_000
"""Spans of one answer."""

Row = dict[str, Any]


class Whole:
    """Spans, each once, by event time. They are asked for as they are taken: whoever takes them may take his time."""

    def __init__(self, connection: Connection, condition: str, parameters: Mapping[str, object]) -> None:
        self._connection, self._condition, self._parameters = connection, condition, parameters
        self._minutes = connection.rows(
            f"SELECT intDiv(toUnixTimestamp64Nano(t.end), {_MINUTE}) AS minute, count() AS spans "
            f"FROM spans AS t FINAL WHERE {condition} GROUP BY minute ORDER BY minute",
            parameters,
        )
        self.count: int = sum(minute["spans"] for minute in self._minutes)
        """How many there were when they were first asked for; late ones may still join."""

    def __iter__(self) -> Iterator[Row]:
        """Raises StoreError."""
        for first, last in _slices(self._minutes):
            yield from self._slice({"since": first * _MINUTE, "until": (last + 1) * _MINUTE})

    def _slice(self, bounds: Mapping[str, int]) -> Iterator[Row]:
        """The spans that end within bounds, which keep the server from sorting more than that."""
        after: dict[str, object] = {}
        while True:
            conditions = [f"({self._condition})", _RANGE.replace("{", "{slice_"), *([_AFTER] if after else ())]
            text = (
                f"SELECT {_COLUMNS} FROM spans AS t FINAL WHERE {' AND '.join(conditions)} "
                f"ORDER BY t.end, t.trace_id, t.span_id LIMIT {AT_ONCE}"
            )
            sliced = {f"slice_{name}": at for name, at in bounds.items()}
            rows = [_named(row) for row in self._connection.rows(text, {**self._parameters, **sliced, **after})]
            yield from rows
            if len(rows) < AT_ONCE:
                return
            after = {name: rows[-1][name] for name in ("end", "trace_id", "span_id")}


def of_traces(connection: Connection, trace_ids: Sequence[str]) -> Whole:
    """All spans of some traces. Raises StoreError."""
    return Whole(connection, _TRACES, {"trace_ids": list(trace_ids)})


def of_range(connection: Connection, since: timedelta, until: timedelta) -> Whole:
    """The spans that ended from `since` to `until` ago, by the server's clock. Raises StoreError."""
    (clock,) = connection.rows("SELECT toUnixTimestamp64Nano(now64(9)) AS now", {})
    ago = {
        name: clock["now"] - round(length.total_seconds() * 1e9)
        for name, length in (("since", since), ("until", until))
    }
    return Whole(connection, _RANGE, ago)


def _slices(minutes: Sequence[Row]) -> Iterator[tuple[int, int]]:
    """First and last minute of runs of minutes, each of about as many spans as one answer holds."""
    first, spans = None, 0
    for minute in minutes:
        first = minute["minute"] if first is None else first
        spans += minute["spans"]
        if spans >= AT_ONCE:
            yield first, minute["minute"]
            first, spans = None, 0
    if first is not None:
        yield first, minutes[-1]["minute"]


def _named(row: Row) -> Row:
    return row | {name: [dict(zip(keys, one, strict=True)) for one in row[name]] for name, keys in _NAMES.items()}
