from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from types import SimpleNamespace
from typing import Any
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest
import spanloom
from spanloom.testing import Recorded, recording
from spanloom.wsgi import TraceMiddleware

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
App = Callable[[dict[str, Any], Any], Iterable[bytes]]


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    with recording() as recorded:
        yield recorded


def get(app: App, parts: int | None = None, **headers: str) -> tuple[str, dict[str, str], bytes]:
    """Ask as a server does, that reads `parts` of the response; what an application and a middleware owe is checked."""
    environ: dict[str, Any] = {"QUERY_STRING": "", **{f"HTTP_{name.upper()}": said for name, said in headers.items()}}
    setup_testing_defaults(environ)
    said: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        said[:] = status, dict(headers)
        return lambda data: None

    body = validator(TraceMiddleware(validator(app)))(environ, start_response)
    try:
        read = [part for part, _ in zip(body, range(parts), strict=False)] if parts is not None else [*body]
    finally:
        body.close()  # type: ignore[attr-defined]
    return said[0], said[1], b"".join(read)


def hello(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    environ["werkzeug.request"] = SimpleNamespace(url_rule=SimpleNamespace(rule="/hello/<id>"))
    with spanloom.span("work"):
        start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def streams(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    for number in range(3):
        with spanloom.span(f"token {number}"):
            part = str(number).encode()
        yield part
    with spanloom.span("after"):
        if environ.get("HTTP_FAIL"):
            raise LookupError("private")


def fails(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    raise LookupError("private")


def broken(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("503 Service Unavailable", [("Content-Type", "text/plain")])
    return []


def test_a_request_continues_the_callers_trace_and_the_response_says_where(recorded: Recorded) -> None:
    _, headers, _ = get(hello, traceparent=TRACEPARENT, x_request_id="abc-1")
    found, work = recorded.named("GET /hello/<id>"), recorded.named("work")
    assert (found["kind"], found["trace_id"], found["parent_id"]) == ("request", *TRACEPARENT.split("-")[1:3])
    assert found["parent_remote"]
    assert found["context"]["request_id"] == work["context"]["request_id"] == headers["x-request-id"] == "abc-1"
    assert headers["traceresponse"] == f"00-{found['trace_id']}-{found['span_id']}-01"
    assert {"key": "http.response.status_code", "value": "200"} in found["attributes"]


def test_a_request_without_ids_begins_a_trace_and_is_given_one(recorded: Recorded) -> None:
    _, headers, _ = get(hello, x_request_id="two words")
    assert recorded.named("GET /hello/<id>")["parent_id"] is None
    assert len(headers["x-request-id"]) == 32


def test_the_span_covers_the_whole_stream_and_is_current_in_it_alone(recorded: Recorded) -> None:
    assert get(streams)[2] == b"012"
    assert spanloom.current_span() is None
    request = recorded.named("GET")
    inside = [span for span in recorded.spans if span is not request]
    assert [span["parent_id"] for span in inside] == [request["span_id"]] * 4
    assert request["end"] >= max(span["end"] for span in inside)


def test_a_client_that_leaves_early_is_no_error(recorded: Recorded) -> None:
    assert get(streams, parts=1)[2] == b"0"
    assert recorded.named("GET")["status"] == "unset"
    assert recorded.spans[-1]["name"] == "GET"


@pytest.mark.parametrize("app", [fails, streams])
def test_an_exception_is_an_error_and_says_nothing_private(recorded: Recorded, app: App) -> None:
    with pytest.raises(LookupError):
        get(app, fail="yes")
    found = recorded.named("GET")
    assert (found["status"], found["error_type"]) == ("error", "LookupError")
    assert "private" not in str(recorded.spans)


def test_500_is_an_error(recorded: Recorded) -> None:
    assert get(broken)[0].startswith("503")
    assert recorded.named("GET")["error_type"] == "503"


def test_a_file_is_left_to_the_server(recorded: Recorded) -> None:
    def file(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](BytesIO(b"x"))
        return wrapped

    environ: dict[str, Any] = {"wsgi.file_wrapper": FileWrapper}
    setup_testing_defaults(environ)
    assert type(TraceMiddleware(file)(environ, lambda *_: None)) is FileWrapper
    assert recorded.named("GET")["status"] == "unset"
