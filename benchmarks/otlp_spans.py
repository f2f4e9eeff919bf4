"""The spans of `spans.py` as OTLP requests in protobuf, under the names by which `spanloom export` sends them."""

from collections import defaultdict
from collections.abc import Iterator
from json import dumps

import spans as made
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from spanloom.gateway import otlp as door
from spanloom_viewer.outbound import otlp

Piece = tuple[tuple[bytes, ...], int, int]
"""What is before trace id, span id, parent, start, end, and behind them; start and end in ns before now."""

_RENAMED = {"id": "prompt_id", "version": "prompt_version", "k": "retriever_k", "time_to_first_token": "ttft"}
_FIRST, _SECOND = b"\x0a", b"\x12"
"""The tags of a message's first and second field, where these are messages."""


def batches(spans: int, seed: int = 1) -> Iterator[bytes]:
    """Requests of so many spans in all, the same as `spans.batches` has, each as large as one of its messages."""
    shapes = made.shapes(seed)
    pieces = [[_piece(shape) for shape in trace] for trace in shapes]
    resource = _request(shapes[0][0]).resource_spans[0].resource.SerializeToString()
    head, scope = _FIRST + _sized(resource), _FIRST + _sized(_FIRST + _sized(b"spanloom"))
    for now, held in made.turns(spans, seed):
        block = scope + b"".join([_SECOND + _sized(_span(pieces[at][n], trace, n, now)) for at, trace, n in held])
        yield _FIRST + _sized(head + _SECOND + _sized(block))


def _span(piece: Piece, trace: bytes, number: int, now: int) -> bytes:
    (before, ids, parent, times, between, rest), start, end = piece
    trace_id, count = bytes.fromhex(trace.decode()), bytes.fromhex(trace[-12:].decode())
    begun, ended = ((now - ago).to_bytes(8, "little") for ago in (start, end))
    root = count + b"\0\0" if number else b""
    own = count + number.to_bytes(2, "big")
    return b"".join((before, trace_id, ids, own, parent, root, times, begun, between, ended, rest))


def _piece(shape: made.Shape) -> Piece:
    span, start, end = shape
    left = _request(shape).resource_spans[0].scope_spans[0].spans[0].SerializeToString()
    ids = [made.TRACE, made.SPAN, made.ROOT if span["parent_id"] else ""]
    marks = [*map(bytes.fromhex, ids), *(at.to_bytes(8, "little") for at in (made.START, made.END))]
    parts = []
    for mark in marks:
        before, left = left.split(mark) if mark else (b"", left)
        parts.append(before)
    return (*parts, left), start, end


def _request(shape: made.Shape) -> ExportTraceServiceRequest:
    span = shape[0]
    row = defaultdict(lambda: None, {key: made.HEADER[key] for key in ("service", "environment", "host", "version")})
    row |= {**span, "attributes": {one["key"]: one["value"] for one in span["attributes"]}}
    for group in ("context", "prompt", "llm", "retrieval"):
        row |= {_RENAMED.get(name, name): value for name, value in (span[group] or {}).items()}
    return door.decode(dumps(otlp.request([row])).encode(), door.JSON).request


def _sized(data: bytes) -> bytes:
    size, length = bytearray(), len(data)
    while length > 0x7F:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    size.append(length)
    return bytes(size) + data
