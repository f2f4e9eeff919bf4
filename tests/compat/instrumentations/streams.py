"""Streams of two real SDKs, each below a span of ours, watched by `spanloom.instrument()`; prints the spans.

`python streams.py alone`: with no instrumentation but ours. `python streams.py all`: with all that are installed.
"""

import asyncio
import gc
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from importlib.metadata import entry_points
from typing import Any

import spanloom
from provider import serving
from spanloom.testing import recording

ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "What is the answer?"}]}
STREAM: dict[str, Any] = {**ASKED, "stream": True}
USAGE: dict[str, Any] = {**STREAM, "stream_options": {"include_usage": True}}


def left(stream: Any, *, close: bool = False) -> None:
    """Read the beginning of a stream, and leave it."""
    for number, _ in enumerate(stream):
        if number == 5:
            break
    if close:
        stream.close()


def text(manager: Any) -> None:
    """Read a stream by the SDK's own helper."""
    with manager as stream:
        for _ in stream:
            pass


def cases(url: str) -> Iterator[tuple[str, Callable[[], object]]]:
    """Return calls without asyncio, by name."""
    import anthropic
    import openai

    chat = openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0).chat.completions
    messages = anthropic.Anthropic(base_url=url, api_key="k", max_retries=0).messages
    claude: dict[str, Any] = {**STREAM, "max_tokens": 9}
    helped: dict[str, Any] = {**ASKED, "max_tokens": 9, "model": "claude-sonnet-4-5"}
    yield "openai usage", lambda: [*chat.create(model="gpt-4o", **USAGE)]
    yield "openai silent", lambda: [*chat.create(model="gpt-4o", **STREAM)]
    yield "openai helper", lambda: text(chat.stream(model="gpt-4o", **ASKED))
    yield "openai dropped", lambda: left(chat.create(model="slow", **STREAM))
    yield "openai closed", lambda: left(chat.create(model="slow", **STREAM), close=True)
    yield "openai whole", lambda: chat.create(model="gpt-4o", **ASKED)
    yield "anthropic stream", lambda: [*messages.create(model="claude-sonnet-4-5", **claude)]
    yield "anthropic helper", lambda: text(messages.stream(**helped))
    yield "anthropic dropped", lambda: left(messages.create(model="slow", **claude))
    yield "anthropic closed", lambda: left(messages.create(model="slow", **claude), close=True)
    yield "anthropic whole", lambda: messages.create(**helped)


async def read(opened: Awaitable[Any], seconds: float | None = None) -> None:
    """Read a stream of asyncio, and be cancelled after some seconds."""

    async def all_of_it() -> None:
        async for _ in await opened:
            await asyncio.sleep(0.01)

    task = asyncio.create_task(all_of_it())
    await asyncio.wait([task], timeout=seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def async_cases(url: str) -> Iterator[tuple[str, Callable[[], Awaitable[None]]]]:
    """Return calls of asyncio, by name."""
    import anthropic
    import openai

    chat = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0).chat.completions
    messages = anthropic.AsyncAnthropic(base_url=url, api_key="k", max_retries=0).messages
    claude: dict[str, Any] = {**STREAM, "max_tokens": 9}
    yield "openai usage async", lambda: read(chat.create(model="gpt-4o", **USAGE))
    yield "openai silent async", lambda: read(chat.create(model="gpt-4o", **STREAM))
    yield "openai cancelled async", lambda: read(chat.create(model="slow", **STREAM), 0.5)
    yield "anthropic stream async", lambda: read(messages.create(model="claude-sonnet-4-5", **claude))
    yield "anthropic cancelled async", lambda: read(messages.create(model="slow", **claude), 0.5)


def main(who: str) -> None:
    """Print the spans of each call."""
    if who == "alone":
        names = {point.name for point in entry_points(group="opentelemetry_instrumentor")}
        os.environ["OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"] = ",".join(names)
    found = {}
    with recording() as recorded, serving() as url:
        spanloom.instrument()

        async def in_asyncio() -> None:
            for case, call in async_cases(url):
                async with spanloom.span(case, event_type="request"):
                    await call()
                gc.collect()

        for case, call in cases(url):
            with spanloom.span(case, event_type="request"):
                call()
            gc.collect()
        asyncio.run(in_asyncio())
        gc.collect()
        traces = {span["trace_id"]: span["name"] for span in recorded.spans if span["kind"] == "request"}
        for span in recorded.spans:
            found.setdefault(traces[span["trace_id"]], []).append(span)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
