"""A real OpenTelemetry Collector: what comes by OTLP goes on to a gateway's doors, or to a topic."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from spanloom_stack import net

from tests import programs

FOR_EVER = {"initial_interval": "200ms", "max_interval": "2s", "max_elapsed_time": "0"}
"""How it tries again."""


class Peer(NamedTuple):
    """Where it takes OTLP, by gRPC and by HTTP, and what it says."""

    grpc: str
    http: str
    log: Path


def make_topic(bootstrap: str, name: str) -> str:
    """A topic for its Kafka exporter."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(name, 2, 1)])[name].result(30)
    return name


@contextmanager
def collector(folder: Path, name: str, exporter: dict[str, Any]) -> Iterator[Peer]:
    """A Collector that passes traces to one exporter, of a type and with a configuration as Collectors know them."""
    program = programs.on_path("spanloom-collector", "benchmarks/collector/README.md says how to build it")
    grpc, http, metrics = (f"127.0.0.1:{net.claim(0)}" for _ in range(3))
    host, _, port = metrics.partition(":")
    reader = {"pull": {"exporter": {"prometheus": {"host": host, "port": int(port)}}}}
    config, log = folder / f"{name}.json", folder / f"{name}-collector.log"
    config.write_text(json.dumps({
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": grpc}, "http": {"endpoint": http}}}},
        "processors": {"batch": {"timeout": "100ms"}},
        "exporters": {name: {"retry_on_failure": FOR_EVER} | exporter},
        "service": {
            "telemetry": {"metrics": {"readers": [reader]}},
            "pipelines": {"traces": {"receivers": ["otlp"], "processors": ["batch"], "exporters": [name]}},
        },
    }))  # fmt: skip
    with programs.running([program, "--config", str(config)], log, lambda: _is_up(f"http://{metrics}/metrics")):
        yield Peer(grpc, f"http://{http}", log)


def _is_up(url: str) -> bool:
    try:
        urlopen(url, timeout=5).close()
    except OSError:
        return False
    return True
