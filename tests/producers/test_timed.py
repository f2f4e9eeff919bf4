import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import spanloom
from spanloom.testing import Recorded, recording

from tests.producers.test_answers import CHAT, MESSAGES


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    with recording() as recorded:
        yield recorded


class Stream:
    """As a server would send it: what it holds, at once."""

    def __init__(self, *chunks: Any) -> None:
        self._chunks = iter(chunks)

    async def __aiter__(self) -> AsyncIterator[Any]:
        for chunk in self._chunks:
            await asyncio.sleep(0)
            yield chunk


class Sync:
    def __init__(self, *chunks: Any) -> None:
        self._chunks = iter(chunks)
        self.closed = False
        self.response = "200"

    def __iter__(self) -> Iterator[Any]:
        return self._chunks

    def close(self) -> None:
        self.closed = True


def llm(recorded: Recorded) -> dict[str, Any]:
    found: dict[str, Any] = recorded.named("call")["llm"]
    return found


def test_a_stream_fills_the_span_it_is_read_in_and_is_what_it_was(recorded: Recorded) -> None:
    with spanloom.span("call", event_type="llm", attributes={"provider": "openai"}):
        assert [*spanloom.timed(iter(CHAT))] == CHAT
    found = llm(recorded)
    assert (found["input_tokens"], found["cache_read_tokens"], found["output_tokens"]) == (60, 40, 30)
    assert (found["usage"], found["response_model"], found["service_tier"]) == ("measured", "gpt-4o-2026", "flex")
    assert found["finish_reasons"] == ["stop"]
    span = recorded.named("call")
    assert 0 < found["time_to_first_token"] <= span["end"] - span["start"]


def test_the_same_of_asyncio(recorded: Recorded) -> None:
    async def main() -> list[Any]:
        async with spanloom.span("call", event_type="llm"):
            return [chunk async for chunk in spanloom.timed(Stream(*MESSAGES))]

    assert asyncio.run(main()) == MESSAGES
    assert (llm(recorded)["input_tokens"], llm(recorded)["output_tokens"]) == (100, 50)


def test_without_a_report_tokens_are_estimated_and_the_span_says_so(recorded: Recorded) -> None:
    with spanloom.span("call", event_type="llm"):
        for _ in spanloom.timed(iter(CHAT[:-1])):
            pass
    assert (llm(recorded)["usage"], llm(recorded)["output_tokens"], llm(recorded)["input_tokens"]) == (
        "estimated",
        3,
        None,
    )


def test_a_stream_that_is_left_tells_what_came_though_nobody_closes_it(recorded: Recorded) -> None:
    async def main() -> None:
        async with spanloom.span("call", event_type="llm"):
            stream = spanloom.timed(Stream(*MESSAGES))
            async for chunk in stream:
                if chunk is MESSAGES[2]:
                    break

    asyncio.run(main())
    found = llm(recorded)
    assert (found["usage"], found["input_tokens"], found["output_tokens"]) == ("estimated", 100, 3)
    assert found["time_to_first_token"] > 0


def test_a_stream_of_which_nothing_came_says_nothing_of_tokens(recorded: Recorded) -> None:
    with spanloom.span("call", event_type="llm"):
        for _ in spanloom.timed(iter(CHAT[:1])):
            pass
    assert (llm(recorded)["output_tokens"], llm(recorded)["usage"]) == (None, "unknown")
    assert llm(recorded)["time_to_first_token"] is None


def test_all_else_of_a_stream_stays_at_hand(recorded: Recorded) -> None:
    stream = Sync(*CHAT)
    with spanloom.span("call", event_type="llm"):
        timed = spanloom.timed(stream)
        assert timed.response == "200"
        timed.close()
    assert stream.closed
    with pytest.raises(AttributeError):
        _ = timed.nothing  # type: ignore[attr-defined]


def test_outside_of_a_span_a_stream_is_left_alone(recorded: Recorded) -> None:
    stream = iter(CHAT)
    assert spanloom.timed(stream) is stream


def test_what_the_stream_raises_is_raised_and_what_a_chunk_is_does_not_matter(recorded: Recorded) -> None:
    class Odd:
        def __getattribute__(self, name: str) -> object:
            raise RuntimeError(name)

    odd = Odd()

    def chunks() -> Iterator[object]:
        yield odd
        raise ConnectionResetError

    with spanloom.span("call", event_type="llm"):
        timed = spanloom.timed(chunks())
        assert next(timed) is odd
        with pytest.raises(ConnectionResetError):
            next(timed)
    assert recorded.named("call")["status"] == "unset"  # of a span of the host's own


def test_a_refusal_is_a_block_and_the_length_a_reason(recorded: Recorded) -> None:
    for name, reason in (("refused", "content_filter"), ("cut", "length")):
        chunk = {**CHAT[3], "choices": [{"delta": {}, "finish_reason": reason}]}
        with spanloom.span(name, event_type="llm"):
            for _ in spanloom.timed(iter([*CHAT[:3], chunk])):
                pass
    refused, cut = recorded.named("refused"), recorded.named("cut")
    assert (refused["block_reason"], refused["llm"]["finish_reasons"]) == ("content_filter", ["content_filter"])
    assert (cut["block_reason"], cut["llm"]["finish_reasons"]) == (None, ["length"])
