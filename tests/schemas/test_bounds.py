"""Messages that are valid Avro and out of bounds are dead, for one reason; what processors may ever say is not."""

from typing import Any

import pytest
from spanloom_schemas import bounds, codec, topics
from spanloom_schemas.codec import CodecError
from spanloom_schemas.frames.bounded import decode

PANES = next(datum for datum in topics.examples("llm.panes") if len(datum["panes"]) > 1)
TRACES = next(datum for datum in topics.examples("llm.traces") if datum["traces"])
SAMPLES = next(datum for datum in topics.examples("llm.samples") if datum["samples"])
ALERT = topics.examples("llm.alerts")[0]
DATA = {"pane_batch": PANES, "trace_batch": TRACES, "sample_batch": SAMPLES}
ITEMS = {"pane_batch": "panes", "trace_batch": "traces", "sample_batch": "samples"}
HUGE = 2**62 + 1


def spoiled(name: str, **said: Any) -> bytes:
    """A batch whose first item says otherwise or, where items have no such field, its header."""
    datum, items = DATA[name], ITEMS[name]
    first = datum[items][0]
    of_item = {key: value for key, value in said.items() if key in first}
    of_header = {key: value for key, value in said.items() if key not in first}
    return codec.encode(name, {**datum, **of_header, items: [{**first, **of_item}, *datum[items][1:]]})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("pane_batch", {"partition": -2}),
        ("pane_batch", {"partitions": 2**31 - 1}),
        ("pane_batch", {"progress": HUGE}),
        ("pane_batch", {"revision": -1}),
        ("pane_batch", {"topic_id": "a judged=9"}),
        ("pane_batch", {"topic_id": "é"}),
        ("pane_batch", {"start": None}),
        ("pane_batch", {"start": HUGE}),
        ("pane_batch", {"errors": 10**6}),
        ("pane_batch", {"spans": -1}),
        ("pane_batch", {"tenant": "x" * 257}),
        ("pane_batch", {"duration_sketch": [{"index": 2**31 - 1, "count": 1}]}),
        ("pane_batch", {"ttft_sketch": [None]}),
        ("pane_batch", {"worst": [{"why": "slow", "value": None, "trace_id": "a", "span_id": "b"}]}),
        ("trace_batch", {"partition": -1}),
        ("trace_batch", {"trace_id": None}),
        ("trace_batch", {"first_offset": -1}),
        ("trace_batch", {"models": ["m", None]}),
        ("trace_batch", {"service": "x" * 100_000}),
        ("sample_batch", {"start": -1}),
        ("sample_batch", {"host": "x" * 257}),
        ("sample_batch", {"count": -1}),
    ],
)
def test_what_would_break_a_reader_is_out_of_bounds_and_harms_no_other(name: str, said: dict[str, Any]) -> None:
    good, bad = codec.encode(name, DATA[name]), spoiled(name, **said)
    found = decode(name, [(7, 1, good), (8, 2, bad), (9, 3, good)])
    assert [(each.offset, each.reason, each.value) for each in found.dead] == [(8, "out_of_bounds", bad)]
    assert next(iter(said)) in found.dead[0].error
    assert found.headers["offset"].to_list() == [7, 9]
    assert set(found.rows["offset"]) == {7, 9}


@pytest.mark.parametrize(
    "said",
    [
        {"window_end": HUGE},
        {"since": -1},
        {"value": float("nan")},
        {"threshold": float("inf")},
        {"rule": "x" * 257},
        {"summary": "x" * 70_000},
        {"group": [{"key": "service", "value": "x" * 257}]},
        {"trace_ids": ["t"] * 1000},
    ],
)
def test_an_alert_that_nobody_can_be_told_of_is_out_of_bounds(said: dict[str, Any]) -> None:
    with pytest.raises(CodecError) as caught:
        bounds.decode("alert", codec.encode("alert", {**ALERT, **said}))
    assert caught.value.reason == "out_of_bounds"


def test_examples_are_within_bounds() -> None:
    for name in ("llm.alerts", "llm.dead_letters", "llm.hours"):
        schema = topics.load()[name].schema
        for datum in topics.examples(name):
            assert bounds.decode(schema, codec.encode(schema, datum)) == datum
    for name in ("llm.panes", "llm.traces", "llm.samples"):
        schema = topics.load()[name].schema
        values = [(n, 0, codec.encode(schema, datum)) for n, datum in enumerate(topics.examples(name))]
        assert decode(schema, values).dead == []


@pytest.mark.parametrize("topic_id", ["Xq7mP2bRT1SgY0lJq3uZ0w", "+m7y/2bRT1SgY0lJq3uZ0w", "-m7y_2bRT1SgY0lJq3uZ0w", ""])
def test_every_id_that_a_broker_gives_a_topic_is_within_bounds(topic_id: str) -> None:
    """Librdkafka writes them in the alphabet of base64 that has + and /."""
    values = [(n, 0, spoiled(name, topic_id=topic_id)) for n, name in enumerate(("pane_batch", "trace_batch"))]
    assert [decode(name, [value]).dead for name, value in zip(("pane_batch", "trace_batch"), values, strict=True)] == [
        [],
        [],
    ]


@pytest.mark.parametrize("ns", [-(2**63), 2**63 - 1])
def test_a_pane_of_any_date_that_a_span_can_say_is_within_bounds(ns: int) -> None:
    assert decode("pane_batch", [(0, 0, spoiled("pane_batch", start=ns // 10**10 * 10**4))]).dead == []
