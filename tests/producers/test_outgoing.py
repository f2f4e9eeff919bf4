import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import requests
import spanloom
from requests.adapters import BaseAdapter
from spanloom import outgoing, threads
from spanloom.testing import Recorded, recording

URL = "http://service.test/answer"


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    for owner, name in ((httpx.Client, "send"), (httpx.AsyncClient, "send"), (requests.Session, "send")):
        monkeypatch.setattr(owner, name, getattr(owner, name))  # and so undone
    monkeypatch.setattr(ThreadPoolExecutor, "submit", ThreadPoolExecutor.submit)
    for _ in range(2):
        outgoing.watch("httpx")
        outgoing.watch("requests")
        threads.watch()
    with recording() as recorded:
        yield recorded


def by_httpx(headers: dict[str, str]) -> dict[str, str]:
    seen: dict[str, str] = {}

    def answer(request: httpx.Request) -> httpx.Response:
        seen.update(request.headers)
        return httpx.Response(200)

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        client.get(URL, headers=headers)
    return seen


def by_async_httpx(headers: dict[str, str]) -> dict[str, str]:
    seen: dict[str, str] = {}

    async def answer(request: httpx.Request) -> httpx.Response:
        seen.update(request.headers)
        return httpx.Response(200)

    async def main() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
            await client.get(URL, headers=headers)

    asyncio.run(main())
    return seen


def by_requests(headers: dict[str, str]) -> dict[str, str]:
    seen: dict[str, str] = {}

    class Adapter(BaseAdapter):
        def send(self, request: Any, *_: object, **__: object) -> requests.Response:  # type: ignore[override]
            seen.update((name.lower(), value) for name, value in request.headers.items())
            answer = requests.Response()
            answer.status_code, answer.request, answer.url = 200, request, request.url
            answer._content = b""  # type: ignore[attr-defined]
            return answer

        def close(self) -> None:
            pass

    with requests.Session() as session:
        session.mount("http://", Adapter())
        session.get(URL, headers=headers)
    return seen


CLIENTS = pytest.mark.parametrize("client", [by_httpx, by_async_httpx, by_requests])
NAMES = ("traceparent", "tracestate", "x-request-id")


@CLIENTS
def test_a_request_carries_the_span_on_without_being_asked(recorded: Recorded, client: Any) -> None:
    parent = spanloom.extract(
        {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "tracestate": "x=1", "x-request-id": "r-1"}
    )
    with spanloom.span("call", parent=parent) as span:
        seen = client({})
    assert [seen.get(name) for name in NAMES] == [f"00-{'a' * 32}-{span.id}-01", "x=1", "r-1"]


@CLIENTS
def test_what_a_request_says_already_stays(recorded: Recorded, client: Any) -> None:
    theirs = f"00-{'c' * 32}-{'d' * 16}-00"
    with spanloom.span("call") as span:
        span.set_context(request_id="r-1")
        seen = client({"Traceparent": theirs, "X-Request-ID": "r-2"})
    assert [seen.get(name) for name in NAMES] == [theirs, None, "r-2"]


@CLIENTS
def test_outside_of_a_span_a_request_is_what_it_was(recorded: Recorded, client: Any) -> None:
    assert [client({}).get(name) for name in NAMES] == [None] * 3


def test_a_thread_pool_works_in_the_span_that_submits(recorded: Recorded) -> None:
    def work(_: int = 0) -> str:
        with spanloom.span("work") as span:
            return span.trace_id

    async def main(pool: ThreadPoolExecutor) -> list[str]:
        inside = asyncio.get_running_loop().run_in_executor(pool, work)
        return [await inside, await asyncio.to_thread(work), await asyncio.create_task(asyncio.to_thread(work))]

    with ThreadPoolExecutor(2) as pool:
        with spanloom.span("first") as first:
            found = [pool.submit(work).result(), *pool.map(work, range(4)), *asyncio.run(main(pool))]
        with spanloom.span("then") as then:
            assert pool.submit(work).result() == then.trace_id
        outside = pool.submit(work).result()
    assert found == [first.trace_id] * 8
    assert outside not in (first.trace_id, then.trace_id)
    parents = {span["parent_id"] for span in recorded.spans if span["name"] == "work"}
    assert parents == {first.id, then.id, None}
