from collections.abc import Iterator

import pytest
import spanloom
from hypothesis import given
from hypothesis import strategies as st
from spanloom.propagation import extract, inject, parse, tracestate
from spanloom.testing import Recorded, recording

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
VALID = f"00-{TRACE}-{PARENT}-01"


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    with recording() as recorded:
        yield recorded


def test_what_one_process_injects_another_extracts(recorded: Recorded) -> None:
    headers: dict[str, str] = {}
    with spanloom.span("caller") as caller:
        caller.set_context(request_id="req-1", session_id="private")
        assert inject(headers) is headers
    with spanloom.span("callee", parent=extract(headers)) as callee:
        assert (callee.trace_id, callee.request_id) == (caller.trace_id, "req-1")
    found = recorded.named("callee")
    assert (found["parent_id"], found["parent_remote"]) == (caller.id, True)
    assert found["context"]["session_id"] is None
    assert "private" not in str(headers)


def test_outside_of_a_span_nothing_is_injected() -> None:
    assert inject({}) == {}


@pytest.mark.parametrize(
    "headers",
    [
        {"traceparent": VALID},
        {"TraceParent": VALID},
        [("traceparent", VALID)],
        [(b"Traceparent", VALID.encode())],
        [("traceparent", VALID.encode()), ("other", None)],
    ],
)
def test_headers_come_as_mappings_and_pairs_of_text_or_bytes(headers: object) -> None:
    found = extract(headers)  # type: ignore[arg-type]
    assert found is not None
    assert (found.trace.id, found.number) == (TRACE, int(PARENT, 16))


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        VALID.upper(),
        VALID[:-1],
        VALID + "0",
        VALID + "-more",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}g-{PARENT}-01",
        f"00_{TRACE}_{PARENT}_01",
        f"01-{TRACE}-{PARENT}-01more",
        VALID + "\n",
    ],
)
def test_an_invalid_traceparent_is_none(traceparent: str) -> None:
    assert parse(traceparent) is None
    assert extract({"traceparent": traceparent}) is None


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    assert parse(f"cc-{TRACE}-{PARENT}-01-what-is-this") == (TRACE, PARENT, 1)


def test_two_traceparents_are_none() -> None:
    assert extract([("traceparent", VALID), ("traceparent", VALID)]) is None


@pytest.mark.parametrize(("flags", "passed_on"), [("00", "00"), ("01", "01"), ("03", "03"), ("ff", "03")])
def test_flags_are_passed_on_as_far_as_they_are_known(flags: str, passed_on: str) -> None:
    with spanloom.span("x", parent=extract({"traceparent": VALID[:-2] + flags})) as span:
        assert inject({})["traceparent"] == f"00-{TRACE}-{span.id}-{passed_on}"


def test_a_trace_of_our_own_says_that_it_is_random() -> None:
    with spanloom.span("x"):
        assert inject({})["traceparent"].endswith("-03")


def test_tracestate_is_combined_and_passed_on_unchanged() -> None:
    headers = [("traceparent", VALID), ("tracestate", "a=1, b@x=2"), ("tracestate", "c=3")]
    with spanloom.span("x", parent=extract(headers)), spanloom.span("below"):
        assert inject({})["tracestate"] == "a=1,b@x=2,c=3"


@pytest.mark.parametrize("state", ["a", "A=1", "a=1,a=2", "a=\x07", "a=b=c", ",".join(f"k{i}=1" for i in range(33))])
def test_an_invalid_tracestate_is_dropped_alone(state: str) -> None:
    assert tracestate([state]) == ""
    assert extract({"traceparent": VALID, "tracestate": state}) is not None


@given(
    st.text(max_size=80) | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"), st.text(max_size=200)
)
def test_no_header_raises(traceparent: str, state: str) -> None:
    extract({"traceparent": traceparent, "tracestate": state, "x-request-id": state})
