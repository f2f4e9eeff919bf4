"""The whole line under a steady load: how soon a span can be read, and what every process keeps resident.

Prints ``readable_p50``, ``readable_p99`` (from a span's end to the moment a query finds its row) and the resident
memory of each process after that load. The embedded stack is started in a temporary folder on free ports.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import quantiles

import clickhouse_connect
from spanloom_schemas.settings import read
from spanloom_stack.line import Line
from spanloom_stack.settings import StackSettings
from spanloom_stack.supervise import Supervisor

SECONDS, SPANS_A_SECOND = 30, 200
POLL = 0.02

LOAD = f"""
import time, spanloom
spanloom.configure(service="bench")
begin = time.monotonic()
for turn in range({SECONDS * SPANS_A_SECOND // 10}):
    with spanloom.span("request", event_type="request"):
        for _ in range(9):
            with spanloom.span("llm", event_type="llm"):
                pass
    time.sleep(max(0.0, begin + (turn + 1) * {10 / SPANS_A_SECOND} - time.monotonic()))
spanloom.shutdown()
"""


def main() -> None:
    environment = {
        **os.environ,
        "SPANLOOM_KAFKA_PORT": "0",
        "SPANLOOM_CLICKHOUSE_PORT": "0",
        "SPANLOOM_METRICS_PORT": "0",
        "SPANLOOM_SINK_METRICS_PORT": "0",
    }
    with tempfile.TemporaryDirectory(prefix="spanloom-bench-") as data:
        environment["SPANLOOM_STACK_DATA"] = data
        report = lambda line: print(line, file=sys.stderr)  # noqa: E731
        with Supervisor(Path(data) / "logs", report) as children:
            line = Line.start(read(StackSettings, environment), environment, children, report)
            waits = read_while_loaded(line.environment)
            measured = quantiles(waits, n=100)
            print(f"readable_p50 {measured[49] * 1000:.0f} ms")
            print(f"readable_p99 {measured[98] * 1000:.0f} ms")
            print_resident(children)


def read_while_loaded(environment: dict[str, str]) -> list[float]:
    """Drive the load and return, for every span, the seconds from its end to the first query that saw its row."""
    load = subprocess.Popen([sys.executable, "-c", LOAD], env=environment)
    ended = threading.Event()
    threading.Thread(target=lambda: (load.wait(), time.sleep(5), ended.set()), daemon=True).start()
    client = clickhouse_connect.get_client(
        dsn=environment["SPANLOOM_CLICKHOUSE_URL"], database="spanloom", autogenerate_session_id=False
    )
    seen: dict[str, float] = {}
    while not ended.is_set():
        rows = client.query(
            "SELECT span_id, toUnixTimestamp64Nano(end) FROM spans WHERE service = 'bench' AND end > now64() - 15"
        ).result_rows
        now = time.time()
        for span_id, end in rows:
            seen.setdefault(span_id, now - end / 1e9)
        time.sleep(POLL)
    expected = SECONDS * SPANS_A_SECOND
    if len(seen) != expected or load.returncode:
        sys.exit(f"saw {len(seen)} of {expected} spans; the load ended with {load.returncode}")
    return list(seen.values())


def print_resident(children: Supervisor) -> None:
    """Print each process's resident memory, and the sum."""
    total = 0
    for name, pid in children.pids().items():
        status = Path(f"/proc/{pid}/status").read_text()
        megabytes = int(status.split("VmRSS:")[1].split()[0]) // 1024
        total += megabytes
        print(f"resident.{name.replace('-', '_')} {megabytes} MB")
    print(f"resident.total {total} MB")


if __name__ == "__main__":
    main()
