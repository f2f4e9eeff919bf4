"""Messages that nobody should send: bad ones, each with why, and odd ones that are as valid as any.

Written from the Avro specification and the reference's list (23–34, 38–40), not from the decoder.
"""

import itertools
import random
from typing import Any

from spanloom_schemas import codec, topics
from spanloom_schemas.frames.layout import varint

SERVICE = "stranger"
"""The service that the valid ones say they are."""
CALL = {"provider": "openai", "request_model": "gpt-4o", "usage": "measured", "cached": False, "finish_reasons": []}
"""A call of a model, as far as the schema wants it."""
_numbers = itertools.count(1)


def span(now_ns: int, **said: Any) -> dict[str, Any]:
    """A valid span that ended just now, in a trace of its own."""
    number = next(_numbers)
    plain = {"parent_id": None, "parent_remote": False, "kind": "request", "otel_kind": "server", "status": "ok"}
    named = {"trace_id": f"{number:032x}", "span_id": f"{number:016x}", "name": "odd"}
    return plain | named | {"start": now_ns - 2_000_000, "end": now_ns - 1_000_000} | said


def batch(spans: list[dict[str, Any]], producer: str = SERVICE, **said: Any) -> bytes:
    """A message of a producer of its own, so that the ledger has nothing to miss."""
    header = {"producer": producer, "epoch": next(_numbers), "sequence": 0, "service": SERVICE, "environment": "test"}
    header |= {"host": "h", "version": "1", "sdk": "test/1", "sent": 0, "made": len(spans), "dropped": []}
    return codec.encode("span_batch", header | {"given_up": [], "last": True, "spans": spans} | said)


def bad(rnd: random.Random, now_ns: int) -> list[bytes | None]:
    """Values that no reader can make anything of: 23 to 28, 31 to 34."""
    good = batch([span(now_ns), span(now_ns)])
    frame, empty = codec.prefix("span_batch"), batch([])[:-1]
    other = codec.prefix("alert")
    found: list[bytes | None] = [None, b"", b"\0"]
    found += [rnd.randbytes(rnd.randrange(1, 2000)) for _ in range(50)]  # 23
    found += [frame + rnd.randbytes(rnd.randrange(1, 200)) for _ in range(50)]
    found += [good[:end] for end in range(len(good))]  # 24
    found += [good + tail for tail in (b"\0", b"\2", good, bytes(1000))]  # 25
    for number in (2**31, 2**40, 2**62, -1, -(2**31), -(2**62)):  # 26: a length in the header, a count, a block's size
        found += [frame + varint(number) + good[10:], empty + varint(number) + bytes(64)]
        found += [empty + varint(-2) + varint(number) + bytes(64)]
    found += [empty + varint(10**7) + b"\0", empty + varint(-(10**7)) + varint(1) + b"\0\0"]  # 27
    found += [empty + (varint(-1) + varint(0)) * 5000 + b"\0", frame + b"\2" * 100_000, frame + b"\x80" * 100_000]  # 28
    found += [codec.MARKER + rnd.randbytes(8) + good[10:], other + good[10:], b"\0\0\0\0\7" + good[10:]]  # 31
    for text in (b"\xed\xa0\x80", b"\xff\xfe\xfd", b"\xc0\x80x", b"\xf4\x90\x80"):  # 32: lone surrogates and the like
        found += [good.replace(b"str", text, 1), good.replace(b"odd", text, 1)]
    found += [b"Obj\1" + rnd.randbytes(500), rnd.randbytes(64)]  # a container file
    return [value for value in found if value is None or not _is_read(value)]


def _is_read(value: bytes) -> bool:
    """A few of what chance makes are messages all the same."""
    try:
        return codec.decode(value)[0] == "span_batch"
    except codec.CodecError:
        return False


DERIVED = ("llm.panes", "llm.traces", "llm.samples", "llm.alerts")
"""The topics beside llm.spans that processors and sink both read."""


def bad_of(topic: str, rnd: random.Random) -> list[bytes]:
    """Values of a topic that processors write, of which no reader may make anything: no Avro, or out of all bounds."""
    schema = topics.load()[topic].schema
    datum = next(each for each in topics.examples(topic) if schema == "alert" or each[ITEMS[topic]])
    good, found = codec.encode(schema, datum), [rnd.randbytes(100), codec.prefix("hour"), codec.prefix(schema)]
    found += [good[: len(good) // 2], good + b"\0", codec.encode("hour", topics.examples("llm.hours")[0])]
    if schema == "alert":
        absurd: list[dict[str, Any]] = [{"window_end": 2**62}, {"since": -1}, {"value": float("nan")}]
        return found + [codec.encode(schema, datum | each) for each in [*absurd, {"rule": "r" * 100_000}]]
    for header in HEADERS[topic]:
        found.append(codec.encode(schema, datum | header))
    for item in BROKEN[topic]:
        found.append(codec.encode(schema, datum | {ITEMS[topic]: [datum[ITEMS[topic]][0] | item]}))
    return found


ITEMS = {"llm.panes": "panes", "llm.traces": "traces", "llm.samples": "samples"}
HEADERS: dict[str, list[dict[str, Any]]] = {
    "llm.panes": [
        *({"partitions": 2**31 - 1}, {"progress": 2**62}, {"partition": -(2**31)}, {"topic_id": "x judged=9"}),
        *({"revision": 2**31 - 1}, {"next_offset": -1}),
    ],
    "llm.traces": [{"partition": 2**31 - 1}, {"partition": -1}, {"topic_id": "i" * 100_000}],
    "llm.samples": [{"start": -(2**63)}, {"start": 2**63 - 1}, {"host": "h" * 100_000}],
}
BROKEN: dict[str, list[dict[str, Any]]] = {
    "llm.panes": [
        *({"start": 2**62}, {"start": None}, {"spans": 1, "errors": 2}, {"ttft_sketch": [None]}),
        *({"duration_sketch": [{"index": 2**31 - 1, "count": 1}]}, {"tenant": "t" * 100_000}),
    ],
    "llm.traces": [{"trace_id": None, "cost": 2**62}, {"spans": -1}, {"stages": [None]}, {"name": "n" * 100_000}],
    "llm.samples": [{"count": -1}, {"count": 2**62}, {"quantity": "q" * 100_000}],
}


def odd(now_ns: int) -> list[bytes]:
    """Valid messages: 32, 39, duplicates within one, and times that no clock of ours says."""
    most, hour = 2**63 - 1, 3600 * 10**9
    tokens = CALL | {"time_to_first_token": -most}
    scores = [{"name": "s" * 1000, "value": value} for value in (float("inf"), -0.0, 1e308, 0.25)]
    twin = span(now_ns)
    return [
        batch([span(now_ns, name="a\0b"), span(now_ns, name="\u202eRTL\u2066"), span(now_ns, name="x" * 1_000_000)]),
        batch([span(now_ns, error_type="e" * 300_000, tool_name="t" * 300_000, block_reason="b" * 300_000)]),
        batch([span(now_ns, scores=scores), span(now_ns, scores=[{"name": "n", "value": float("nan")}])]),
        batch([span(now_ns, attributes=[{"key": f"key {n}", "value": "v"} for n in range(10_000)])]),
        batch([span(now_ns, attributes=[{"key": "k", "value": "v" * 1_000_000}, {"key": "k", "value": "again"}])]),
        batch([span(now_ns, payload=dict.fromkeys(("input", "output"), "p" * 500_000))]),
        batch([
            span(now_ns, kind="llm", llm=tokens | dict.fromkeys(("input_tokens", "output_tokens"), count))
            for count in (most, -most, 10**9, 10**9 + 1, 0)
        ]),
        batch([span(now_ns, start=start) for start in (0, -most, most, now_ns + hour)]),
        batch([span(now_ns - late, end=now_ns - late) for late in (10**9, hour, 48 * hour)]),
        batch([span(now_ns + ahead, end=now_ns + ahead) for ahead in (6 * 10**9, hour, 24 * hour, 8760 * hour)]),
        batch([twin] * 10),
        batch([span(now_ns, span_id="self", parent_id="self"), span(now_ns, parent_id="nobody")]),
        batch([span(now_ns, trace_id="ring", span_id=f"{n}", parent_id=f"{(n + 1) % 3}") for n in range(3)]),
        batch([span(now_ns, trace_id="two roots", span_id=f"{n}") for n in range(2)]),
        batch([]),
        batch([span(now_ns)], producer="p" * 300_000, host="h" * 300_000, version="", sdk=""),
    ]  # fmt: skip
