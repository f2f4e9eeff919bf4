"""An SDK of the shape that OpenAI's and Anthropic's share; the real ones are in tests/compat."""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import spanloom
from opentelemetry.sdk.trace import TracerProvider
from spanloom import sdks
from spanloom.otel import SpanloomSpanProcessor
from spanloom.testing import Recorded, recording

from tests.producers.test_answers import CHAT, MESSAGES, WHOLE_CHAT

ASKED = {"model": "gpt-4o", "messages": [{"content": "x" * 40}], "temperature": 0.2, "max_completion_tokens": 9}


class Stream:
    def __init__(self, chunks: Any) -> None:
        self._iterator = iter(chunks)
        self.closed = False

    def __iter__(self) -> Iterator[Any]:
        yield from self._iterator

    def __next__(self) -> Any:
        return next(self._iterator)

    def close(self) -> None:
        self.closed = True


class AsyncStream:
    def __init__(self, chunks: Any) -> None:
        self._iterator = self._stream(chunks)

    async def _stream(self, chunks: Any) -> AsyncIterator[Any]:
        for chunk in chunks:
            await asyncio.sleep(0)
            yield chunk

    async def __aiter__(self) -> AsyncIterator[Any]:
        async for chunk in self._iterator:
            yield chunk

    async def close(self) -> None:
        await self._iterator.aclose()  # type: ignore[attr-defined]


class Raw:
    """A response that the host parses itself, and that keeps what it holds."""

    def __init__(self, parsed: Any) -> None:
        self.http_response = "200"
        self._parsed = parsed

    def parse(self) -> Any:
        return self._parsed


class Base:
    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.seen: list[str] = []

    def _answered(self) -> Any:
        self.seen.append(spanloom.inject({}).get("traceparent", ""))
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


class BaseClient(Base):
    def request(self, cast_to: object, options: Any, *, stream: bool = False) -> Any:
        return self._answered()


class AsyncBaseClient(Base):
    async def request(self, cast_to: object, options: Any, *, stream: bool = False) -> Any:
        return self._answered()


class OpenAI(BaseClient):
    pass


class AzureOpenAI(OpenAI):
    pass


class AsyncOpenAI(AsyncBaseClient):
    pass


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    module = ModuleType("openai")
    module.__dict__.update(OpenAI=OpenAI, AsyncOpenAI=AsyncOpenAI, Stream=Stream, AsyncStream=AsyncStream)
    monkeypatch.setitem(sys.modules, "openai", module)
    for owner, name in (
        (BaseClient, "request"),
        (AsyncBaseClient, "request"),
        (Stream, "close"),
        (AsyncStream, "close"),
    ):
        monkeypatch.setattr(owner, name, getattr(owner, name))  # and so undone
    sdks.watch("openai")
    sdks.watch("openai")
    with recording() as recorded:
        yield recorded


def ask(client: Any, path: str = "/chat/completions", method: str = "post", raw: str = "", **more: Any) -> Any:
    headers = {"X-Stainless-Raw-Response": raw} if raw else {}
    said: Mapping[str, Any] = {**ASKED, **more}
    return client.request(
        object, SimpleNamespace(url=path, method=method, headers=headers, json_data=said), stream=True
    )


def test_a_streamed_call_is_a_span_that_ends_with_the_stream(recorded: Recorded) -> None:
    client = OpenAI(Stream(CHAT))
    with spanloom.span("serve", event_type="request") as serve:
        stream = ask(client)
        assert recorded.spans == []
        assert spanloom.current_span() is serve
        assert [*stream] == CHAT
    call = recorded.named("chat gpt-4o")
    assert (call["kind"], call["otel_kind"], call["parent_id"], call["trace_id"]) == (
        *("llm", "client", serve.id, serve.trace_id),
    )
    said = call["llm"]
    assert (said["provider"], said["request_model"], said["response_model"]) == ("openai", "gpt-4o", "gpt-4o-2026")
    assert (said["temperature"], said["max_tokens"], said["usage"]) == (0.2, 9, "measured")
    assert (said["input_tokens"], said["cache_read_tokens"], said["output_tokens"]) == (60, 40, 30)
    assert 0 < said["time_to_first_token"] <= call["end"] - call["start"]
    assert client.seen == [f"00-{serve.trace_id}-{call['span_id']}-03"]


def test_without_a_report_both_counts_are_estimated(recorded: Recorded) -> None:
    assert len([*ask(OpenAI(Stream(CHAT[:-1])))]) == 4
    said = recorded.named("chat gpt-4o")["llm"]
    assert (said["usage"], said["input_tokens"], said["output_tokens"]) == ("estimated", 10, 3)


def test_a_whole_answer_is_a_span_without_a_first_token(recorded: Recorded) -> None:
    assert ask(OpenAI(WHOLE_CHAT)) is WHOLE_CHAT
    said = recorded.named("chat gpt-4o")["llm"]
    assert (said["output_tokens"], said["finish_reasons"], said["time_to_first_token"]) == (30, ["stop"], None)


@pytest.mark.parametrize("how", ["close", "drop"])
def test_a_stream_that_is_left_ends_with_what_came_last(recorded: Recorded, how: str) -> None:
    stream = ask(OpenAI(Stream(CHAT)))
    assert (next(stream), next(stream)) == (CHAT[0], CHAT[1])
    if how == "close":
        stream.close()
        assert stream.closed
    else:
        del stream
        gc.collect()
    call = recorded.named("chat gpt-4o")
    assert (call["llm"]["usage"], call["llm"]["output_tokens"], call["status"]) == ("estimated", 1, "unset")
    assert call["end"] - call["start"] - call["llm"]["time_to_first_token"] < 50_000_000


def test_the_same_of_asyncio_and_a_task_that_is_cancelled(recorded: Recorded) -> None:
    async def endless() -> AsyncIterator[Any]:
        while True:
            await asyncio.sleep(0.001)
            yield CHAT[1]

    async def main() -> None:
        assert [chunk async for chunk in await ask(AsyncOpenAI(AsyncStream(CHAT)), model="whole")] == CHAT
        stream = await ask(AsyncOpenAI(AsyncStream(CHAT)), model="closed")
        async for _ in stream:
            break
        await stream.close()
        begun = asyncio.Event()

        async def read() -> None:
            stream = AsyncStream([])
            stream._iterator = endless()
            async for _ in await ask(AsyncOpenAI(stream), model="cancelled"):
                begun.set()

        task = asyncio.create_task(read())
        await begun.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    gc.collect()
    assert recorded.named("chat whole")["llm"]["output_tokens"] == 30
    assert recorded.named("chat closed")["llm"]["usage"] == "unknown"  # nothing was written yet
    cancelled = recorded.named("chat cancelled")
    assert (cancelled["llm"]["usage"], cancelled["status"]) == ("estimated", "unset")
    assert cancelled["llm"]["output_tokens"] >= 1


def test_a_call_that_fails_is_an_error_and_raises_as_before(recorded: Recorded) -> None:
    with pytest.raises(LookupError, match="private"):
        ask(OpenAI(LookupError("private")))
    call = recorded.named("chat gpt-4o")
    assert (call["status"], call["error_type"]) == ("error", "LookupError")
    assert "private" not in str(call)
    assert spanloom.current_span() is None


@pytest.mark.parametrize(
    ("path", "method", "raw"), [("/files", "post", ""), ("/responses", "get", ""), ("/responses", "post", "stream")]
)
def test_what_is_no_call_of_a_model_or_read_by_the_host_itself_is_none(
    recorded: Recorded, path: str, method: str, raw: str
) -> None:
    assert ask(OpenAI(WHOLE_CHAT), path, method, raw) is WHOLE_CHAT
    assert recorded.spans == []


def test_a_raw_response_is_heard_and_is_the_hosts(recorded: Recorded) -> None:
    raw = Raw(Stream(CHAT))
    assert ask(OpenAI(raw), raw="true") is raw
    assert [*raw.parse()] == CHAT
    assert recorded.named("chat gpt-4o")["llm"]["output_tokens"] == 30


def test_a_call_within_an_llm_span_of_the_host_is_that_span(recorded: Recorded) -> None:
    with spanloom.span("mine", event_type="llm", model="the host says") as mine:
        for _ in ask(OpenAI(Stream(CHAT))):
            pass
        for _ in ask(
            OpenAI(Stream([{**chunk, "id": "chatcmpl-2"} for chunk in CHAT]))
        ):  # another call has one of its own
            pass
    found, second = recorded.named("mine"), recorded.named("chat gpt-4o")
    assert (found["llm"]["request_model"], found["llm"]["provider"]) == ("the host says", "openai")
    assert (found["llm"]["output_tokens"], second["llm"]["output_tokens"]) == (30, 30)
    assert second["parent_id"] == mine.id


def test_the_clients_name_tells_whose_models_they_are(recorded: Recorded) -> None:
    ask(AzureOpenAI(WHOLE_CHAT))
    assert recorded.named("chat gpt-4o")["llm"]["provider"] == "azure.ai.openai"


def test_what_is_not_known_of_a_request_or_an_answer_changes_nothing(recorded: Recorded) -> None:
    client, nothing = OpenAI(None), object()
    assert client.request(object, nothing) is None
    assert ask(OpenAI(nothing)) is nothing
    assert len(recorded.spans) == 1


@pytest.mark.parametrize("who_ends_first", ["ours", "theirs"])
def test_a_call_that_an_instrumentor_traces_too_counts_once(recorded: Recorded, who_ends_first: str) -> None:
    provider = TracerProvider()
    provider.add_span_processor(SpanloomSpanProcessor())
    tracer = provider.get_tracer("opentelemetry.instrumentation.openai")
    said = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}
    with tracer.start_as_current_span("POST /chat") as serve:
        theirs = tracer.start_span("theirs", attributes=said)
        stream = ask(OpenAI(Stream(CHAT[:-1])))
        next(stream)
        theirs.set_attribute("gen_ai.response.id", "chatcmpl-1")
        if who_ends_first == "theirs":
            theirs.end()
            assert len(recorded.spans) == 1
        for _ in stream:
            pass
        theirs.end()
    spans = [span for span in recorded.spans if span["kind"] == "llm"]
    (call,) = spans
    assert (call["name"], call["llm"]["usage"]) == ("chat gpt-4o", "estimated")
    assert call["parent_id"] == f"{serve.get_span_context().span_id:016x}"
    assert not call["parent_remote"]
    echo = recorded.named("theirs")
    assert {"key": "spanloom.echo_of", "value": call["span_id"]} in echo["attributes"]


def test_of_anthropics_stream_the_last_event_ends_the_span(recorded: Recorded) -> None:
    stream = ask(OpenAI(Stream(MESSAGES)), "/v1/messages")
    for _ in MESSAGES:
        next(stream)
    assert recorded.named("chat gpt-4o")["llm"]["output_tokens"] == 50
