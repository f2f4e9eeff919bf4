import asyncio
import hmac
import logging
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
import spanloom
from hypothesis import given, settings
from hypothesis import strategies as st
from spanloom import fields, secrecy
from spanloom.testing import Recorded, recording
from spanloom_schemas import codec


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    with recording() as recorded:
        yield recorded


@pytest.fixture
def pepper() -> Iterator[None]:
    secrecy.use("salt and")
    yield
    secrecy.use("")


def test_a_span_below_a_span_is_of_its_trace(recorded: Recorded) -> None:
    with spanloom.span("above") as above, spanloom.span("below", event_type="tool") as below:
        assert spanloom.current_span() is below
    assert spanloom.current_span() is None
    found = recorded.named("below")
    assert (found["trace_id"], found["parent_id"], found["parent_remote"]) == (above.trace_id, above.id, False)
    assert recorded.named("above")["parent_id"] is None
    assert above.trace_id != spanloom.span("another").trace_id


def test_a_span_lasts_from_making_to_leaving(recorded: Recorded) -> None:
    with spanloom.span("above"), spanloom.span("below"):
        pass
    above, below = recorded.named("above"), recorded.named("below")
    assert above["start"] <= below["start"] <= below["end"] <= above["end"]


def test_attributes_named_like_fields_fill_the_fields(recorded: Recorded, pepper: None) -> None:
    attributes = {
        "tenant": "acme",
        "session_id": "s1",
        "user": "ann@example.org",
        "prompt_id": "qa",
        "prompt_version": 3,
        "retriever_k": 5,
        "temperature": 1,
        "input_tokens": 12,
        "cached": True,
        "finish_reasons": ["stop"],
        "scores": {"hit_at_k": 1},
        "nothing": None,
        "color": "red",
        "flag": True,
    }
    with spanloom.span("x", event_type="llm", model="gpt-4o", attributes=attributes):
        pass
    found = recorded.named("x")
    assert found["context"]["tenant"] == "acme"
    assert found["context"]["session_id"] == "s1"
    assert (found["prompt"]["id"], found["prompt"]["version"]) == ("qa", "3")
    assert found["retrieval"]["k"] == 5
    llm = found["llm"]
    assert (llm["request_model"], llm["temperature"], llm["input_tokens"], llm["cached"]) == ("gpt-4o", 1.0, 12, True)
    assert llm["finish_reasons"] == ["stop"]
    assert found["scores"] == [{"name": "hit_at_k", "value": 1.0}]
    assert found["attributes"] == [{"key": "color", "value": "red"}, {"key": "flag", "value": "true"}]


def test_spans_that_threads_start_at_once_all_inherit_what_is_known_above_them(recorded: Recorded) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(200):
            above = spanloom.span("above", attributes={"tenant": "acme", "session_id": "s1"})
            start = Barrier(4)

            def below(above: spanloom.Span = above, start: Barrier = start) -> None:
                start.wait()
                spanloom.span("below", parent=above).end()

            threads = [Thread(target=below) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            above.end()
    finally:
        sys.setswitchinterval(interval)
    found = recorded.spans
    assert len(found) == 1000
    assert {(span["context"]["tenant"], span["context"]["session_id"]) for span in found} == {("acme", "s1")}


SAID: dict[str, tuple[object, tuple[str, ...], object]] = {
    **{n: (f"{n} 1", ("context", n), f"{n} 1") for n in ("request_id", "session_id", "tenant", "experiment", "run_id")},
    "dataset_id": (7, ("context", "dataset_id"), "7"),
    "user": ("ann", ("context", "user"), "k1:"),
    "prompt_id": ("qa", ("prompt", "id"), "qa"),
    "prompt_version": (3, ("prompt", "version"), "3"),
    "context_truncated": (True, ("prompt", "context_truncated"), True),
    **{
        f"{n}_tokens": (number, ("prompt", f"{n}_tokens"), number)
        for number, n in enumerate(("system", "instructions", "few_shot", "context", "user"), 1)
    },
    **{
        n: (f"{n} 1", ("llm", n), f"{n} 1")
        for n in ("provider", "request_model", "response_model", "model_version", "service_tier")
    },
    "temperature": ("0.5", ("llm", "temperature"), 0.5),
    "top_p": (1, ("llm", "top_p"), 1.0),
    "max_tokens": (800, ("llm", "max_tokens"), 800),
    "usage": ("measured", ("llm", "usage"), "measured"),
    **{
        f"{n}_tokens": (number, ("llm", f"{n}_tokens"), number)
        for number, n in enumerate(("input", "cache_read", "cache_write", "output", "reasoning"), 11)
    },
    "cached": (True, ("llm", "cached"), True),
    "batch_size": (8, ("llm", "batch_size"), 8),
    "time_to_first_token": (9, ("llm", "time_to_first_token"), 9),
    "finish_reasons": (["stop"], ("llm", "finish_reasons"), ["stop"]),
    "retriever_k": (5, ("retrieval", "k"), 5),
    "documents": (
        [("a", 0.5, True)],
        ("retrieval", "documents"),
        [{"id": "a", "score": 0.5, "cited": True}],
    ),
    "tool_name": ("search", ("tool_name",), "search"),
    "block_reason": ("jailbreak", ("block_reason",), "jailbreak"),
    "status": ("error", ("status",), "error"),
    "error_type": ("rate_limit", ("error_type",), "rate_limit"),
    "otel_kind": ("consumer", ("otel_kind",), "consumer"),
    "scores": ({"hit": 1}, ("scores",), [{"name": "hit", "value": 1.0}]),
}
"""Name in `attributes=` → value, where the consumer finds it, and what it finds there."""
NOT_SAID = {"trace_id", "span_id", "parent_id", "parent_remote", "name", "kind", "start", "end"}
"""What a span is, not what is said about it."""
BY_CALL = {"events", "links", "attributes", "payload"}
"""What has calls of its own."""


def leaves(record: dict[str, Any], *above: str) -> Iterator[tuple[str, ...]]:
    for field in record["fields"]:
        kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
        nested = [kind for kind in kinds if isinstance(kind, dict) and kind["type"] == "record"]
        if nested:
            yield from leaves(nested[0], *above, field["name"])
        else:
            yield *above, field["name"]


def test_every_field_of_the_schema_is_filled_by_an_attribute_of_its_name(recorded: Recorded, pepper: None) -> None:
    (spans,) = (field for field in codec.newest("span_batch").source["fields"] if field["name"] == "spans")
    fields = {path for path in leaves(spans["type"]["items"]) if path[0] not in NOT_SAID | BY_CALL}
    assert {path for _, path, _ in SAID.values()} == fields
    with spanloom.span("x", event_type="llm", attributes={name: given for name, (given, _, _) in SAID.items()}):
        pass
    found = recorded.named("x")
    for name, (_, path, expected) in SAID.items():
        value: Any = found
        for step in path:
            value = value[step]
        assert value == expected or (name == "user" and value.startswith(expected)), name
    assert found["attributes"] == []


def test_every_setter_is_seen_by_the_consumer(recorded: Recorded) -> None:
    with spanloom.span("x", event_type="llm") as span:
        span.set_tokens(input=1, output=2, cache_read=3, cache_write=4, reasoning=5, usage="estimated")
        span.set_model("gpt-4o-2024-08-06", version="fp_1", provider="openai", service_tier="batch", request="gpt-4o")
        span.set_prompt("qa", "7", segments={"system": 1, "few_shot": 2, "other": 3}, truncated=True)
        span.set_documents(["a", ("b", 0.5), ("c", 1, True), {"id": "d", "score": None, "cited": True}], k=9)
        span.add_score("hit", 0.25)
        span.add_event("retry", {"n": 1}, time=77)
        span.add_link("a" * 32, "b" * 16, {"why": "batch"})
        span.set_tool("search")
        span.block("jailbreak")
        span.mark_first_token()
        span.mark_first_token()
        span.set_finish_reasons("length")
        span.set_status("error", "rate_limit")
    found = recorded.named("x")
    assert found["prompt"] == {
        "id": "qa",
        "version": "7",
        "context_truncated": True,
        "system_tokens": 1,
        "few_shot_tokens": 2,
        "instructions_tokens": None,
        "context_tokens": None,
        "user_tokens": None,
    }
    llm = found["llm"]
    assert [llm[f"{n}_tokens"] for n in ("input", "output", "cache_read", "cache_write", "reasoning")] == [
        1,
        2,
        3,
        4,
        5,
    ]
    assert (llm["usage"], llm["provider"], llm["service_tier"]) == ("estimated", "openai", "batch")
    assert (llm["request_model"], llm["response_model"]) == ("gpt-4o", "gpt-4o-2024-08-06")
    assert llm["model_version"] == "fp_1"
    assert 0 <= llm["time_to_first_token"] <= found["end"] - found["start"]
    assert llm["finish_reasons"] == ["length"]
    assert [tuple(document.values()) for document in found["retrieval"]["documents"]] == [
        ("a", None, False),
        ("b", 0.5, False),
        ("c", 1.0, True),
        ("d", None, True),
    ]
    assert found["retrieval"]["k"] == 9
    assert found["events"] == [{"name": "retry", "time": 77, "attributes": [{"key": "n", "value": "1"}]}]
    assert found["links"][0]["attributes"] == [{"key": "why", "value": "batch"}]
    assert (found["tool_name"], found["block_reason"]) == ("search", "jailbreak")
    assert (found["status"], found["error_type"]) == ("error", "rate_limit")
    assert found["attributes"] == [{"key": "other_tokens", "value": "3"}]


def test_facts_flow_down_and_neither_up_nor_across(recorded: Recorded) -> None:
    with spanloom.span("root"):
        with spanloom.span("one") as one:
            one.set_context(session_id="s1", tenant="t")
            with spanloom.span("below one") as below:
                below.set_context(experiment="e")
        with spanloom.span("two"):
            pass
    assert recorded.named("root")["context"] is None
    assert recorded.named("two")["context"] is None
    assert recorded.named("one")["context"]["experiment"] is None
    found = recorded.named("below one")["context"]
    assert (found["session_id"], found["tenant"], found["experiment"]) == ("s1", "t", "e")


def test_a_user_leaves_as_a_keyed_hash_only(recorded: Recorded, pepper: None) -> None:
    with spanloom.span("x", attributes={"user_id": "ann@example.org"}) as span:
        span.payload(input="my password is hunter2", output="so it is")
    found = recorded.named("x")
    assert found["context"]["user"] == "k1:" + hmac.new(b"salt and", b"ann@example.org", "sha256").hexdigest()[:32]
    assert found["payload"]["input"] is None
    assert found["payload"]["input_hash"] == secrecy.pseudonym("my password is hunter2")
    assert "ann" not in str(found)
    assert "hunter" not in str(found)


def test_a_pepper_may_name_its_key(pepper: None) -> None:
    first = secrecy.pseudonym("ann")
    secrecy.use("k7:salt and")
    assert secrecy.pseudonym("ann") == "k7:" + first.removeprefix("k1:")


def test_a_pepper_in_a_file_is_rotated_while_the_service_runs(tmp_path: Path, pepper: None) -> None:
    file = tmp_path / "pepper"
    file.write_text("k1:salt and\n")
    secrecy.follow(str(file))
    first = secrecy.pseudonym("ann")
    for unusable in ("", "k1:salt and"):
        file.write_text(unusable)
        secrecy.look()
        assert secrecy.pseudonym("ann") == first
    file.unlink()
    secrecy.look()
    assert secrecy.pseudonym("ann") == first
    file.write_text("k2:pepper")
    secrecy.look()
    second = secrecy.pseudonym("ann")
    assert (first[:3], second[:3]) == ("k1:", "k2:")
    secrecy.follow("")
    file.write_text("k3:more")
    secrecy.look()
    assert secrecy.pseudonym("ann") == second


def test_without_a_pepper_the_hash_is_of_this_process_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    secrecy.use("")
    assert secrecy.pseudonym("ann") == secrecy.pseudonym("ann")
    assert secrecy.pseudonym("ann").startswith("k0:")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "SPANLOOM_USER_PEPPER" in caplog.text


def test_an_exception_is_an_error_and_goes_on(recorded: Recorded) -> None:
    with pytest.raises(KeyError), spanloom.span("x"):
        raise KeyError("secret text")
    found = recorded.named("x")
    assert (found["status"], found["error_type"]) == ("error", "KeyError")
    assert "secret" not in str(found)


def test_a_clean_exit_and_a_cancelled_task_are_no_errors(recorded: Recorded) -> None:
    with pytest.raises(SystemExit), spanloom.span("exit"):
        raise SystemExit(0)

    async def waits() -> None:
        async with spanloom.span("cancelled"):
            await asyncio.sleep(60)

    async def main() -> None:
        task = asyncio.create_task(waits())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(main())
    assert recorded.named("exit")["status"] == "unset"
    found = recorded.named("cancelled")
    assert (found["status"], found["error_type"]) == ("unset", "cancelled")


def test_what_comes_after_the_end_is_forgotten(recorded: Recorded) -> None:
    span = spanloom.span("x")
    span.end()
    span.set_attributes({"late": 1})
    span.set_tool("late")
    span.end()
    assert len(recorded.spans) == 1
    assert "late" not in str(recorded.spans)


def test_too_many_and_too_long_is_cut_and_says_so(recorded: Recorded) -> None:
    with spanloom.span("n" * 999, attributes={f"a{i}": "v" * 9999 for i in range(200)}) as span:
        span.set_documents([str(i) for i in range(250)])
        for i in range(130):
            span.add_event(f"e{i}")
    (found,) = recorded.spans
    assert len(found["name"]) == 256
    assert len(found["attributes"]) == fields.MANY + 1
    assert {len(a["value"]) for a in found["attributes"][:-1]} == {4096}
    assert len(found["retrieval"]["documents"]) == 100
    assert len(found["events"]) == 128
    assert found["attributes"][-1] == {"key": "spanloom.cut", "value": str(72 + 150 + 2)}


def test_an_unknown_stage_is_other_and_is_kept(recorded: Recorded) -> None:
    with spanloom.span("x", event_type="guardrail"):
        pass
    found = recorded.named("x")
    assert found["kind"] == "other"
    assert found["attributes"] == [{"key": "event_type", "value": "guardrail"}]


class Hostile:
    """A value of the host that raises whenever it is touched."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __int__ = __float__ = __len__ = __iter__ = items = __str__  # type: ignore[assignment]


ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.builds(Hostile),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3) | st.tuples(inner)
    ),
    max_leaves=5,
)


NAMES = [
    *(*fields.FACTS, *fields.ALIASES, *fields.COMPOUND, "x", "status", "otel_kind", "usage", "cached"),
    *("input_tokens", "temperature", "tool_name"),
]


@settings(max_examples=100)
@given(st.dictionaries(st.sampled_from(NAMES), ANYTHING), ANYTHING)
def test_no_value_whatever_raises_or_loses_the_span(attributes: dict[str, Any], value: Any) -> None:
    with recording() as recorded:
        with spanloom.span(value, event_type=value if isinstance(value, str) else "llm", model=value) as span:
            span.set_attributes(attributes)
            span.set_attributes(value)
            span.set_tokens(input=value, output=value, usage=value)
            span.set_documents(value, k=value)
            span.set_prompt(value, value, truncated=value)
            span.add_score(value, value)
            span.add_event(value, value, time=value)
            span.add_link(value, value, value)
            span.set_status(value, value)
            span.set_tool(value)
            span.payload(input=value)
        assert len(recorded.spans) == 1


def test_ten_thousand_tasks_keep_their_own_spans(recorded: Recorded) -> None:
    async def step(number: int) -> None:
        with spanloom.span(f"outer {number}") as outer:
            await asyncio.sleep(0)
            with spanloom.span(f"inner {number}"):
                await asyncio.sleep(0)
            assert spanloom.current_span() is outer

    async def main() -> None:
        await asyncio.gather(*(step(number) for number in range(10_000)))

    asyncio.run(main())
    outer = {s["name"].removeprefix("outer "): s for s in recorded.spans if s["name"].startswith("outer")}
    inner = {s["name"].removeprefix("inner "): s for s in recorded.spans if s["name"].startswith("inner")}
    assert len(outer) == len(inner) == 10_000
    assert all(inner[n]["parent_id"] == outer[n]["span_id"] for n in outer)
    assert len({span["trace_id"] for span in recorded.spans}) == 10_000


def test_a_thread_runs_in_the_span_that_is_carried_to_it(recorded: Recorded) -> None:
    def work() -> None:
        with spanloom.span("work"):
            pass

    with spanloom.span("above") as above:
        for target in (spanloom.carry(work), work, partial(copy_context().run, work)):
            thread = Thread(target=target)
            thread.start()
            thread.join()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(spanloom.carry(lambda _: work()), range(4)))
    parents = [span["parent_id"] for span in recorded.spans if span["name"] == "work"]
    assert parents == [above.id, None, above.id, *[above.id] * 4]
    assert spanloom.current_span() is None


def test_feedback_is_a_span_in_the_answers_trace(recorded: Recorded, pepper: None) -> None:
    with spanloom.span("answer") as answer:
        pass
    spanloom.feedback(answer.trace_id, span_id=answer.id, thumbs=False, rating=2.5, text="wrong!", scores={"tone": 1})
    found = recorded.named("feedback")
    assert (found["kind"], found["trace_id"], found["parent_id"]) == ("feedback", answer.trace_id, answer.id)
    assert {s["name"]: s["value"] for s in found["scores"]} == {"thumbs": 0.0, "rating": 2.5, "tone": 1.0}
    assert found["payload"]["input_hash"] == secrecy.pseudonym("wrong!")
    spanloom.feedback(answer.trace_id, thumbs=True)
    assert recorded.spans[-1]["parent_id"] is None


@pytest.mark.parametrize(
    ("thumbs", "rating", "scores"),
    [
        (True, 5, {"thumbs": 1, "rating": 5}),
        ("down", 0, {}),
        (-1, 6, {}),
        (False, "bad", {"thumbs": 0}),
        (None, 1, {"rating": 1}),
    ],
)
def test_a_verdict_that_is_none_is_left_out_and_the_rest_is_sent(
    recorded: Recorded, thumbs: Any, rating: Any, scores: dict[str, float]
) -> None:
    spanloom.feedback("a" * 32, thumbs=thumbs, rating=rating, text="wrong!")
    found = recorded.named("feedback")
    assert {score["name"]: score["value"] for score in found["scores"]} == scores
    assert found["payload"]["input_hash"]


@pytest.mark.parametrize("trace_id", ["", "0" * 32, "A" * 32, "a" * 31, None, 7])
def test_feedback_for_what_is_no_trace_sends_nothing(recorded: Recorded, trace_id: Any) -> None:
    spanloom.feedback(trace_id, thumbs=True)
    assert recorded.spans == []
