"""An unmodified application under OpenTelemetry's own command, told by environment variables alone where to send; the
whole line behind the OTLP door; and what `spanloom verify` says of it.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from clickhouse_connect.driver.client import Client
from spanloom_schemas.settings import ClickHouseSettings, read
from spanloom_stack.demo import services
from spanloom_stack.demo.reading import Load
from spanloom_stack.demo.services import Example
from spanloom_stack.line import Line
from spanloom_stack.settings import StackSettings
from spanloom_stack.supervise import Supervisor
from spanloom_traces.connection import connect

from tests.compat.otlp_door.peer import Peer, collector, make_topic
from tests.producers.gateway.running import Gateway

HOME = os.environ.get("OTEL_SERVICE_HOME", "")
pytestmark = [
    pytest.mark.skipif(not HOME, reason="make test-compat makes the application's environment"),
    pytest.mark.timeout(300),
]
SECONDS = 10.0


class Running(NamedTuple):
    """A line, the environment that leads to it, and where the logs of people are."""

    environment: dict[str, str]
    client: Client
    logs: Path


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("otlp-door")
    settings = StackSettings(
        stack_data=str(folder), stack_cache=read(StackSettings).stack_cache, kafka_port=0, clickhouse_port=0
    )
    ports = {"SPANLOOM_METRICS_PORT": "0", "SPANLOOM_SINK_METRICS_PORT": "0"}
    with Supervisor(folder / "logs") as stack:
        environment = Line.start(settings, {**os.environ, **ports}, stack).environment
        with connect(read(ClickHouseSettings, environment)) as client:
            yield Running(environment, client, folder)


def test_an_unmodified_opentelemetry_application_is_watched_and_nothing_is_missing(running: Running) -> None:
    load = watched(running, "calm", kill_the_gateway=False)
    assert load.done["answered"] > 10
    said = verified(running)
    assert (said["ledger"]["missing"], said["ledger"]["dropped"], said["tail"]["tail_unknown"]) == (0, 0, 0)
    calls = row(
        running.client,
        """SELECT count() AS count, countIf(provider = 'openai' AND cost_status = 'priced') AS priced,
            countIf(ttft > 0 AND prompt_version IN ('1', '2')) AS known, uniqExact(trace_id) AS traces
        FROM spans FINAL WHERE kind = 'llm'""",
    )
    assert calls["count"] == calls["priced"] == calls["known"] == calls["traces"] == load.done["answered"]
    stages = row(running.client, "SELECT groupUniqArray(kind) AS kinds FROM spans FINAL")["kinds"]
    assert {"request", "llm", "retrieval", "rerank", "safety", "other"} == {*stages}


def test_a_gateway_that_is_killed_costs_no_span_that_the_application_still_holds(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60000")  # for how long the SDK tries again
    watched(running, "killed", kill_the_gateway=True)
    said = verified(running)
    assert (said["ledger"]["missing"], said["tail"]["tail_unknown"]) == (0, 1)  # the life that was killed


def test_what_an_application_sends_through_a_real_collector_and_its_kafka_topic_is_watched_too(
    running: Running, tmp_path: Path
) -> None:
    kafka = running.environment["SPANLOOM_KAFKA_BOOTSTRAP"]
    topic = make_topic(kafka, "otlp_spans")
    exporter = {"brokers": [kafka], "traces": {"topic": topic}}
    with collector(tmp_path, "kafka", exporter) as peer:
        gateway = Gateway(kafka, tmp_path, gateway_collector_topic=topic)
        before = stages(running.client)
        load = watched(running, "collected", kill_the_gateway=False, through=lambda example: sending(example, peer))
        assert gateway.metric("spanloom_gateway_spans_total", result="accepted", tenant="") > 4 * sum(
            load.done.values()
        )
        assert gateway.metric("spanloom_gateway_collector_messages_total", answer="done") > 0
        assert gateway.stop()[0] == 0
    assert verified(running)["ledger"]["missing"] == 0
    assert stages(running.client)["llm"] - before["llm"] == load.done["answered"]


def sending(example: Example, peer: Peer) -> Example:
    """The example, whose SDKs are told another endpoint."""
    endpoints = {"grpc": f"http://{peer.grpc}", "http/protobuf": peer.http}

    def told(environment: dict[str, str]) -> dict[str, str]:
        endpoint = endpoints.get(environment.get("OTEL_EXPORTER_OTLP_PROTOCOL", ""))
        return environment | {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint} if endpoint else environment

    services = [replace(one, environment=told(dict(one.environment))) for one in example.services]
    return example._replace(services=services)


def stages(client: Client) -> Counter[str]:
    """How many spans of each kind are stored."""
    found = client.query("SELECT kind, count() FROM spans FINAL GROUP BY kind").result_rows
    return Counter({str(kind): int(count) for kind, count in found})


def watched(
    running: Running,
    name: str,
    kill_the_gateway: bool,
    through: Callable[[Example], Example] = lambda example: example,
) -> Load:
    """Let people ask the application for a while; return what they did, once all of it is stored."""
    before = requests(running.client)
    with Supervisor(running.logs / name) as people:
        example = through(services.example(running.environment, Path(HOME)))
        people.start(*example.services)
        people.start(services.load(example.chat, example.agent, SECONDS))
        load = Load(running.logs / name / "load.log")
        begun = time.monotonic()
        gateway = people.pids()["gateway"]

        def ended() -> bool:
            nonlocal gateway
            if kill_the_gateway and gateway and time.monotonic() - begun > SECONDS / 3:
                os.kill(gateway, signal.SIGKILL)
                gateway = 0
            load.update()
            return load.ended

        people.watch(until=ended)
    asked = sum(load.done.values())
    assert load.done.get("failed", 0) == 0
    deadline = time.monotonic() + 60
    while requests(running.client) - before < asked and time.monotonic() < deadline:
        time.sleep(0.2)
    assert requests(running.client) - before == asked
    return load


def requests(client: Client) -> int:
    """Requests to the chat API that are stored, each once."""
    found = row(client, "SELECT count() AS count FROM spans FINAL WHERE request AND service = 'rag-chat'")
    return int(found["count"])


def row(client: Client, statement: str) -> dict[str, Any]:
    (found,) = client.query(statement).named_results()
    return dict(found)


def verified(running: Running) -> dict[str, Any]:
    """What `spanloom verify` counts, by line; it must find every number right."""
    command = [str(Path(sys.executable).with_name("spanloom")), "verify", "--json"]
    done = subprocess.run(command, env=running.environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {finding["check"]: finding["counts"] for finding in json.loads(done.stdout)["findings"]}
