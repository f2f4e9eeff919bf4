"""The examples of FastAPI and Flask, served by uvicorn and by threads, with a model's server that has no model."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIServer, make_server

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "examples"))
pytest.importorskip("flask", reason="make test-compat installs the frameworks")

import requests
import uvicorn
from spanloom.testing import recording


@contextmanager
def by_uvicorn(app: Any) -> Iterator[str]:
    """Serve an ASGI application on a free port."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", factory=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 60
    while not server.started and time.monotonic() < until:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)


@contextmanager
def by_wsgi(app: Any) -> Iterator[str]:
    """Serve a WSGI application on a free port."""
    server: WSGIServer = make_server("127.0.0.1", 0, app)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)


def test_a_question_is_one_trace_through_both_services_to_the_models_first_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from llama_stub.server import Pace
    from llama_stub.server import create_app as model

    with recording() as recorded, by_uvicorn(model(Pace(20, 2))) as url:
        monkeypatch.setenv("MODEL_URL", f"{url}/v1")
        from web_frameworks import fastapi_service, flask_service

        with by_uvicorn(fastapi_service.create_app()) as answers:
            monkeypatch.setenv("ANSWERS_URL", answers)
            with by_wsgi(flask_service.create_app()) as front:
                said = requests.post(f"{front}/acme/questions", json=["What is 42?", "And 43?"], timeout=60)
    assert said.status_code == 200
    assert ["What is 42" in said.json()[0], "And 43" in said.json()[1]] == [True, True]

    spans = recorded.spans
    front_span = recorded.named("POST /<tenant>/questions")
    assert {span["trace_id"] for span in spans} == {front_span["trace_id"]}
    assert {span["context"]["request_id"] for span in spans} == {said.headers["x-request-id"]}
    assert said.headers["traceresponse"].split("-")[1:3] == [front_span["trace_id"], front_span["span_id"]]
    above = {span["span_id"]: span for span in spans}
    calls = [span for span in spans if span["kind"] == "llm"]
    assert len(calls) == 2
    for call in calls:
        served = above[call["parent_id"]]
        asked = above[served["parent_id"]]
        assert (served["name"], served["parent_remote"]) == ("POST /answers/{tenant}", True)
        assert (asked["name"], asked["parent_id"]) == ("ask", front_span["span_id"])
        assert (call["name"], call["context"]["tenant"]) == ("chat gpt-4o-mini", "acme")
        assert call["llm"]["usage"] == "measured"
        assert call["llm"]["output_tokens"] > 1
        assert 15_000_000 < call["llm"]["time_to_first_token"] < call["end"] - call["start"]
        assert call["start"] >= served["start"]
        assert call["end"] <= served["end"]


def test_flask_and_fastapi_say_what_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSWERS_URL", "http://127.0.0.1:1")  # nobody is there
    from web_frameworks import fastapi_service, flask_service

    with recording() as recorded:
        client = flask_service.create_app().test_client()
        assert client.post("/acme/questions", json=["x"], buffered=True).status_code == 500
        with by_uvicorn(fastapi_service.create_app()) as answers:
            assert requests.post(f"{answers}/answers/acme", json={}, timeout=60).status_code == 422
    front, asked = recorded.named("POST /<tenant>/questions"), recorded.named("ask")
    assert (front["status"], front["error_type"]) == ("error", "500")
    assert (asked["error_type"], asked["parent_id"]) == ("requests.exceptions.ConnectionError", front["span_id"])
    assert recorded.named("POST /answers/{tenant}")["status"] == "unset"
