"""`spanloom export`: what is stored, exported from a real engine, read again by the OTLP door."""

import gzip
import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner, Result
from spanloom import wire
from spanloom.gateway import otlp as door
from spanloom.otel.calls import Calls
from spanloom.otel.mapping import translate
from spanloom.otel.outcome import finish_reasons
from spanloom.otel.withheld import is_content
from spanloom.testing import decoded
from spanloom_schemas import codec, topics
from spanloom_schemas.prices.book import Book
from spanloom_schemas.settings import ClickHouseSettings
from spanloom_sinks import migrate
from spanloom_sinks.database import ClickHouse
from spanloom_sinks.decode import decode
from spanloom_sinks.settings import RetentionSettings
from spanloom_sinks.source import Source
from spanloom_sinks.tables import tables
from spanloom_traces import TraceStore, whole
from spanloom_viewer.outbound import otlp, sending
from spanloom_viewer.outbound.command import export
from spanloom_viewer.settings import ViewerSettings

from tests.dashboards.outbound import jaeger

TOPIC = "llm.spans"
BATCHES = [batch for batch in topics.examples(TOPIC) if batch["spans"] and batch["service"]]
SPANS = {span["span_id"]: span for batch in BATCHES for span in batch["spans"]}


@pytest.fixture(scope="module")
def settings(clickhouse: str) -> ViewerSettings:
    database = f"export_{uuid.uuid4().hex[:8]}"
    known = ClickHouseSettings(clickhouse_url=clickhouse, clickhouse_database=database)
    migrate.apply(known, RetentionSettings(**dict.fromkeys(RetentionSettings.__struct_fields__, 20_000)))
    messages = [(number, 1_700_000_000_000, codec.encode("span_batch", batch)) for number, batch in enumerate(BATCHES)]
    opened = ClickHouse(known)
    for table in tables(Book.load())[TOPIC]:
        opened.insert(table.name, table.rows(decode(TOPIC, messages), Source(TOPIC, "topic-id", 0, 0)))
    opened.close()
    return ViewerSettings(clickhouse_url=clickhouse, clickhouse_database=database)


@pytest.fixture(scope="module")
def stored(settings: ViewerSettings) -> list[dict[str, Any]]:
    with TraceStore(settings) as store:
        return list(store.whole(since=timedelta(days=3650)))


class Backend:
    """Answers posts with the next of `answers`, then with success; keeps what it was sent."""

    def __init__(self, answers: list[tuple[int, dict[str, str], bytes]]) -> None:
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        backend, left = self, iter(answers)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status, headers, said = next(left, (200, {}, b"{}"))
                if status == 200:
                    backend.requests.append(
                        (self.path, {k.lower(): v for k, v in self.headers.items()}, json.loads(gzip.decompress(body)))
                    )
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(said))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: object) -> None: ...

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def spans(self) -> list[dict[str, Any]]:
        groups = (group for _, _, said in self.requests for group in said["resourceSpans"])
        return [span for group in groups for scoped in group["scopeSpans"] for span in scoped["spans"]]

    @contextmanager
    def serving(self) -> Iterator["Backend"]:
        Thread(target=self._server.serve_forever, daemon=True).start()
        yield self
        self._server.shutdown()
        self._server.server_close()


def run(settings: ViewerSettings, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    monkeypatch.setenv("SPANLOOM_CLICKHOUSE_URL", settings.clickhouse_url)
    monkeypatch.setenv("SPANLOOM_CLICKHOUSE_DATABASE", settings.clickhouse_database)
    return CliRunner().invoke(export, arguments)


def again(row: dict[str, Any]) -> dict[str, Any]:
    """What the OTLP door makes of an exported span."""
    request = door.decode(json.dumps(otlp.request([row])).encode(), door.JSON).request
    ((about, received),) = door.read(request, {}).spans
    return decoded(wire.span(translate(received, about, Calls(), lambda said: said)))


def told(span: dict[str, Any]) -> dict[str, Any]:
    """A span without what is not the same again: the user (hashed twice), texts (held back), and attributes."""
    context = {name: said for name, said in (span["context"] or {}).items() if name != "user" and said}
    prompt = {name: said for name, said in (span["prompt"] or {}).items() if said}
    llm = {name: said for name, said in (span["llm"] or {}).items() if said not in (None, "", [], False, "unknown")}
    if "finish_reasons" in llm:
        llm["finish_reasons"] = list(finish_reasons(llm["finish_reasons"]))
    grouped = ("context", "prompt", "llm", "attributes", "payload")
    plain = {name: said for name, said in span.items() if name not in grouped}
    events = [
        event | {"attributes": [said for said in event["attributes"] if not is_content(said["key"])]}
        for event in span["events"]
        if event["name"] != "gen_ai.evaluation.result"
    ]
    return plain | {"context": context, "prompt": prompt, "llm": llm, "events": events}


def test_every_stored_span_is_exported_once(stored: list[dict[str, Any]]) -> None:
    assert sorted(row["span_id"] for row in stored) == sorted(SPANS)
    assert [row["end"] for row in stored] == sorted(row["end"] for row in stored)


@pytest.mark.parametrize("span_id", sorted(SPANS))
def test_an_exported_span_is_read_again_as_what_it_was(stored: list[dict[str, Any]], span_id: str) -> None:
    (row,) = (row for row in stored if row["span_id"] == span_id)
    assert told(again(row)) == told(SPANS[span_id])


def test_names_are_those_of_opentelemetry_and_input_contains_the_cache(stored: list[dict[str, Any]]) -> None:
    call = next(row for row in stored if row["kind"] == "llm" and row["cache_read_tokens"])
    said = otlp.attributes(call)
    assert said["gen_ai.operation.name"] == "chat"
    assert said["gen_ai.usage.input_tokens"] >= call["input_tokens"] + call["cache_read_tokens"]
    assert said["gen_ai.request.model"] == call["request_model"]
    assert said["gen_ai.response.time_to_first_chunk"] == call["ttft"] / 1e9


def test_a_trace_goes_to_a_file_of_json_lines(
    settings: ViewerSettings, stored: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trace_id = stored[0]["trace_id"]
    done = run(settings, monkeypatch, trace_id.upper(), "--jsonl", str(tmp_path / "spans.jsonl"))
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in (tmp_path / "spans.jsonl").read_text("ascii").splitlines()]
    assert lines == [row for row in stored if row["trace_id"] == trace_id]
    assert f"{len(lines)} spans written" in done.output
    assert run(settings, monkeypatch, trace_id, "--jsonl", str(tmp_path)).exit_code == 1


def test_a_range_goes_to_a_backend(
    settings: ViewerSettings, stored: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Backend([]).serving() as backend:
        done = run(settings, monkeypatch, "--since", "3650d", "--otlp", backend.url, "--header", "x-api-key=open")
    assert (done.exit_code, done.output) == (0, f"{len(stored)} spans sent to {backend.url}\n")
    assert {span["spanId"] for span in backend.spans} == {*SPANS}
    (path, headers, _), *_ = backend.requests
    assert (path, headers["x-api-key"]) == ("/v1/traces", "open")


def test_what_is_asked_for_again_is_sent_again_and_what_is_rejected_is_said(stored: list[dict[str, Any]]) -> None:
    partial = b'{"partialSuccess": {"rejectedSpans": "2", "errorMessage": "too old"}}'
    pauses: list[float] = []
    with Backend([(503, {"Retry-After": "7"}, b""), (429, {}, b""), (200, {}, partial)]).serving() as backend:
        sent = sending.send(stored, f"{backend.url}/v1/traces", {}, pauses.append)
    assert sent == (len(stored), 2, "too old")
    assert pauses == [7.0, 1.0]


def test_what_is_refused_or_away_is_one_line(stored: list[dict[str, Any]]) -> None:
    refused = (400, {}, b'{"code": 3, "message": "bad\\ndata"}')
    with (
        Backend([refused]).serving() as backend,
        pytest.raises(sending.RefusedError, match=r"answers 400 \(bad data\); 0 spans were sent before$"),
    ):
        sending.send(stored, backend.url, {})
    with pytest.raises(sending.RefusedError, match=r"does not answer: .*, 6 times; 0 spans"):
        sending.send(stored, backend.url, {}, lambda _: None)


def test_what_is_not_otlp_s_answer_is_no_success(stored: list[dict[str, Any]]) -> None:
    for answer, said in (
        ((302, {"Location": "https://elsewhere/v1/traces"}, b""), r"answers 302: it is at 'https://elsewhere/v1/tr"),
        ((200, {"Content-Type": "text/html"}, b"<p>Log in"), "a page for people"),
    ):
        with Backend([answer]).serving() as backend, pytest.raises(sending.RefusedError, match=said):
            sending.send(stored, backend.url, {})


def test_a_date_says_when_to_come_again() -> None:
    at = formatdate(time.time() + 20, usegmt=True)
    assert 15 < sending._asked_for(at, 1.0) <= 20
    assert sending._asked_for(formatdate(0, usegmt=True), 1.0) == 0
    assert (sending._asked_for("soon", 1.0), sending._asked_for("99999", 1.0)) == (1.0, sending.LONGEST_PAUSE_SECONDS)


@pytest.mark.parametrize("at_once", [1, 2, 7])
def test_however_few_are_asked_for_at_once_each_is_there_once_in_order(
    settings: ViewerSettings, stored: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(whole, "AT_ONCE", at_once)
    with TraceStore(settings) as store:
        found = store.whole(since=timedelta(days=3650))
        assert (found.count, list(found)) == (len(stored), stored)
        one = stored[0]["trace_id"]
        assert list(store.whole([one])) == [row for row in stored if row["trace_id"] == one]
        assert list(store.whole(since=timedelta(seconds=1))) == []


@pytest.mark.parametrize(
    "arguments",
    [
        *([], ["--jsonl", "-", "--otlp", "http://h"], ["xyz", "--jsonl", "-"], ["--otlp", "ftp://h"]),
        *(["--otlp", "http://h", "--header", "no value"], ["--since", "1y", "--jsonl", "-"]),
        ["--otlp", "http://ann:secret@h"],
    ],
)
def test_wrong_use_is_said(settings: ViewerSettings, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    assert run(settings, monkeypatch, *arguments).exit_code == 2


def test_a_real_jaeger_shows_every_span_as_it_is_stored(
    settings: ViewerSettings, stored: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with jaeger.running(tmp_path) as backend:
        done = run(settings, monkeypatch, "--since", "3650d", "--otlp", backend.otlp)
        assert (done.exit_code, done.output) == (0, f"{len(stored)} spans sent to {backend.otlp}\n")
        traces = {row["trace_id"] for row in stored}
        kept = [backend.ask(f"/api/v3/traces/{trace}?raw_traces=true")["result"] for trace in traces]
        shown = [span for trace in traces for span in backend.ask(f"/api/traces/{trace}")["data"][0]["spans"]]
    found = {id_: one for said in kept for id_, one in carried(said)}
    sent = dict(carried(otlp.request(stored)))
    for one in sent.values():
        one["end"] = max(one["end"], one["start"] + 1)  # Jaeger has no span of no time
    assert found == sent
    tokens = {span["spanID"]: {tag["key"]: tag["value"] for tag in span["tags"]} for span in shown}
    call = next(row for row in stored if row["kind"] == "llm" and row["cache_read_tokens"])
    for name, count in otlp._usage(call).items():
        assert tokens[call["span_id"]][name] == count
    assert {span["operationName"] for span in shown} == {row["name"] for row in stored}


def carried(said: dict[str, Any]) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """What a request carries of each span, and of its service; Jaeger's own remarks are left out."""
    request = door.decode(json.dumps(said).encode(), door.JSON).request
    for group in request.resource_spans:
        resource = door.attributes(group.resource.attributes)
        for span in (span for scoped in group.scope_spans for span in scoped.spans):
            told = door.received(span, "")._asdict()
            told["attributes"] = {k: v for k, v in told["attributes"].items() if not k.startswith("@jaeger@")}
            yield span.span_id, told | {"resource": resource, "flags": span.flags}
