"""A row of `spans` as OTLP's JSON, with the names of OpenTelemetry's GenAI conventions. Pure.

Backends take OTLP over HTTP in JSON as in protobuf; JSON needs no library. `spanloom gateway` reads a span so exported
as the span that it was.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from spanloom.otel.dialects import FIELDS

Row = Mapping[str, Any]

_OPERATIONS = {"llm": "chat", "embedding": "embeddings", "retrieval": "retrieval", "tool": "execute_tool"}
_KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_STATUSES = {"unset": 0, "ok": 1, "error": 2}
_SAMPLED, _HAS_REMOTE, _REMOTE = 0x01, 0x100, 0x200
_RESOURCE = {
    "service": "service.name",
    "environment": "deployment.environment.name",
    "host": "host.name",
    "version": "service.version",
}
_LISTED = ("request_id",)
"""Fields whose attribute is a list of one, as OpenTelemetry has headers."""


def request(rows: Iterable[Row]) -> dict[str, Any]:
    """Return an ExportTraceServiceRequest of the rows, those of one service under one resource."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[column] for column in _RESOURCE), []).append(span(row))
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": pairs(dict(zip(_RESOURCE.values(), said, strict=True)))},
                "scopeSpans": [{"scope": {"name": "spanloom"}, "spans": spans}],
            }
            for said, spans in groups.items()
        ]
    }


def span(row: Row) -> dict[str, Any]:
    """Return one span."""
    flags = _SAMPLED | _HAS_REMOTE | (_REMOTE if row["parent_remote"] else 0)
    return {
        "traceId": row["trace_id"],
        "spanId": row["span_id"],
        **({"parentSpanId": row["parent_id"]} if row["parent_id"] else {}),
        "flags": flags,
        "name": row["name"],
        "kind": _KINDS.get(row["otel_kind"], 1),
        "startTimeUnixNano": str(row["start"]),
        "endTimeUnixNano": str(row["end"]),
        "status": {"code": _STATUSES.get(row["status"], 0)},
        "attributes": pairs(attributes(row)),
        "events": [
            {"name": event["name"], "timeUnixNano": str(event["time"]), "attributes": pairs(event["attributes"])}
            for event in events(row)
        ],
        "links": [
            {"traceId": link["trace_id"], "spanId": link["span_id"], "attributes": pairs(link["attributes"])}
            for link in row["links"]
        ],
    }


def attributes(row: Row) -> dict[str, Any]:
    """Return the attributes of a span: its own, and its fields by OpenTelemetry's names, or `spanloom.…`."""
    said: dict[str, Any] = {**row["attributes"], "spanloom.kind": row["kind"]}
    if operation := _OPERATIONS.get(row["kind"]):
        said["gen_ai.operation.name"] = operation
    for field, (name, *_) in FIELDS.items():
        value = row[field]
        if value not in (None, "", [], ()) and value is not False:
            said[name] = [value] if field in _LISTED else value
    said |= _usage(row)
    if row["ttft"] is not None:
        said["gen_ai.response.time_to_first_chunk"] = row["ttft"] / 1e9
    if row["cost"] is not None and row["cost_status"] == "priced":
        said["gen_ai.usage.cost"] = row["cost"] / 1e9
    if row["documents"]:
        said["gen_ai.retrieval.documents"] = json.dumps(row["documents"])
    return said


def events(row: Row) -> list[dict[str, Any]]:
    """Return the events of a span, its scores among them."""
    verdicts = [
        {
            "name": "gen_ai.evaluation.result",
            "time": row["end"],
            "attributes": {"gen_ai.evaluation.name": score["name"], "gen_ai.evaluation.score.value": score["value"]},
        }
        for score in row["scores"]
    ]
    return [*row["events"], *verdicts]


def pairs(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return attributes as OTLP has them."""
    return [{"key": key, "value": _value(value)} for key, value in said.items() if value != ""]


def _usage(row: Row) -> dict[str, int]:
    """Return the counts as OpenTelemetry has them: input with the cache, output with the reasoning."""
    buckets = {name: row[f"{name}_tokens"] for name in ("input", "cache_read", "cache_write", "output", "reasoning")}
    known = {name: count for name, count in buckets.items() if count is not None}
    counts = {
        "gen_ai.usage.input_tokens": _sum(known, "input", "cache_read", "cache_write"),
        "gen_ai.usage.output_tokens": _sum(known, "output", "reasoning"),
        "gen_ai.usage.cache_read.input_tokens": known.get("cache_read"),
        "gen_ai.usage.cache_write.input_tokens": known.get("cache_write"),
        "gen_ai.usage.reasoning.output_tokens": known.get("reasoning"),
    }
    return {name: count for name, count in counts.items() if count is not None}


def _sum(known: Mapping[str, int], whole: str, *parts: str) -> int | None:
    return known[whole] + sum(known.get(part, 0) for part in parts) if whole in known else None


def _value(value: Any) -> dict[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case list() | tuple():
            return {"arrayValue": {"values": [_value(one) for one in value]}}
    return {"stringValue": str(value)}
