import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import spanloom
from spanloom.asgi import TraceMiddleware, route_of
from spanloom.testing import Recorded, recording
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    with recording() as recorded:
        yield recorded


async def hello(request: Request) -> Response:
    with spanloom.span("work"):
        pass
    current = spanloom.current_span()
    assert current is not None
    return JSONResponse({"trace_id": current.trace_id}, background=BackgroundTask(in_the_background))


async def in_the_background() -> None:
    with spanloom.span("background"):
        pass


async def stream(request: Request) -> Response:
    async def tokens() -> AsyncIterator[str]:
        for number in range(3):
            with spanloom.span(f"token {number}"):
                await asyncio.sleep(0.005)
            yield str(number)

    return StreamingResponse(tokens())


def plain(request: Request) -> Response:
    with spanloom.span("in a thread"):
        return PlainTextResponse("x", status_code=503)


async def fails(request: Request) -> Response:
    raise LookupError("private")


APP = Starlette(routes=[Route(f"/{endpoint.__name__}/{{id}}", endpoint) for endpoint in (hello, stream, plain, fails)])
APP.add_middleware(TraceMiddleware)


def get(path: str, **headers: str | bytes) -> httpx.Response:
    async def main() -> httpx.Response:
        transport = httpx.ASGITransport(APP, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get(path, headers=[(name.replace("_", "-"), value) for name, value in headers.items()])

    return asyncio.run(main())


def attributes(span: dict[str, Any]) -> dict[str, str]:
    return {pair["key"]: pair["value"] for pair in span["attributes"]}


def test_a_request_continues_the_callers_trace_and_keeps_its_request_id(recorded: Recorded) -> None:
    answer = get("/hello/7", traceparent=TRACEPARENT, x_request_id="abc-1")
    found = recorded.named("GET /hello/{id}")
    assert (found["kind"], found["otel_kind"]) == ("request", "server")
    assert (found["trace_id"], found["parent_id"], found["parent_remote"]) == (*TRACEPARENT.split("-")[1:3], True)
    assert found["context"]["request_id"] == recorded.named("work")["context"]["request_id"] == "abc-1"
    assert answer.headers["x-request-id"] == "abc-1"
    assert answer.headers["traceresponse"] == f"00-{found['trace_id']}-{found['span_id']}-01"
    assert answer.json() == {"trace_id": found["trace_id"]}
    assert attributes(found)["http.response.status_code"] == "200"


@pytest.mark.parametrize("sent", ["", "two words", "x" * 129, "\u00e9"])
def test_a_request_without_a_usable_id_is_given_one(recorded: Recorded, sent: str) -> None:
    answer = get("/hello/7", **({"x_request_id": sent.encode("latin-1")} if sent else {}))
    assert len(answer.headers["x-request-id"]) == 32
    assert recorded.named("GET /hello/{id}")["parent_id"] is None


def test_the_span_covers_the_whole_stream_and_its_context(recorded: Recorded) -> None:
    assert get("/stream/1").text == "012"
    request = recorded.named("GET /stream/{id}")
    tokens = [span for span in recorded.spans if span["name"].startswith("token")]
    assert [token["parent_id"] for token in tokens] == [request["span_id"]] * 3
    assert request["end"] >= max(token["end"] for token in tokens)
    (started,) = request["events"]
    assert started["name"] == "response.start"
    assert request["start"] <= started["time"] <= tokens[0]["end"]


def test_the_span_ends_with_the_response_and_not_with_background_work(recorded: Recorded) -> None:
    get("/hello/7")
    request, background = recorded.named("GET /hello/{id}"), recorded.named("background")
    assert request["end"] <= background["start"]
    assert background["parent_id"] == request["span_id"]


def test_a_sync_endpoint_in_a_thread_is_in_the_trace_and_500_is_an_error(recorded: Recorded) -> None:
    assert get("/plain/1").status_code == 503
    found = recorded.named("GET /plain/{id}")
    assert (found["status"], found["error_type"]) == ("error", "503")
    assert recorded.named("in a thread")["parent_id"] == found["span_id"]


def test_an_exception_is_an_error_and_says_nothing_private(recorded: Recorded) -> None:
    assert get("/fails/1").status_code == 500
    found = recorded.named("GET /fails/{id}")
    assert found["status"] == "error"
    assert "private" not in str(found)


def test_an_unknown_path_makes_no_name_of_its_own(recorded: Recorded) -> None:
    assert get("/secret/token/123").status_code == 404
    found = recorded.named("GET")
    assert found["status"] == "unset"
    assert "123" not in str(found["attributes"])


def test_without_a_route_template_the_endpoint_gives_the_name() -> None:
    assert route_of({"endpoint": hello}) == "hello"
    assert route_of({"endpoint": object()}) is None


def test_a_client_that_leaves_early_is_no_error(recorded: Recorded) -> None:
    async def main() -> None:
        async def send(event: Any) -> None:
            if event["type"] == "http.response.body":
                raise asyncio.CancelledError

        scope = {"type": "http", "method": "GET", "path": "/stream/1", "headers": [], "query_string": b""}
        with pytest.raises(asyncio.CancelledError):
            await TraceMiddleware(_streams)(scope, None, send)  # type: ignore[arg-type]

    async def _streams(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})

    asyncio.run(main())
    assert (recorded.named("GET")["status"], recorded.named("GET")["error_type"]) == ("unset", "cancelled")
    assert spanloom.current_span() is None


def test_other_protocols_pass_through(recorded: Recorded) -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    asyncio.run(TraceMiddleware(app)({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert (seen, recorded.spans) == (["lifespan"], [])
