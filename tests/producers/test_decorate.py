import asyncio
import gc
import inspect
from collections.abc import AsyncIterator, Iterator

import pytest
import spanloom
from spanloom.testing import Recorded, recording


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    with recording() as recorded:
        yield recorded


@spanloom.trace_llm("count", model="gpt-4o", attributes={"temperature": 0.5})
def count(to: int) -> Iterator[int]:
    """Count."""
    yield from range(to)


@spanloom.trace_llm("acount", event_type="tool")
async def acount(to: int) -> AsyncIterator[int]:
    for number in range(to):
        await asyncio.sleep(0)
        yield number


def test_a_function_keeps_its_name_kind_and_result(recorded: Recorded) -> None:
    @spanloom.trace_llm("double", event_type="tool")
    def double(x: int) -> int:
        """Double."""
        current = spanloom.current_span()
        assert current is not None
        current.set_tool("calculator")
        return 2 * x

    assert (double(4), double.__name__, double.__doc__) == (8, "double", "Double.")
    assert recorded.named("double")["kind"] == "tool"
    assert recorded.named("double")["tool_name"] == "calculator"
    assert inspect.isgeneratorfunction(count)
    assert inspect.isasyncgenfunction(acount)


def test_a_coroutine_is_one_span_over_its_awaits(recorded: Recorded) -> None:
    @spanloom.trace_llm("fetch")
    async def fetch() -> str:
        await asyncio.sleep(0.01)
        raise TimeoutError

    assert inspect.iscoroutinefunction(fetch)
    with pytest.raises(TimeoutError):
        asyncio.run(fetch())
    found = recorded.named("fetch")
    assert found["end"] - found["start"] >= 10_000_000
    assert (found["kind"], found["error_type"]) == ("llm", "TimeoutError")


def test_a_generator_ends_its_span_when_exhausted(recorded: Recorded) -> None:
    numbers = count(3)
    assert recorded.spans == []
    assert list(numbers) == [0, 1, 2]
    llm = recorded.named("count")["llm"]
    assert (llm["request_model"], llm["temperature"]) == ("gpt-4o", 0.5)
    assert llm["time_to_first_token"] is not None


def test_a_generator_ends_its_span_when_closed_or_abandoned_and_that_is_no_error(recorded: Recorded) -> None:
    closed = count(3)
    next(closed)
    closed.close()  # type: ignore[attr-defined]
    abandoned = count(3)
    next(abandoned)
    del abandoned
    gc.collect()
    assert [(span["name"], span["status"]) for span in recorded.spans] == [("count", "unset")] * 2


def test_a_generator_that_was_never_started_makes_no_span(recorded: Recorded) -> None:
    count(3)
    gc.collect()
    assert recorded.spans == []


def test_between_steps_the_consumer_is_in_its_own_span(recorded: Recorded) -> None:
    seen = []

    @spanloom.trace_llm("body")
    def body() -> Iterator[int]:
        with spanloom.span("inside"):
            seen.append(spanloom.current_span())
            yield 1
            seen.append(spanloom.current_span())
        seen.append(spanloom.current_span())
        yield 2

    with spanloom.span("consumer") as consumer:
        for _ in body():
            assert spanloom.current_span() is consumer
            with spanloom.span("consumer's"):
                pass
        assert spanloom.current_span() is consumer
    assert [span.name if span else None for span in seen] == ["inside", "inside", "body"]
    assert recorded.named("inside")["parent_id"] == recorded.named("body")["span_id"]
    assert {s["parent_id"] for s in recorded.spans if s["name"] == "consumer's"} == {consumer.id}


def test_send_throw_and_return_pass_through(recorded: Recorded) -> None:
    @spanloom.trace_llm("talk")
    def talk() -> Iterator[str]:
        try:
            said = yield "hello"
            yield f"you said {said}"
        except ValueError:
            yield "caught"
        return "done"

    talking = talk()
    assert next(talking) == "hello"
    assert talking.send("hi") == "you said hi"  # type: ignore[attr-defined]
    assert talking.throw(ValueError) == "caught"  # type: ignore[attr-defined]
    with pytest.raises(StopIteration) as end:
        next(talking)
    assert end.value.value == "done"
    assert recorded.named("talk")["status"] == "unset"


def test_an_async_generator_ends_when_exhausted_broken_off_or_failed(recorded: Recorded) -> None:
    @spanloom.trace_llm("failing")
    async def failing() -> AsyncIterator[int]:
        yield 1
        raise ConnectionError

    async def main() -> None:
        with spanloom.span("consumer") as consumer:
            assert [number async for number in acount(3)] == [0, 1, 2]
            async for _ in acount(3):
                assert spanloom.current_span() is consumer
                break
            with pytest.raises(ConnectionError):
                _ = [number async for number in failing()]
            closed = acount(3)
            await anext(closed)
            await closed.aclose()  # type: ignore[attr-defined]
            gc.collect()
            await asyncio.sleep(0)

    asyncio.run(main())
    assert [span["name"] for span in recorded.spans].count("acount") == 3
    assert {span["parent_id"] for span in recorded.spans} == {recorded.named("consumer")["span_id"], None}
    assert recorded.named("failing")["error_type"] == "ConnectionError"


def test_an_async_generator_may_be_read_by_several_tasks_in_turn(recorded: Recorded) -> None:
    async def main() -> None:
        numbers = acount(4)
        got = [await asyncio.create_task(anext(numbers)) for _ in range(4)]  # type: ignore[arg-type]
        assert got == [0, 1, 2, 3]
        with pytest.raises(StopAsyncIteration):
            await asyncio.create_task(anext(numbers))  # type: ignore[arg-type]

    asyncio.run(main())
    assert len(recorded.spans) == 1
    assert spanloom.current_span() is None
