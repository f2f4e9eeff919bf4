"""A real Jaeger, all in one, that keeps traces in memory."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

from spanloom_stack import net

from tests import programs


class Jaeger(NamedTuple):
    """Where it takes OTLP over HTTP, and where it is asked."""

    otlp: str
    query: str

    def ask(self, path: str) -> Any:
        with urlopen(f"{self.query}{path}", timeout=30) as answer:
            return json.load(answer)


@contextmanager
def running(folder: Path) -> Iterator[Jaeger]:
    """Start one, and end it."""
    program = programs.on_path(
        "jaeger", "version 2, of its releases; or go get -tool its cmd/jaeger@v1.76.0 and build it"
    )
    otlp, query, grpc = (f"127.0.0.1:{net.claim(0)}" for _ in range(3))
    config, log = folder / "jaeger.json", folder / "jaeger.log"
    config.write_text(json.dumps({
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": otlp}}}},
        "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
        "extensions": {
            "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": 1000}}}},
            "jaeger_query": {
                "storage": {"traces": "memory"}, "http": {"endpoint": query}, "grpc": {"endpoint": grpc},
            },
        },
        "service": {
            "extensions": ["jaeger_storage", "jaeger_query"], "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}},
        },
    }))  # fmt: skip
    command = [program, "--config", str(config)]
    with programs.running(command, log, lambda: "Everything is ready" in log.read_text()):
        yield Jaeger(f"http://{otlp}", f"http://{query}")
