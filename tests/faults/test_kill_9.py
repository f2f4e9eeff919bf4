"""Processor, sink and broker die by kill -9 under load; what the tables hold afterwards is what was produced."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from spanloom_schemas.settings import read
from spanloom_stack.line import Line
from spanloom_stack.settings import StackSettings
from spanloom_stack.supervise import Supervisor

TRACES, SPANS_A_TRACE = 600, 5
LOAD = f"""
import time, spanloom
spanloom.configure(service="victim")
for _ in range({TRACES}):
    with spanloom.span("request", event_type="request"):
        for _ in range({SPANS_A_TRACE - 1}):
            with spanloom.span("step", event_type="tool"):
                pass
    time.sleep(0.03)
assert spanloom.flush(100), spanloom.dropped()
spanloom.shutdown()
"""
ENOUGH = 100.0
"""Seconds after the load in which the tables must have come to rest."""

PRODUCED = "SELECT sum(produced), sum(stored), sum(dropped_spans), sum(missing) FROM ledger WHERE service = 'victim'"
SPANS = "SELECT count(), uniqExact(trace_id, span_id) FROM spans WHERE service = 'victim'"
PANES = "SELECT sum(spans) FROM panes FINAL WHERE service = 'victim'"
TRACED = "SELECT count(), sum(spans), countIf(state != 'complete') FROM trace_summaries WHERE service = 'victim'"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    ports = dict.fromkeys(
        ("KAFKA_PORT", "CLICKHOUSE_PORT", "METRICS_PORT", "SINK_METRICS_PORT"),
        "0",
    )
    return {
        **os.environ,
        **{f"SPANLOOM_{name}": port for name, port in ports.items()},
        "SPANLOOM_STACK_DATA": str(tmp_path),
    }


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Supervisor]:
    with Supervisor(tmp_path / "logs", print) as supervisor:
        yield supervisor


@pytest.mark.timeout(400)
def test_kill_9_of_processor_sink_and_broker_loses_nothing_and_doubles_nothing(
    environment: dict[str, str], children: Supervisor
) -> None:
    line = Line.start(read(StackSettings, environment), environment, children, print)
    client = clickhouse_connect.get_client(
        dsn=line.environment["SPANLOOM_CLICKHOUSE_URL"], database="spanloom", autogenerate_session_id=False
    )
    load = subprocess.Popen([sys.executable, "-c", LOAD], env=line.environment)
    victims = iter(["processor-1", "sink", "kafka", "processor-1", "sink"])
    killed, next_kill = [], time.monotonic() + 4

    def kill_the_next() -> bool:
        nonlocal next_kill
        if load.poll() is not None:
            return True
        if time.monotonic() > next_kill and (victim := next(victims, None)):
            os.kill(children.pids()[victim], signal.SIGKILL)
            killed.append(victim)
            next_kill = time.monotonic() + 3.5
        return False

    children.watch(until=kill_the_next)
    assert load.returncode == 0
    assert set(killed) == {"processor-1", "sink", "kafka"}

    produced = TRACES * SPANS_A_TRACE
    deadline = time.monotonic() + ENOUGH
    children.watch(until=lambda: time.monotonic() > deadline or settled(client, produced))
    assert client.query(PRODUCED).result_rows == [(produced, produced, 0, 0)]
    assert client.query(SPANS).result_rows == [(produced, produced)]
    assert client.query(PANES).result_rows == [(produced,)]
    assert client.query(TRACED).result_rows == [(TRACES, produced, 0)]


def settled(client: Client, produced: int) -> bool:
    """Whether every table has at least as much as was produced."""
    return all(
        client.query(query).result_rows[0][column] >= produced
        for query, column in ((SPANS, 0), (PANES, 0), (TRACED, 1))
    )
