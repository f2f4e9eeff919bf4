"""An OpenTelemetry Collector on the spans that `processors` takes: Kafka → groupbytrace → spanmetrics.

The program is `spanloom-collector` on PATH, built from the folder of this name. It has one core, as our worker has: its
clock runs from its first span to the last one that spanmetrics was given, less the second for which groupbytrace
waits by default. Its metrics go nowhere, so nothing is written: ours are emitted to Kafka.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from urllib.request import urlopen

import yaml
from spanloom_stack import net

TOPIC = "bench.otlp_spans"
WAIT_SECONDS = 1.0
QUIET_SECONDS = 3.0
"""After which it is done: a trace whose second half came late is lost to it now and then."""
TIMEOUT_S = 240


def program() -> str | None:
    """Where the Collector is; one line where it is not."""
    found = shutil.which("spanloom-collector")
    if found is None:
        print("no spanloom-collector on PATH (benchmarks/collector/README.md): it is not measured", file=sys.stderr)
    return found


def run(program: str, bootstrap: str, spans: int, cpu: Callable[[int], float]) -> tuple[float, float]:
    """Seconds that it needs for the backlog, and seconds of its core that it uses in that time."""
    port = net.claim(0)
    core = min(os.sched_getaffinity(0))
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(_config(bootstrap, port), file)
        file.flush()
        command = ["taskset", "-c", str(core), program, "--config", file.name]
        with subprocess.Popen(command, env={**os.environ, "GOMAXPROCS": "1"}) as child:
            try:
                return _measured(child, f"http://127.0.0.1:{port}/metrics", spans, cpu)
            finally:
                child.kill()


def _measured(
    child: "subprocess.Popen[bytes]", url: str, spans: int, cpu: Callable[[int], float]
) -> tuple[float, float]:
    deadline = time.monotonic() + TIMEOUT_S
    now = begun = ended = time.monotonic(), 0.0
    received = released = 0
    while now[0] < ended[0] + QUIET_SECONDS or released == 0:
        if child.poll() is not None or now[0] > deadline:
            sys.exit(f"the Collector released {released} of {spans} spans")
        time.sleep(0.02 if not received else 0.5 if received < spans else 0.1)  # each asking is work for it
        received, counted = _counts(url)
        now = time.monotonic(), cpu(child.pid)
        if not received:
            begun = now
        if counted != released or received < spans:
            released, ended = counted, now
    if released < spans:
        print(f"the Collector lost {spans - released} spans", file=sys.stderr)
    return ended[0] - begun[0] - WAIT_SECONDS, ended[1] - begun[1]


def _counts(url: str) -> tuple[int, int]:
    """Spans that it has received, and that groupbytrace has passed on to spanmetrics."""
    try:
        text = urlopen(url, timeout=30).read().decode()
    except OSError:  # not up yet
        return 0, 0
    return _sum("receiver_accepted_spans", text), _sum("processor_groupbytrace_spans_released", text)


def _sum(name: str, text: str) -> int:
    return sum(int(float(count)) for count in re.findall(rf"^otelcol_{name}\S* (\S+)$", text, re.MULTILINE))


def _config(bootstrap: str, port: int) -> dict[str, object]:
    metrics = {"readers": [{"pull": {"exporter": {"prometheus": {"host": "127.0.0.1", "port": port}}}}]}
    return {
        "receivers": {
            "kafka": {
                "brokers": [bootstrap],
                "group_id": f"bench-{time.time_ns()}",
                "initial_offset": "earliest",
                "traces": {"topics": [TOPIC], "encoding": "otlp_proto"},
            }
        },
        "processors": {"groupbytrace": {"wait_duration": f"{WAIT_SECONDS}s"}},
        "connectors": {"span_metrics": {}},
        "exporters": {"nop": {}},
        "service": {
            "telemetry": {"metrics": {"level": "normal", **metrics}, "logs": {"level": "warn"}},
            "pipelines": {
                "traces": {"receivers": ["kafka"], "processors": ["groupbytrace"], "exporters": ["span_metrics"]},
                "metrics": {"receivers": ["span_metrics"], "exporters": ["nop"]},
            },
        },
    }
