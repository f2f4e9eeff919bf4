"""`spanloom gateway` as a process: a real broker behind it, real exporters and a Collector's topic before it."""

import gzip
import os
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Event
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import grpc
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from spanloom import topics_command
from spanloom_schemas import codec
from spanloom_schemas.partitioning import partition
from spanloom_schemas.settings import KafkaSettings

from tests.producers.gateway.running import EXPORT, KEY, Gateway, spans, stored
from tests.producers.gateway.test_otlp import request, span
from tests.producers.topic import balanced, epochs, messages


@pytest.fixture(scope="module")
def collector(kafka: str) -> str:
    topics_command.apply(KafkaSettings(kafka_bootstrap=kafka))
    topic = f"otlp_spans_{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(topic, 2, 1)])[topic].result(30)
    return topic


@pytest.fixture
def gateway(kafka: str, collector: str, tmp_path: Path) -> Iterator[Gateway]:
    made = Gateway(kafka, tmp_path, gateway_collector_topic=collector)
    yield made
    made.process.kill()


def sent(exporter: SpanExporter, name: str, many: int) -> None:
    assert exporter.export(spans(name, many)) is SpanExportResult.SUCCESS
    exporter.shutdown()


def test_what_is_acknowledged_is_in_kafka_by_every_door(gateway: Gateway, kafka: str, collector: str) -> None:
    sent(HttpExporter(f"{gateway.http}/v1/traces", headers=KEY, compression=Compression.Gzip), "http", 700)
    sent(GrpcExporter(gateway.grpc, insecure=True, headers=KEY, compression=grpc.Compression.Gzip), "grpc", 300)
    acknowledged = stored(kafka, gateway.service)
    assert len(acknowledged["http"]) == 700
    assert len(acknowledged["grpc"]) == 300
    producer = Producer({"bootstrap.servers": kafka})
    for number in range(20):
        body = request(span(name="collector", trace_id=bytes([number + 1] * 16))).SerializeToString()
        producer.produce(collector, body, key=b"any")
    producer.produce(collector, b"junk")
    producer.flush(30)
    while len(stored(kafka, gateway.service).get("collector", ())) < 20:
        pass
    assert gateway.metric("spanloom_gateway_spans_total", result="accepted", tenant="acme") == 1000
    assert gateway.metric("spanloom_gateway_spans_total", result="accepted", tenant="") == 20
    assert gateway.metric("spanloom_gateway_open") == 1
    for answer, many in (("done", 20), ("bad", 1)):
        while gateway.metric("spanloom_gateway_collector_messages_total", answer=answer) < many:
            pass
    code, said = gateway.stop()
    told = [line for line in said.splitlines() if "is not to be had" not in line]  # at first, on a busy machine
    assert (code, len(told)) == (0, 1), said
    assert "goes to llm.dead_letters: the body is no ExportTraceServiceRequest" in said
    assert [(one["reason"], one["value"]) for one in dead_letters(kafka, collector)] == [("not_otlp", b"junk")]
    (life,) = epochs(kafka, gateway.service)
    balanced(life, 1020)
    assert {batch["service"] for batch in life} >= {"service-http", "service-grpc"}
    published = [(at, one) for at, batch in messages(kafka, gateway.service) for one in batch["spans"]]
    tenants = {(one["name"], (one["context"] or {}).get("tenant")) for _, one in published}
    assert tenants == {("http", "acme"), ("grpc", "acme"), ("collector", None)}
    assert all(at == partition(one["trace_id"], 4) for at, one in published)


def test_both_doors_want_a_key_and_hold_it_to_its_limit(gateway: Gateway) -> None:
    gateway.wait_open()
    for exporter in (HttpExporter(f"{gateway.http}/v1/traces"), GrpcExporter(gateway.grpc, insecure=True)):
        assert exporter.export(spans("x", 1)) is SpanExportResult.FAILURE
        exporter.shutdown()
    with grpc.insecure_channel(gateway.grpc) as channel:
        call = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        with pytest.raises(grpc.RpcError) as refused:
            call(b"", timeout=10)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(grpc.RpcError) as bad:
            call(b"\xff", timeout=10, metadata=(("authorization", "Bearer open"),))
        assert bad.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        body, slow = request(span(), span()).SerializeToString(), (("x-api-key", "slow"),)
        assert call(body, timeout=10, metadata=slow) == b""
        with pytest.raises(grpc.RpcError) as limited:
            call(body, timeout=10, metadata=slow)
        assert limited.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        details = dict(limited.value.trailing_metadata())["grpc-status-details-bin"]
        info = error_details_pb2.RetryInfo()
        assert status_pb2.Status.FromString(details).details[0].Unpack(info)
        assert info.retry_delay.seconds > 60
    refused = {"door": "grpc", "tenant": "small"}
    assert gateway.metric("spanloom_gateway_requests_total", answer="too_many", **refused) == 1
    assert gateway.metric("spanloom_gateway_requests_total", answer="unknown_key", door="http", tenant="") == 1
    assert gateway.metric("spanloom_gateway_request_seconds_count", door="http") == 1
    assert gateway.metric("spanloom_gateway_requests_in_flight") == 0


def code(error: grpc.RpcError | None) -> grpc.StatusCode | None:
    return None if error is None else error.code()  # type: ignore[attr-defined, no-any-return]


def test_many_large_requests_and_bombs_at_once_are_held_in_bounded_memory(
    kafka: str, collector: str, tmp_path: Path
) -> None:
    large, bomb = 6 << 20, gzip.compress(bytes(1 << 28), 1)
    gateway = Gateway(kafka, tmp_path, buffer_bytes=16 << 20, gateway_request_bytes=large + 1000)
    gateway.wait_open()
    whole = request(span(attributes=[{"key": "app.a", "value": {"string_value": "x" * large}}])).SerializeToString()
    before = gateway.peak_bytes
    away = (503, grpc.StatusCode.UNAVAILABLE)

    def taken(send: Callable[[], Any]) -> Any:
        """Come again, as exporters do: who finds no room for seconds, on a busy machine, is asked to."""
        while (said := send()) in away:
            pass
        return said

    def posted(body: bytes, **headers: str) -> Any:
        def once() -> Any:
            try:
                return gateway.post(body, **headers)[0]
            except OSError:  # refused while it still sends, it may see its connection end before the answer
                return away[0]

        return taken(once)

    def called(body: bytes) -> Any:
        return taken(lambda: code(gateway.call(body)))

    with ThreadPoolExecutor(96) as senders:
        several = [senders.submit(posted, whole) for _ in range(48)]
        calls = [senders.submit(called, whole) for _ in range(48)]
        packed = [senders.submit(posted, bomb, content_encoding="gzip") for _ in range(4)]
        bombs = [senders.submit(called, bomb[:large]) for _ in range(4)]
    assert {one.result() for one in several} == {200}
    assert {one.result() for one in calls} == {None}
    assert {one.result() for one in packed} == {413}
    assert {one.result() for one in bombs} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    grown = gateway.peak_bytes - before
    assert gateway.stop()[0] == 0
    assert grown < 300 << 20, f"{grown >> 20} MiB for 96 requests of {large >> 20} MiB"


def test_senders_of_whom_nothing_comes_keep_nobody_out(gateway: Gateway) -> None:
    gateway.wait_open()
    host, port = gateway.http.removeprefix("http://").split(":")
    head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\nx-api-key: open\r\ncontent-type: application/x-protobuf\r\n"
    over = Event()

    def silent() -> Iterator[bytes]:
        over.wait(60)
        yield from ()

    body = request(span()).SerializeToString()
    with ExitStack() as held:
        for _ in range(4):  # each may send 16 MiB, of a room of 64
            sender = held.enter_context(socket.create_connection((host, int(port))))
            sender.sendall(f"{head}transfer-encoding: chunked\r\n\r\n".encode())
            channel = held.enter_context(grpc.insecure_channel(gateway.grpc))
            held.callback(channel.stream_unary(EXPORT).future(silent(), metadata=tuple(KEY.items())).cancel)
        while gateway.metric("spanloom_gateway_requests_in_flight") < 8:
            pass
        assert (gateway.post(body)[0], gateway.call(body)) == (200, None)
        over.set()


def test_at_sigterm_what_is_under_way_is_answered_and_what_is_acknowledged_is_in_kafka(
    kafka: str, collector: str, tmp_path: Path
) -> None:
    gateway = Gateway(kafka, tmp_path)
    gateway.wait_open()
    acknowledged: list[str] = []
    over = Event()

    def sends(number: int) -> None:
        while not over.is_set():
            name = f"{number} {len(acknowledged)}"
            with suppress(OSError):  # the gateway is gone
                one = span(name=name, trace_id=os.urandom(16), span_id=os.urandom(8))
                if gateway.post(request(one).SerializeToString())[0] == 200:
                    acknowledged.append(name)

    with ThreadPoolExecutor(8) as senders:
        sending = [senders.submit(sends, number) for number in range(8)]
        while len(acknowledged) < 40:
            pass
        code, said = gateway.stop()
        over.set()
    for one in sending:
        one.result()
    assert code == 0, said
    (life,) = epochs(kafka, gateway.service)
    balanced(life, life[-1]["made"])
    assert {*acknowledged} <= stored(kafka, gateway.service).keys()


def test_both_doors_speak_tls_where_they_have_a_certificate(
    kafka: str, collector: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for others in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # would be trusted in place of ours
        monkeypatch.delenv(others, raising=False)
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is absent")
    made = ["openssl", "req", "-x509", "-days", "2", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    named = ["-subj", "/CN=gateway", "-addext", "subjectAltName=IP:127.0.0.1"]
    out = ["-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run([*made, *named, *out], cwd=tmp_path, check=True, capture_output=True)
    certificate = tmp_path / "cert.pem"
    files = {"gateway_cert_file": certificate, "gateway_key_file": tmp_path / "key.pem"}
    gateway = Gateway(kafka, tmp_path, **files)
    https = gateway.http.replace("http:", "https:")
    while gateway.metric("spanloom_gateway_open") < 1:
        pass
    credentials = grpc.ssl_channel_credentials(certificate.read_bytes())
    sent(HttpExporter(f"{https}/v1/traces", headers=KEY, certificate_file=str(certificate)), "http", 3)
    sent(GrpcExporter(gateway.grpc, headers=KEY, credentials=credentials), "grpc", 3)
    with pytest.raises(URLError, match="CERTIFICATE_VERIFY_FAILED"):
        urlopen(f"{https}/healthz", timeout=10)
    assert gateway.stop()[0] == 0
    assert {name: len(found) for name, found in stored(kafka, gateway.service).items()} == {"http": 3, "grpc": 3}


def test_a_gateway_for_other_machines_wants_keys() -> None:
    env = {**os.environ, "SPANLOOM_GATEWAY_HOST": "0.0.0.0"}
    command = [str(Path(sys.executable).with_name("spanloom")), "gateway"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "need keys (SPANLOOM_GATEWAY_KEYS_FILE)" in done.stderr) == (1, True), done.stderr


def test_without_its_extra_the_command_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['uvicorn'] = None; from spanloom.cli import main; sys.argv[1:] = ['gateway']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "pip install 'spanloom[gateway]'" in done.stderr) == (1, True), done.stderr


def dead_letters(kafka: str, topic: str) -> list[dict[str, Any]]:
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": uuid.uuid4().hex})
    consumer.assign([TopicPartition("llm.dead_letters", 0, 0)])
    end = consumer.get_watermark_offsets(TopicPartition("llm.dead_letters", 0))[1]
    found = [message for message in consumer.consume(end, 10) if message.error() is None]
    consumer.close()
    letters = []
    for message in found:
        with suppress(codec.CodecError):  # of another test, on the same broker
            letters.append(codec.decode(message.value() or b"")[2])
    return [one for one in letters if one["topic"] == topic]
