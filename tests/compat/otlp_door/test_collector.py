"""A real Collector before a gateway whose broker goes away: what it took arrives, by each of its exporters."""

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace.export import SpanExportResult

from tests.compat.otlp_door.peer import collector, make_topic
from tests.faults.children import Children
from tests.producers.gateway.running import KEY, Gateway, spans, stored
from tests.producers.topic import balanced, epochs

PATIENCE = 100.0
EACH = 300
pytestmark = pytest.mark.timeout(300)


def test_while_kafka_is_away_a_collector_tries_again_and_all_that_it_took_is_published(
    broker: tuple[Children, str], tmp_path: Path
) -> None:
    children, bootstrap = broker
    topic = make_topic(bootstrap, "otlp_spans")
    gateway = Gateway(bootstrap, tmp_path, gateway_wait_seconds=1, gateway_collector_topic=topic)
    gateway.wait_open()
    exporters: dict[str, dict[str, Any]] = {
        "otlp_http": {"endpoint": gateway.http, "headers": KEY},  # gzip, as both have it by default
        "otlp_grpc": {"endpoint": gateway.grpc, "headers": KEY, "tls": {"insecure": True}},
        "kafka": {"brokers": [bootstrap], "traces": {"topic": topic}},
    }

    def answered(door: str, answer: str) -> float:
        return gateway.metric("spanloom_gateway_requests_total", door=door, answer=answer, tenant="acme")

    def is_over() -> bool:
        """Say whether Kafka has what was sent before it went away, and since."""
        read = gateway.metric("spanloom_gateway_collector_messages_total", answer="done")
        return min(read, answered("http", "done"), answered("grpc", "done")) >= 2

    with ExitStack() as stack:
        peers = {name: stack.enter_context(collector(tmp_path, name, said)) for name, said in exporters.items()}
        for name, peer in peers.items():
            sent(GrpcExporter(peer.grpc, insecure=True), name)
        children.hold("kafka")
        for name, peer in peers.items():
            sent(HttpExporter(f"{peer.http}/v1/traces"), name)
        assert children.watch(lambda: min(answered("http", "away"), answered("grpc", "away")) > 1, PATIENCE)
        children.let_up("kafka")
        assert children.watch(is_over, PATIENCE)
    found = stored(bootstrap, gateway.service)
    assert {name: len(ids(found[name])) for name in exporters} == dict.fromkeys(exporters, 2 * EACH)
    for peer in peers.values():
        assert "Dropping data" not in peer.log.read_text()
    assert gateway.stop()[0] == 0
    for life in epochs(bootstrap, gateway.service):
        balanced(life, life[-1]["made"])


def sent(exporter: Any, name: str) -> None:
    assert exporter.export(spans(name, EACH)) is SpanExportResult.SUCCESS
    exporter.shutdown()


def ids(found: list[dict[str, Any]]) -> Counter[tuple[str, int]]:
    return Counter((one["trace_id"], one["span_id"]) for one in found)
