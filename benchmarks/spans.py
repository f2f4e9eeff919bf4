"""Span batches like those of real services, made fast: shapes of traces encoded once, ids and times put in by the byte.

A trace is ten spans of a chat request: retrieval, rerank, prompt, three model calls, a tool, safety, an answer. A
message holds 100 spans of ten traces that begin in it and of ten that began in the message before.
"""

import random
import time
from collections.abc import Iterator
from typing import Any

from spanloom_schemas import codec
from spanloom_schemas.frames.layout import varint

SPANS_A_MESSAGE = 100
SPANS_A_TRACE = 10
BEGINNING = 6  # spans of a trace that are in its first message
SHAPES = 64
TRACE, SPAN, ROOT = "ab" * 16, "cd" * 8, "ef" * 8
START, END = 1_111_111_111_111_111_111, 1_222_222_222_222_222_222
MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "o3")
STAGES = (
    ("request", "server"), ("retrieval", "client"), ("rerank", "internal"), ("prompt", "internal"), ("llm", "client"),
    ("llm", "client"), ("tool", "client"), ("llm", "client"), ("safety", "internal"), ("postproc", "internal"),
)  # fmt: skip

Shape = tuple[dict[str, Any], int, int]
"""A span with TRACE, SPAN, ROOT, START and END in it; its start and end in ns before now."""
Piece = tuple[bytes, bytes, bytes, bytes, bytes, int, int]
"""What is before the trace id, span id, parent, times, and behind them; start and end in ns before now."""


Turn = tuple[int, list[tuple[int, bytes, int]]]
"""What a message holds: its time, and of each span shape, trace id in hexadecimal, number in the trace."""


def turns(spans: int, seed: int) -> Iterator[Turn]:
    """What messages of so many spans in all hold; a message's time is when the iterator gets there."""
    traces = SPANS_A_MESSAGE // SPANS_A_TRACE
    begun: list[tuple[int, bytes]] = []
    for number in range(spans // SPANS_A_MESSAGE):
        now = time.time_ns() // 20_000_000 * 20_000_000  # so that `_times` can remember
        counts = range(number * traces + 1, (number + 1) * traces + 1)  # OTLP knows no id of zeros
        fresh = [(count % SHAPES, b"%08x%024x" % (seed, count)) for count in counts]
        held = [(shape, trace, n) for shape, trace in fresh for n in range(BEGINNING)]
        ended = begun or fresh
        held += [(shape, trace, n) for shape, trace in ended for n in range(BEGINNING, SPANS_A_TRACE)]
        begun = fresh
        yield now, held


def shapes(seed: int) -> list[list[Shape]]:
    """Shapes of traces, whose ids and times are to be put in."""
    rnd = random.Random(seed)
    return [[_shape(rnd, stage) for stage in range(SPANS_A_TRACE)] for _ in range(SHAPES)]


def batches(spans: int, seed: int = 1) -> Iterator[bytes]:
    """Encoded messages of so many spans in all, whose spans end now (when the iterator gets there)."""
    pieces = [[_piece(shape) for shape in trace] for trace in shapes(seed)]
    head, count = _header(), varint(-SPANS_A_MESSAGE)
    for now, held in turns(spans, seed):
        block = b"".join([_span(pieces[shape][n], trace, n, now) for shape, trace, n in held])
        yield b"".join((head, count, varint(len(block)), block, b"\0"))


def _span(piece: Piece, trace: bytes, number: int, now: int) -> bytes:
    before, ids, parent, kinds, rest, start, end = piece
    own, root = trace[-12:] + b"%04x" % number, trace[-12:] + b"0000"
    return b"".join((before, trace, ids, own, parent, root if number else b"", kinds, _times(now, start, end), rest))


_remembered: dict[tuple[int, int], bytes] = {}
_remembered_at = 0


def _times(now: int, start: int, end: int) -> bytes:
    global _remembered, _remembered_at
    if now != _remembered_at:
        _remembered, _remembered_at = {}, now
    if (start, end) not in _remembered:
        _remembered[start, end] = varint(now - start) + varint(now - end)
    return _remembered[start, end]


def _shape(rnd: random.Random, stage: int) -> Shape:
    kind, otel_kind = STAGES[stage]
    duration = int(rnd.lognormvariate(19.5 if kind in ("llm", "request") else 16, 0.6))
    end = rnd.randrange(10**9)
    span = {
        "trace_id": TRACE, "span_id": SPAN, "parent_id": ROOT if stage else None, "parent_remote": False,
        "name": f"{kind}.{rnd.randrange(3)}", "kind": kind, "otel_kind": otel_kind, "start": START, "end": END,
        "status": "error" if rnd.random() < 0.02 else "ok", "error_type": None,
        "context": {
            "request_id": f"{rnd.getrandbits(64):016x}", "session_id": f"s-{rnd.randrange(1000)}",
            "user": f"k1:{rnd.getrandbits(64):016x}", "tenant": rnd.choice(("acme", "globex")), "experiment": None,
            "run_id": None, "dataset_id": None,
        },
        "prompt": None, "llm": None, "retrieval": None, "tool_name": "search" if kind == "tool" else None,
        "block_reason": "pii" if kind == "safety" and rnd.random() < 0.05 else None, "scores": [], "events": [],
        "links": [], "attributes": [{"key": "http.route", "value": "/chat"}], "payload": None,
    }  # fmt: skip
    if kind == "llm":
        span["llm"] = {
            "provider": "openai", "request_model": rnd.choice(MODELS), "response_model": None, "model_version": None,
            "service_tier": None, "temperature": 0.2, "top_p": None, "max_tokens": 1024, "usage": "measured",
            "input_tokens": rnd.randrange(200, 4000), "cache_read_tokens": rnd.choice((0, 1024)),
            "cache_write_tokens": 0, "output_tokens": rnd.randrange(20, 800), "reasoning_tokens": 0, "cached": False,
            "batch_size": None, "time_to_first_token": duration // 4, "finish_reasons": ["stop"],
        }  # fmt: skip
        span["prompt"] = {
            "id": "answer", "version": "7", "context_truncated": False, "system_tokens": 120, "instructions_tokens": 80,
            "few_shot_tokens": 0, "context_tokens": 1500, "user_tokens": 40,
        }  # fmt: skip
    if kind == "retrieval":
        documents = [{"id": f"doc-{n}", "score": rnd.random(), "cited": n < 2} for n in range(5)]
        span["retrieval"] = {"k": 5, "documents": documents}
    return span, end + duration, end


def _piece(shape: Shape) -> Piece:
    span, start, end = shape
    encoded = codec.encode("span_batch", {**HEADER, "spans": [span]})[len(_header()) + 1 : -1]
    before, rest = encoded.split(TRACE.encode())
    ids, rest = rest.split(SPAN.encode())
    parent, rest = rest.split(ROOT.encode()) if span["parent_id"] else (b"", rest)
    kinds, rest = rest.split(varint(START) + varint(END))
    return before, ids, parent, kinds, rest, start, end


def _header() -> bytes:
    return codec.encode("span_batch", {**HEADER, "spans": []})[:-1]


HEADER = {
    "producer": "bench", "epoch": 1, "sequence": 1, "service": "chat", "environment": "prod", "host": "host-1",
    "version": "1.0", "sdk": "spanloom/0.1", "sent": 0, "made": 0, "dropped": [], "given_up": [], "last": False,
}  # fmt: skip
