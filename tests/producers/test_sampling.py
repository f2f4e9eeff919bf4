from random import Random
from typing import Any

import pytest
import spanloom
from spanloom.sampling import sampled
from spanloom.testing import recording
from spanloom.trace import RANDOM, SAMPLED, Trace


def test_a_share_of_traces_is_sampled_by_the_trace_alone() -> None:
    random = Random(7)
    traces = [Trace(f"{random.getrandbits(128):032x}", SAMPLED | RANDOM, "", {}) for _ in range(4000)]

    def wanted(share: float) -> set[str]:
        return {trace.id for trace in traces if sampled(trace, share)}

    tenth, half = wanted(0.1), wanted(0.5)
    assert tenth < half
    assert 320 < len(tenth) < 480
    assert 1850 < len(half) < 2150
    assert (wanted(0), wanted(1)) == (set(), {trace.id for trace in traces})


def made(share: float, flags: str) -> dict[str, Any]:
    parent = spanloom.extract({"traceparent": f"00-{'a' * 32}-{'b' * 16}-{flags}"})
    with (
        recording(attributes=share) as recorded,
        spanloom.span("x", event_type="llm", attributes={"mine": 1, "ours": 2, "tenant": "t"}, parent=parent) as span,
    ):
        span.set_tokens(input=7, output=3)
        span.add_score("thumbs", 1)
        span.add_event("retry", {"why": "429"})
        span.record_error("Timeout")
    return recorded.spans[0]


def attributes(span: dict[str, Any]) -> dict[str, str]:
    return {pair["key"]: pair["value"] for pair in span["attributes"]}


@pytest.mark.parametrize(
    ("share", "flags", "kept"),
    [(1, "01", True), (0, "01", False), (0.9, "01", True), (0.9, "00", False), (1, "00", True)],
)
def test_attributes_are_sampled_by_trace_and_counted_and_nothing_that_counts_is(
    share: float, flags: str, kept: bool
) -> None:
    span, whole = made(share, flags), made(1, "01")
    assert attributes(span) == ({"mine": "1", "ours": "2"} if kept else {"spanloom.sampled_out": "2"})
    for field in ("llm", "context", "scores", "events", "status", "error_type"):
        assert span[field] == whole[field] or field == "events"
    assert span["events"][0]["attributes"] == whole["events"][0]["attributes"]


def test_a_span_without_attributes_says_nothing_of_them() -> None:
    with recording(attributes=0) as recorded, spanloom.span("x"):
        pass
    assert recorded.spans[0]["attributes"] == []
