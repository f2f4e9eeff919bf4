"""`spanloom gateway` as a process: a real broker behind it, real exporters and a Collector's topic before it."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import grpc
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from spanloom import topics_command
from spanloom_schemas import codec
from spanloom_schemas.partitioning import partition
from spanloom_schemas.settings import KafkaSettings

from tests.producers.gateway.test_otlp import request, span
from tests.producers.topic import balanced, epochs, messages

KEYS = f"""
- {{sha256: {sha256(b"open").hexdigest()}, tenant: acme}}
- {{sha256: {sha256(b"slow").hexdigest()}, tenant: small, spans_per_second: 0.001}}
"""


class Gateway:
    """A running gateway, and what it said of its ports."""

    def __init__(self, kafka: str, folder: Path, topic: str) -> None:
        self.service = uuid.uuid4().hex
        (folder / "keys.yaml").write_text(KEYS)
        env = {
            **os.environ,
            "SPANLOOM_KAFKA_BOOTSTRAP": kafka,
            "SPANLOOM_SERVICE": self.service,
            "SPANLOOM_GATEWAY_PORT": "0",
            "SPANLOOM_GATEWAY_GRPC_PORT": "0",
            "SPANLOOM_GATEWAY_KEYS_FILE": str(folder / "keys.yaml"),
            "SPANLOOM_GATEWAY_COLLECTOR_TOPIC": topic,
        }
        command = [str(Path(sys.executable).with_name("spanloom")), "gateway"]
        self.process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert said.startswith("ready "), self.process.communicate()[1]
        ports = dict(pair.split("=") for pair in said.split()[1:])
        self.http, self.grpc = f"http://127.0.0.1:{ports['http']}", f"127.0.0.1:{ports['grpc']}"

    def wait_open(self) -> None:
        while True:
            with suppress(HTTPError), urlopen(f"{self.http}/healthz", timeout=10):
                return

    def stop(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGTERM)
        errors = self.process.communicate(timeout=30)[1]
        return self.process.returncode, errors


@pytest.fixture(scope="module")
def collector(kafka: str) -> str:
    topics_command.apply(KafkaSettings(kafka_bootstrap=kafka))
    topic = f"otlp_spans_{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(topic, 2, 1)])[topic].result(30)
    return topic


@pytest.fixture
def gateway(kafka: str, collector: str, tmp_path: Path) -> Iterator[Gateway]:
    made = Gateway(kafka, tmp_path, collector)
    yield made
    made.process.kill()


def spans(name: str, many: int) -> list[ReadableSpan]:
    kept = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": f"service-{name}"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    for _ in range(many):
        provider.get_tracer("x").start_span(name, attributes={"gen_ai.operation.name": "chat"}).end()
    return list(kept.get_finished_spans())


def sent(exporter: SpanExporter, name: str, many: int) -> None:
    assert exporter.export(spans(name, many)) is SpanExportResult.SUCCESS
    exporter.shutdown()


def test_what_is_acknowledged_is_in_kafka_by_every_door(gateway: Gateway, kafka: str, collector: str) -> None:
    key = {"x-api-key": "open"}
    sent(HttpExporter(f"{gateway.http}/v1/traces", headers=key, compression=Compression.Gzip), "http", 700)
    sent(GrpcExporter(gateway.grpc, insecure=True, headers=key, compression=grpc.Compression.Gzip), "grpc", 300)
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
    code, said = gateway.stop()
    assert (code, said.count("\n")) == (0, 1)
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


def stored(kafka: str, service: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for _, batch in messages(kafka, service):
        for one in batch["spans"]:
            found.setdefault(one["name"], []).append(one)
    return found
