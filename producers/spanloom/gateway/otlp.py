"""OTLP's messages, as protobuf and as JSON: requests as spans, and answers. Pure."""

import json
import zlib
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from spanloom.otel.leaving import Names
from spanloom.otel.mapping import About
from spanloom.otel.received import Attributes, Received
from spanloom.otel.resource import resource
from spanloom.trace import Facts

PROTOBUF, JSON = "application/x-protobuf", "application/json"
_KINDS = ("internal", "internal", "server", "client", "producer", "consumer")
_STATUSES = ("unset", "ok", "error")
_HAS_REMOTE, _REMOTE = 0x100, 0x200
_UNREADABLE = (json_format.ParseError, ValueError, RecursionError)
_DEEPEST = 32
"""Levels of a nested attribute that are read."""


class BadRequest(ValueError):
    """A request that is none; it is not to be sent again. The message is one line."""


class TooLarge(ValueError):
    """A request of more bytes, decompressed, than are taken."""


IDS, TIMES = "ids are missing or of a wrong length", "times are missing or out of range"
"""Why a span is none."""
FORM = "not a span as OTLP's JSON has it"
"""The same, followed by what is wrong with the first of them."""


class Decoded(NamedTuple):
    """A request, and how many of its spans cannot be read, by reason."""

    request: ExportTraceServiceRequest
    unread: Counter[str]


class Request(NamedTuple):
    """The spans of one request, and how many are none, by reason."""

    spans: list[tuple[About, Received]]
    rejected: Counter[str]


def inflated(body: bytes, most: int) -> bytes:
    """Return what gzip packed. Raises TooLarge before more than `most` bytes are unpacked, BadRequest for no gzip."""
    unpacked = b""
    while body:
        packed = zlib.decompressobj(wbits=31)
        try:
            unpacked += packed.decompress(body, most + 1 - len(unpacked))
        except zlib.error as error:
            raise BadRequest(f"the body is no gzip: {error}") from None
        if len(unpacked) > most:
            raise TooLarge
        if not packed.eof:
            raise BadRequest("the gzip ends early")
        body = packed.unused_data  # gzip may have several members
    return unpacked


def is_gzip(body: bytes) -> bool:
    """Say whether a body is packed by gzip, whose first bytes no message of protobuf begins with."""
    return body[:2] == b"\x1f\x8b"


def decode(body: bytes, content_type: str) -> Decoded:
    """Return a request; where it is JSON, without spans that cannot be read. Raises BadRequest."""
    try:
        if content_type == JSON:
            return _of_json(body)
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)
        return Decoded(request, Counter())
    except (DecodeError, *_UNREADABLE) as error:
        raise BadRequest(f"the body is no ExportTraceServiceRequest: {_line(error)}") from None


def _of_json(body: bytes) -> Decoded:
    said = json.loads(body)
    if not isinstance(said, dict):
        raise BadRequest("the body is no JSON object")
    unread = _leave_out(said, _ids_as_bytes)
    try:
        request = json_format.ParseDict(said, ExportTraceServiceRequest(), ignore_unknown_fields=True)
    except _UNREADABLE:  # protobuf reads all or nothing: without the spans that it does not read by themselves
        unread += _leave_out(said, lambda span: json_format.ParseDict(span, trace_pb2.Span(), True))
        request = json_format.ParseDict(said, ExportTraceServiceRequest(), ignore_unknown_fields=True)
    return Decoded(request, Counter({f"{FORM}: {unread[0]}": len(unread)} if unread else {}))


def read(request: ExportTraceServiceRequest, facts: Facts, names: Names | None = None) -> Request:
    """Return the spans of a request; `facts` are those of who sent it, `names` say which attributes leave."""
    names = Names() if names is None else names
    rejected: Counter[str] = Counter()
    spans = []
    for group in request.resource_spans:
        here, rest = resource(attributes(group.resource.attributes))
        about = About(here, rest, facts, f"{facts.get('tenant', '')}\0{here.service}", names)
        for scoped in group.scope_spans:
            for span in scoped.spans:
                if reason := _wrong(span):
                    rejected[reason] += 1
                else:
                    spans.append((about, received(span, scoped.scope.name)))
    return Request(spans, rejected)


def received(span: trace_pb2.Span, scope: str) -> Received:
    """Return a span as the mapping takes it."""
    parent = int.from_bytes(span.parent_span_id, "big")
    kind = _KINDS[span.kind] if 0 <= span.kind < len(_KINDS) else "internal"
    remote = bool(span.flags & _REMOTE) if span.flags & _HAS_REMOTE else kind in ("server", "consumer")
    status = _STATUSES[span.status.code] if 0 <= span.status.code < len(_STATUSES) else "unset"
    return Received(
        trace_id=span.trace_id.hex(),
        span_id=int.from_bytes(span.span_id, "big"),
        parent=parent or None,
        remote=remote and parent > 0,
        name=span.name,
        kind=kind,
        start=span.start_time_unix_nano or span.end_time_unix_nano,
        end=span.end_time_unix_nano or span.start_time_unix_nano,
        status=status,
        attributes=attributes(span.attributes),
        events=[(event.name, event.time_unix_nano, attributes(event.attributes)) for event in span.events],
        links=[(link.trace_id.hex(), link.span_id.hex(), attributes(link.attributes)) for link in span.links],
        scope=scope,
        cut=span.dropped_attributes_count + span.dropped_events_count + span.dropped_links_count,
    )


def attributes(pairs: Iterable[KeyValue]) -> Attributes:
    """Return attributes as Python's own values."""
    return {pair.key: value(pair.value) for pair in pairs}


def value(said: AnyValue, deep: int = 0) -> object:
    """Return a value as Python's own; what is nested too deeply is None."""
    match said.WhichOneof("value"):
        case None:
            return None
        case "array_value":
            return [value(one, deep + 1) for one in said.array_value.values] if deep < _DEEPEST else None
        case "kvlist_value":
            return (
                {one.key: value(one.value, deep + 1) for one in said.kvlist_value.values} if deep < _DEEPEST else None
            )
        case name:
            found: object = getattr(said, name)
            return found


def answer(rejected: int, message: str, content_type: str) -> bytes:
    """Return the body of a success, partial where spans were rejected."""
    response = ExportTraceServiceResponse()
    if rejected or message:
        response.partial_success.rejected_spans = rejected
        response.partial_success.error_message = message
    if content_type == JSON:
        return bytes(json_format.MessageToJson(response, indent=None), "utf-8")
    return bytes(response.SerializeToString())


def status(code: int, message: str, content_type: str) -> bytes:
    """Return the body of a failure: google.rpc.Status with a code of gRPC."""
    if content_type == JSON:
        return json.dumps({"code": code, "message": message}).encode()
    return _field(1, code) + _text(2, message.encode())


def retry_info(code: int, message: str, seconds: int) -> bytes:
    """Return a google.rpc.Status with a google.rpc.RetryInfo: when to try again."""
    delay = _text(1, _field(1, seconds))
    detail = _text(1, b"type.googleapis.com/google.rpc.RetryInfo") + _text(2, delay)
    return status(code, message, PROTOBUF) + _text(3, detail)


def _wrong(span: trace_pb2.Span) -> str | None:
    """Say why a span is none: logs and metrics sent to the wrong path decode as spans without ids."""
    if len(span.trace_id) != 16 or len(span.span_id) != 8 or not any(span.trace_id) or not any(span.span_id):
        return IDS
    if len(span.parent_span_id) not in (0, 8):
        return IDS
    last = max(span.start_time_unix_nano, span.end_time_unix_nano)
    return None if 0 < last < 2**63 else TIMES


def _leave_out(said: dict[str, Any], read: Callable[[Any], object]) -> list[str]:
    """Leave out the spans that `read` cannot read; return why, one line each."""
    why = []
    for group in _listed(said.get("resourceSpans")):
        for scoped in _listed(group.get("scopeSpans")):
            if not isinstance(spans := scoped.get("spans"), list):
                continue
            scoped["spans"] = []
            for span in spans:
                try:
                    read(span)
                    scoped["spans"].append(span)
                except _UNREADABLE as error:
                    why.append(_line(error))
    return why


def _listed(said: object) -> list[dict[str, Any]]:
    return [one for one in said if isinstance(one, dict)] if isinstance(said, list) else []


def _ids_as_bytes(span: object) -> None:
    """OTLP's JSON has ids in hexadecimal, where protobuf's has base64."""
    if not isinstance(span, dict):
        raise ValueError("a span is no JSON object")
    for holder in (span, *_listed(span.get("links"))):
        for name in ("traceId", "spanId", "parentSpanId"):
            if isinstance(said := holder.get(name), str):
                holder[name] = b64encode(bytes.fromhex(said)).decode()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _varint(number: int) -> bytes:
    data = bytearray()
    while number > 0x7F:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    data.append(number)
    return bytes(data)


def _field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _text(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data
