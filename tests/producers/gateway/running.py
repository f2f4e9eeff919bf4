"""A gateway as a process of its own, and spans to send to it."""

import atexit
import os
import re
import signal
import subprocess
import sys
import uuid
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import grpc
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from spanloom.gateway.otlp import PROTOBUF

from tests.producers.topic import messages

KEYS = f"""
- {{sha256: {sha256(b"open").hexdigest()}, tenant: acme}}
- {{sha256: {sha256(b"slow").hexdigest()}, tenant: small, spans_per_second: 0.001}}
"""
KEY = {"x-api-key": "open"}
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


class Gateway:
    """A running gateway, and what it said of its ports; further settings by their names."""

    def __init__(self, kafka: str, folder: Path, **settings: object) -> None:
        self.service = uuid.uuid4().hex
        (folder / "keys.yaml").write_text(KEYS)
        said = {
            "kafka_bootstrap": kafka,
            "service": self.service,
            "gateway_port": 0,
            "gateway_grpc_port": 0,
            "gateway_metrics_port": 0,
            "gateway_keys_file": folder / "keys.yaml",
            **settings,
        }
        env = {**os.environ, **{f"SPANLOOM_{name.upper()}": str(value) for name, value in said.items()}}
        command = [str(Path(sys.executable).with_name("spanloom")), "gateway"]
        self.process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        atexit.register(self.process.kill)  # of a test that fails, or is skipped behind this
        assert self.process.stdout is not None
        ready = self.process.stdout.readline()
        assert ready.startswith("ready "), self.process.communicate()[1]
        ports = dict(pair.split("=") for pair in ready.split()[1:])
        self.http, self.grpc = f"http://127.0.0.1:{ports['http']}", f"127.0.0.1:{ports['grpc']}"
        self._metrics = f"http://127.0.0.1:{ports['metrics']}/metrics"

    def wait_open(self) -> None:
        while True:
            with suppress(HTTPError), urlopen(f"{self.http}/healthz", timeout=10):
                return

    def post(self, body: bytes, **headers: str) -> tuple[int, dict[str, str]]:
        """Send a body over HTTP; return the status and the headers of the answer."""
        named = {"content-type": PROTOBUF, **KEY, **{name.replace("_", "-"): text for name, text in headers.items()}}
        try:
            with urlopen(Request(f"{self.http}/v1/traces", body, named), timeout=60) as answer:
                return answer.status, dict(answer.headers)
        except HTTPError as error:
            error.read()
            return error.code, dict(error.headers)

    def call(self, body: bytes, **options: Any) -> grpc.RpcError | None:
        """Send a body over gRPC; return the error that it ends with, if it does."""
        with grpc.insecure_channel(self.grpc) as channel:
            try:
                channel.unary_unary(EXPORT)(body, timeout=60, metadata=tuple(KEY.items()), **options)
            except grpc.RpcError as error:
                return error
        return None

    def metric(self, name: str, **labels: str) -> float:
        """Return a metric of /metrics, 0 where it has no such line."""
        with urlopen(self._metrics, timeout=10) as answer:
            text = answer.read().decode()
        said = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
        found = re.search(rf"^{re.escape(f'{name}{{{said}}}' if said else name)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    @property
    def peak_bytes(self) -> int:
        """The most memory that it has held so far."""
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found is not None
        return int(found[1]) << 10

    def stop(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGTERM)
        errors = self.process.communicate(timeout=60)[1]
        return self.process.returncode, errors


def spans(name: str, many: int) -> list[ReadableSpan]:
    kept = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": f"service-{name}"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    for _ in range(many):
        provider.get_tracer("x").start_span(name, attributes={"gen_ai.operation.name": "chat"}).end()
    return list(kept.get_finished_spans())


def stored(kafka: str, service: str) -> dict[str, list[dict[str, Any]]]:
    """What a gateway published, by the spans' names."""
    found: dict[str, list[dict[str, Any]]] = {}
    for _, batch in messages(kafka, service):
        for one in batch["spans"]:
            found.setdefault(one["name"], []).append(one)
    return found
