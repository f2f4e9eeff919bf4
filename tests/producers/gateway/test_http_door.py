"""The OTLP door over HTTP, against a broker double."""

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from hashlib import sha256
from pathlib import Path
from random import Random
from threading import Event
from typing import Any

import pytest
from confluent_kafka import KafkaError
from google.rpc import status_pb2
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from spanloom import secrecy
from spanloom import sender as module
from spanloom.gateway import door as door_module
from spanloom.gateway.door import Door
from spanloom.gateway.http_door import application
from spanloom.gateway.keys import Key, Keys
from spanloom.gateway.otlp import JSON, PROTOBUF
from spanloom.gateway.settings import GatewaySettings
from spanloom_schemas.settings import Secret
from starlette.testclient import TestClient

from tests.producers.gateway.test_otlp import JSON_REQUEST, request, span
from tests.producers.test_sender import Broker

BODY = request(span()).SerializeToString()
KEY = Key(sha256=sha256(b"open").hexdigest(), tenant="acme", spans_per_second=1)


class Gateway:
    """A door with a client in front of it and a broker double behind."""

    def __init__(self, broker: Broker, keys: Keys, **settings: Any) -> None:
        self.broker = broker
        known = GatewaySettings(**{"gateway_wait_seconds": 5.0, "gateway_request_bytes": 100_000, **settings})
        self.door = Door(known, keys, connect=lambda _: broker)  # type: ignore[arg-type, return-value]
        self.client = TestClient(application(self.door))
        self.door.start()

    def post(self, body: bytes = BODY, content_type: str = PROTOBUF, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post("/v1/traces", content=body, headers={"content-type": content_type, **named})

    @property
    def stored(self) -> list[dict[str, Any]]:
        return [span for _, batch in self.broker.log for span in batch["spans"]]


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(module, "BACKOFF_SECONDS", (0.05, 0.05))
    monkeypatch.setattr(module, "LINGER", 0.005)
    opened: list[Gateway] = []

    def make(errors: list[int | None] | None = None, keys: Keys | None = None, **settings: Any) -> Gateway:
        made = Gateway(Broker([None, *(errors or [])]), keys or Keys(None), **settings)  # the hello arrives
        opened.append(made)
        while not made.broker.log:
            made.door.sender.flush(5)
        return made

    yield make
    for made in opened:
        made.broker.errors = iter(())
        made.door.close(5)


def test_a_request_is_answered_when_kafka_has_its_spans(gateway: Any) -> None:
    made = gateway()
    answer = made.post()
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, PROTOBUF, b"")
    assert [span["trace_id"] for span in made.stored] == [(b"t" * 16).hex()]
    assert made.client.get("/healthz").status_code == 200


def test_json_is_answered_in_json_and_gzip_is_unpacked(gateway: Any) -> None:
    made = gateway()
    answer = made.post(
        gzip.compress(json.dumps(JSON_REQUEST).encode()), f"{JSON}; charset=utf-8", content_encoding="gzip"
    )
    assert (answer.status_code, answer.headers["content-type"], answer.json()) == (200, JSON, {})
    (stored,) = made.stored
    assert (stored["name"], stored["parent_remote"]) == ("chat gpt-4o", True)
    assert "secret" not in str(stored)


def test_spans_that_are_none_are_a_partial_success(gateway: Any) -> None:
    made = gateway()
    answer = made.post(request(span(), span(trace_id=b"x")).SerializeToString())
    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert (answer.status_code, partial.rejected_spans) == (200, 1)
    assert partial.error_message == "1 spans: ids are missing or of a wrong length"
    assert len(made.stored) == 1


def test_one_bad_span_in_json_is_a_partial_success(gateway: Any) -> None:
    made = gateway()
    said = deepcopy(JSON_REQUEST)
    said["resourceSpans"][0]["scopeSpans"][0]["spans"].append({"traceId": "no hexadecimal"})
    answer = made.post(json.dumps(said).encode(), JSON)
    partial = answer.json()["partialSuccess"]
    assert (answer.status_code, partial["rejectedSpans"], len(made.stored)) == (200, "1", 1)
    assert partial["errorMessage"].startswith("1 spans: not a span as OTLP's JSON has it: ")
    (counted,) = [one for one in made.door.metrics.registry.collect() if one.name == "spanloom_gateway_spans"]
    results = {one.labels["result"]: one.value for one in counted.samples if one.name.endswith("_total")}
    assert results == {"accepted": 1, "form": 1}


def test_a_span_too_large_for_a_batch_is_rejected_and_not_asked_for_again(gateway: Any) -> None:
    made = gateway(gateway_request_bytes=10_000_000)
    many = [{"key": f"app.k{n}", "value": {"string_value": "v" * 4000}} for n in range(100)]
    answer = made.post(request(span(attributes=many), span()).SerializeToString())
    assert ExportTraceServiceResponse.FromString(answer.content).partial_success.rejected_spans == 1
    assert len(made.stored) == 1


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"\xff", {}, 400, 3),
        (b"junk", {"content_encoding": "gzip"}, 400, 3),
        (bytes(100_001), {}, 413, 8),
        (gzip.compress(bytes(1_000_000)), {"content_encoding": "gzip"}, 413, 8),
    ],
)
def test_what_cannot_be_read_is_not_to_be_sent_again(
    gateway: Any, body: bytes, headers: dict[str, str], status: int, code: int
) -> None:
    answer = gateway().post(body, **headers)
    assert (answer.status_code, status_pb2.Status.FromString(answer.content).code) == (status, code)
    assert "retry-after" not in answer.headers


def test_other_encodings_methods_and_signals_are_refused(gateway: Any) -> None:
    made = gateway()
    assert made.post(content_type="text/plain").status_code == 415
    assert made.post(content_encoding="br").status_code == 415
    assert made.client.get("/v1/traces").status_code == 405
    assert made.client.post("/v1/logs", content=b"").status_code == 404


def test_what_kafka_does_not_take_is_asked_for_again_and_the_door_opens_by_itself(gateway: Any) -> None:
    made = gateway([KafkaError._MSG_TIMED_OUT])
    answer = made.post(json.dumps(JSON_REQUEST).encode(), JSON)
    assert (answer.status_code, answer.headers["retry-after"], answer.json()["code"]) == (503, "2", 14)
    assert made.stored == []
    while made.client.get("/healthz").status_code == 503:  # the next message, without spans, is the probe
        assert made.post().status_code in (200, 503)
    assert made.post().status_code == 200


def test_a_request_is_refused_at_once_while_kafka_is_not_to_be_had(gateway: Any) -> None:
    made = gateway()
    made.door.sender._partitions = 0
    made.broker.partitions = 0
    answer = made.post()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


def test_a_word_of_kafka_that_does_not_come_in_time_is_no_success(gateway: Any) -> None:
    made = gateway(gateway_wait_seconds=0.1)
    made.broker.poll = lambda _: None
    assert made.post().status_code == 503
    del made.broker.poll
    assert made.door.close(5)  # the word comes when nobody waits for it any more, and harms nobody
    assert len(made.stored) == 1


def test_a_full_buffer_refuses(gateway: Any) -> None:
    made, taken = gateway(buffer_bytes=65536, gateway_wait_seconds=0.05), Event()
    made.broker.poll = lambda _: taken.wait(10)
    body = request(span(attributes=[{"key": f"app.k{n}", "value": {"string_value": "v" * 4000}} for n in range(4)]))
    answers = [made.post(body.SerializeToString()) for _ in range(3)]
    taken.set()
    del made.broker.poll
    assert [answer.status_code for answer in answers] == [503] * 3
    assert b"Kafka did not take the spans in time" in answers[1].content
    assert b"too much is waiting for Kafka" in answers[2].content
    assert made.door.close(5)
    assert len(made.stored) == 2  # of the third nothing was taken


def test_more_requests_at_once_than_are_held_come_again(gateway: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "REQUESTS", 0)
    answer = gateway().post()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert b"too many requests come at once" in answer.content


def test_more_spans_than_ever_find_room_are_not_asked_for_again(gateway: Any) -> None:
    answer = gateway(buffer_bytes=65536).post(request(*[span()] * 40).SerializeToString())
    assert (answer.status_code, "retry-after" in answer.headers) == (413, False)
    assert b"40 spans are too many for one request" in answer.content


def test_a_key_is_needed_names_the_tenant_and_has_its_limit(gateway: Any) -> None:
    made = gateway(keys=Keys([KEY]))
    refused = [made.post(), made.post(x_api_key="wrong"), made.post(authorization="Basic open")]
    assert [(answer.status_code, answer.headers["www-authenticate"]) for answer in refused] == [(401, "Bearer")] * 3
    assert made.post(request(*[span()] * 5).SerializeToString(), x_api_key="open").status_code == 200
    assert {span["context"]["tenant"] for span in made.stored} == {"acme"}
    limited = made.post(authorization="bearer open")
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "1")


def test_a_request_that_kafka_did_not_take_costs_its_key_nothing(gateway: Any) -> None:
    made = gateway([KafkaError._MSG_TIMED_OUT], keys=Keys([KEY]))
    body = request(*[span()] * 5).SerializeToString()  # all that the key may send at once
    assert made.post(body, x_api_key="open").status_code == 503
    while (again := made.post(body, x_api_key="open")).status_code == 503:
        pass
    assert again.status_code == 200


def test_a_pepper_that_is_rotated_in_its_file_is_used(
    gateway: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for state in ("_pepper", "_file"):
        monkeypatch.setattr(secrecy, state, None)
    monkeypatch.setattr(secrecy, "LOOK_SECONDS", 0.0)
    file = tmp_path / "pepper"
    file.write_text("k7:old")
    monkeypatch.setenv("SPANLOOM_USER_PEPPER_FILE", str(file))
    made = gateway(user_pepper=Secret("k7:old"))
    body = request(span(attributes=[{"key": "user.id", "value": {"string_value": "ann"}}])).SerializeToString()
    assert made.post(body).status_code == 200
    file.write_text("k8:new")
    while made.stored[-1]["context"]["user"][:3] != "k8:":
        assert made.post(body).status_code == 200
    assert made.stored[0]["context"]["user"][:3] == "k7:"


@pytest.mark.parametrize("seed", range(3))
def test_whatever_kafka_does_every_span_of_an_acknowledged_request_is_in_the_log(
    gateway: Any, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(module, "BACKOFF_SECONDS", (0.002, 0.004))
    fate = Random(seed)
    fates = [*[None] * 4, KafkaError._MSG_TIMED_OUT, KafkaError._TRANSPORT, KafkaError.TOPIC_AUTHORIZATION_FAILED]
    made = gateway([fate.choice(fates) for _ in range(200)])
    answers: Counter[int] = Counter()
    while answers[200] < 20:
        names = [f"{answers} {part}" for part in range(fate.randint(1, 4))]
        spans = [span(name=name, trace_id=fate.randbytes(16), span_id=fate.randbytes(8)) for name in names]
        status = made.post(request(*spans).SerializeToString()).status_code
        answers[status] += 1
        if status == 200:
            assert {*names} <= {stored["name"] for stored in made.stored}
    assert answers.keys() == {200, 503}
    made.door.close(5)
    last = made.broker.log[-1][1]
    assert last["made"] == len(made.stored) + sum(drop["spans"] for drop in last["dropped"])


def test_the_ledger_counts_what_was_taken_and_what_was_lost(gateway: Any) -> None:
    made = gateway([KafkaError._MSG_TIMED_OUT])
    assert made.post().status_code == 503
    while made.post().status_code == 503:
        pass
    made.door.close(5)
    last = made.broker.log[-1][1]
    assert last["last"]
    assert last["made"] == len(made.stored) + sum(drop["spans"] for drop in last["dropped"])
