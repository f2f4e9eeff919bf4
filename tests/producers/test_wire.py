"""The direct Avro writer against fastavro."""

import io
from typing import Any

import fastavro
from hypothesis import given, settings
from hypothesis import strategies as st
from spanloom import fields, wire
from spanloom.buffer import Ended
from spanloom.trace import Trace
from spanloom_schemas import codec
from spanloom_schemas.partitioning import partition

LONGS = st.integers(-(2**63) + 1, 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
PAIRS = st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple)
FACTS = sorted(set(fields.FACTS.values()))
DETAIL = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("provider", "request_model", "response_model", "model_version", "service_tier"), TEXT),
        **dict.fromkeys(("error_type", "tool_name", "block_reason", "input_hash", "output_hash"), TEXT),
        **dict.fromkeys(("temperature", "top_p"), DOUBLES),
        **dict.fromkeys(("cached", "context_truncated"), st.booleans()),
        **dict.fromkeys((f"{name}_tokens" for name in fields.SEGMENTS), LONGS),
        **dict.fromkeys((f"{n}_tokens" for n in ("input", "cache_read", "cache_write", "output", "reasoning")), LONGS),
        **dict.fromkeys(("max_tokens", "batch_size", "ttft", "retriever_k"), LONGS),
        "usage": st.sampled_from(["measured", "estimated", "unknown"]),
        "otel_kind": st.sampled_from(fields.OTEL_KINDS),
        "status": st.sampled_from(fields.STATUSES),
        "finish_reasons": st.lists(TEXT, max_size=3).map(tuple),
        "scores": st.dictionaries(TEXT, DOUBLES, max_size=3),
        "documents": st.lists(st.tuples(TEXT.filter(bool), st.none() | DOUBLES, st.booleans()), max_size=4).map(tuple),
        "an.attribute": TEXT,
        "another": TEXT,
    },
)
SPANS: st.SearchStrategy[Ended] = st.tuples(
    st.builds(
        lambda id, facts, anchor: Trace(f"{id:032x}", 1, "", facts, anchor),
        st.integers(1, 2**128 - 1),
        st.dictionaries(st.sampled_from(FACTS), TEXT),
        st.integers(0, 2**62),
    ),
    st.integers(1, 2**64 - 1),
    st.none() | st.integers(1, 2**64 - 1),
    st.booleans(),
    TEXT,
    st.sampled_from(fields.KINDS),
    st.integers(0, 2**62),
    st.integers(0, 2**62),
    DETAIL,
    st.none() | st.lists(st.tuples(TEXT, LONGS, PAIRS), max_size=3),
    st.none() | st.lists(st.tuples(TEXT, TEXT, PAIRS), max_size=3),
    st.just(0),
)


def as_datum(ended: Ended) -> dict[str, Any]:
    """What the schema calls the same span, written independently of the writer's tables."""
    trace, number, parent, remote, name, kind, start, end, detail, events, links, _ = ended
    prompt_id, prompt_version = trace.facts.get("prompt_id"), trace.facts.get("prompt_version")
    context = {key: trace.facts[key] for key in trace.facts if not key.startswith("prompt_")}
    segments = {f"{name}_tokens": detail[f"{name}_tokens"] for name in fields.SEGMENTS if f"{name}_tokens" in detail}
    prompt = {"id": prompt_id, "version": prompt_version, **segments}
    truncated = detail.get("context_truncated")
    llm_names = {field["name"] for field in record("llm")["fields"]} - {"time_to_first_token"}
    llm = {key: value for key, value in detail.items() if key in llm_names}
    if "ttft" in detail:
        llm["time_to_first_token"] = detail["ttft"]
    pairs = lambda said: [{"key": key, "value": value} for key, value in said]  # noqa: E731
    documents = [{"id": i, "score": s, "cited": c} for i, s, c in detail.get("documents", ())]  # type: ignore[attr-defined]
    scores = [{"name": n, "value": v} for n, v in detail.get("scores", {}).items()]  # type: ignore[attr-defined]
    default_kind = {"request": "server", "llm": "client", "embedding": "client"}.get(kind, "internal")
    hashes = {key: detail[key] for key in ("input_hash", "output_hash") if key in detail}
    return {
        "trace_id": trace.id,
        "span_id": f"{number:016x}",
        "parent_id": None if parent is None else f"{parent:016x}",
        "parent_remote": remote,
        "name": name,
        "kind": kind,
        "otel_kind": detail.get("otel_kind", default_kind),
        "start": trace.anchor + start,
        "end": trace.anchor + end,
        "status": detail.get("status", "unset"),
        "error_type": detail.get("error_type"),
        "context": context if any(context.values()) else None,
        "prompt": None
        if prompt == {"id": None, "version": None} and truncated is None
        else {**prompt, "context_truncated": truncated or False},
        "llm": llm or None,
        "retrieval": None
        if "retriever_k" not in detail and "documents" not in detail
        else {"k": detail.get("retriever_k"), "documents": documents},
        "tool_name": detail.get("tool_name"),
        "block_reason": detail.get("block_reason"),
        "scores": scores,
        "events": [{"name": n, "time": t, "attributes": pairs(a)} for n, t, a in events or ()],
        "links": [{"trace_id": t, "span_id": s, "attributes": pairs(a)} for t, s, a in links or ()],
        "attributes": pairs((key, detail[key]) for key in detail if key in ("an.attribute", "another")),
        "payload": hashes or None,
    }


def record(field: str) -> dict[str, Any]:
    """The record behind an optional field of the span."""
    spans = codec.newest("span_batch").source["fields"][-1]["type"]["items"]["fields"]
    found: dict[str, Any] = next(f["type"][1] for f in spans if f["name"] == field)
    return found


def by_fastavro(datum: dict[str, Any], schema: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), datum)
    return out.getvalue()


SPAN_SCHEMA = codec.newest("span_batch").source["fields"][-1]["type"]["items"]


@settings(max_examples=100)
@given(SPANS)
def test_a_span_is_written_byte_for_byte_as_fastavro_writes_it(ended: Ended) -> None:
    assert wire.span(ended) == by_fastavro(as_datum(ended), SPAN_SCHEMA)


@given(LONGS)
def test_a_long_is_written_as_fastavro_writes_it(value: int) -> None:
    assert wire.long(value) == by_fastavro(value, "long")  # type: ignore[arg-type]


@settings(max_examples=25)
@given(
    st.lists(SPANS, max_size=4),
    st.dictionaries(TEXT, st.integers(0, 2**40), max_size=3),
    st.dictionaries(TEXT, st.integers(0, 2**40), max_size=2),
    st.lists(st.integers(0, 2**40), max_size=3),
    st.booleans(),
)
def test_a_message_decodes_to_what_was_put_in(
    spans: list[Ended], dropped: dict[str, int], shed: dict[str, int], given_up: list[int], last: bool
) -> None:
    origin = wire.Origin("box:app", 7, "chat", "prod", "box", "1.0", "spanloom/0")
    counts = {"dropped": dropped, "shed": shed}
    header = wire.header(origin)(sequence=3, sent=5, made=9, **counts, given_up=given_up, last=last)
    message = wire.message(codec.prefix("span_batch"), header, [wire.span(ended) for ended in spans])
    name, _, datum = codec.decode(message)
    assert name == "span_batch"
    assert [span["span_id"] for span in datum.pop("spans")] == [f"{ended[1]:016x}" for ended in spans]
    assert datum == {
        **origin._asdict(),
        "sequence": 3,
        "sent": 5,
        "made": 9,
        "dropped": [{"reason": reason, "spans": count} for reason, count in dropped.items()],
        "shed": [{"part": part, "spans": count} for part, count in shed.items()],
        "given_up": given_up,
        "last": last,
    }


def test_a_lone_surrogate_becomes_a_question_mark_and_a_nul_stays() -> None:
    assert wire.string("a\ud800\0b") == b"\x08a?\0b"


@given(st.integers(0, 2**128 - 1), st.integers(1, 64))
def test_the_clients_murmur2_is_the_one_of_the_contract(number: int, partitions: int) -> None:
    from confluent_kafka.cimpl import murmur2

    assert murmur2(f"{number:032x}".encode(), partitions) == partition(f"{number:032x}", partitions)
