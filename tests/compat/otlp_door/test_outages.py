"""A gateway whose broker stalls, and is killed: real processes, and the exporters that will knock."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGSTOP

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace.export import SpanExportResult

from tests.faults.children import Children
from tests.producers.gateway.running import KEY, Gateway, spans, stored
from tests.producers.gateway.test_otlp import request, span
from tests.producers.topic import balanced, epochs

PATIENCE = 100.0
"""Seconds for which an exporter tries again."""
EACH = 200
pytestmark = pytest.mark.timeout(300)


def test_while_kafka_is_stalled_and_killed_senders_are_asked_to_come_again_and_nothing_acknowledged_is_lost(
    broker: tuple[Children, str], tmp_path: Path
) -> None:
    children, bootstrap = broker
    gateway = Gateway(bootstrap, tmp_path, gateway_wait_seconds=1)
    gateway.wait_open()
    exporters = {
        "http": HttpExporter(f"{gateway.http}/v1/traces", headers=KEY, timeout=PATIENCE),
        "grpc": GrpcExporter(gateway.grpc, insecure=True, headers=KEY, timeout=PATIENCE),  # type: ignore[arg-type]
    }
    told: Counter[str] = Counter()

    def sends(door: str) -> None:
        batch = spans(door, EACH)
        while exporters[door].export(batch) is not SpanExportResult.SUCCESS:
            told[door] += 1  # it gives up after six tries, which may be too few for a busy machine

    with ThreadPoolExecutor(2) as senders:
        children.signal("kafka", SIGSTOP)
        sending = [senders.submit(sends, door) for door in exporters]
        asked_to_come_again(gateway)
        children.hold("kafka")
        asked_to_come_again(gateway)
        children.let_up("kafka")
        children.watch(lambda: all(one.done() for one in sending), PATIENCE)
    for exporter in exporters.values():
        exporter.shutdown()
    assert max(told.values(), default=0) < 10
    assert gateway.metric("spanloom_gateway_requests_total", door="grpc", answer="away", tenant="acme") > 0
    assert gateway.stop()[0] == 0
    for life in epochs(bootstrap, gateway.service):
        balanced(life, life[-1]["made"])
    found = stored(bootstrap, gateway.service)
    for door in exporters:
        copies = Counter((one["trace_id"], one["span_id"]) for one in found[door])
        assert len(copies) == EACH  # by their ids each counts once, however often it came
        assert len({(one["span_id"], repr(one)) for one in found[door]}) == EACH  # and its copies say the same


def asked_to_come_again(gateway: Gateway) -> None:
    """Both doors say that a request is to be sent again, and when."""
    body = request(span(name="again")).SerializeToString()
    status, headers = gateway.post(body)
    assert (status, headers["retry-after"]) == (503, "2")
    error = gateway.call(body)
    assert error is not None
    assert error.code() is grpc.StatusCode.UNAVAILABLE  # type: ignore[attr-defined]
    details = dict(error.trailing_metadata())["grpc-status-details-bin"]  # type: ignore[attr-defined]
    info = error_details_pb2.RetryInfo()
    assert status_pb2.Status.FromString(details).details[0].Unpack(info)
    assert info.retry_delay.seconds == 2
