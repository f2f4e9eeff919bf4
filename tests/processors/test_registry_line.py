"""Processor and sink with a schema registry: they read and write Confluent's format, and its absence is lag."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from spanloom_schemas import codec, topics
from spanloom_schemas.registry import HttpRegistry
from spanloom_schemas.settings import ClickHouseSettings
from spanloom_sinks.store import Store

from tests import registry
from tests.registry import Double

DATABASE = "registry_line"
AGAIN, FOREIGN = 500, 501
"""Ids of span_batch registered once more, and of a schema that is none of ours."""
RULES = "rules: [{name: Busy, metric: requests, above: 10, window: 1m, severity: info, summary: busy}]"
PRODUCE = """
import spanloom
spanloom.configure(service="registered")
for _ in range(30):
    with spanloom.span("request", event_type="request"), spanloom.span("search", event_type="retrieval"):
        pass
assert spanloom.flush(20), spanloom.dropped()
"""


@pytest.fixture
def double() -> Iterator[Double]:
    with registry.running() as server:
        server.schemas = {AGAIN: json.dumps(codec.newest("span_batch").source, indent=1), FOREIGN: '"string"'}
        yield server


class Line:
    """A processor and a sink, each a process; what they say on stderr is in `log(name)`."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.environment, self._folder = environment, folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        command = [sys.executable, "-c", "from spanloom.cli import main; main()", name]
        with (self._folder / name).open("ab") as log:
            self._processes[name] = subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, stderr=log)

    def ready(self, name: str) -> None:
        said = self._processes[name].stdout
        assert said is not None
        assert said.readline().startswith(b"ready"), self.log(name)

    def stop(self, name: str) -> int:
        process = self._processes.pop(name)
        process.terminate()
        with process:
            return process.wait(20)

    def kill(self) -> None:
        for process in self._processes.values():
            process.kill()
            with process:
                process.wait()

    def log(self, name: str) -> str:
        return (self._folder / name).read_text()


@pytest.fixture
def running(line: str, clickhouse: str, double: Double, tmp_path: Path) -> Iterator[Line]:
    """A processor and a sink that are ready."""
    (tmp_path / "rules.yaml").write_text(RULES)
    environment = os.environ | {
        "SPANLOOM_KAFKA_BOOTSTRAP": line,
        "SPANLOOM_SCHEMA_REGISTRY_URL": double.url,
        "SPANLOOM_CLICKHOUSE_URL": clickhouse,
        "SPANLOOM_CLICKHOUSE_DATABASE": DATABASE,
        "SPANLOOM_RULES_FILE": str(tmp_path / "rules.yaml"),
        "SPANLOOM_METRICS_PORT": "0",
        "SPANLOOM_SINK_METRICS_PORT": "0",
        "POLARS_MAX_THREADS": "1",
    }
    made = Line(environment, tmp_path)
    try:
        for act in (made.start, made.ready):
            for name in ("processor", "sink"):
                act(name)
        yield made
    finally:
        made.kill()


@pytest.fixture
def store(clickhouse: str) -> Iterator[Store]:
    opened = Store(ClickHouseSettings(clickhouse_url=clickhouse, clickhouse_database=DATABASE))
    yield opened
    opened.close()


def eventually(true: Callable[[], bool], said: Callable[[], object] = lambda: "") -> None:
    until = time.monotonic() + 40
    while not true():
        assert time.monotonic() < until, said()
        time.sleep(0.1)


def everything(kafka: str, topic: str) -> list[bytes]:
    """Every message that a topic holds now."""
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "test", "enable.auto.commit": False})
    try:
        partitions = [TopicPartition(topic, number, 0) for number in range(topics.load()[topic].partitions)]
        ends = sum(consumer.get_watermark_offsets(partition, timeout=10)[1] for partition in partitions)
        consumer.assign(partitions)
        values: list[bytes] = []
        while len(values) < ends:
            values += [message.value() or b"" for message in consumer.consume(1000, 1) if message.error() is None]
        return values
    finally:
        consumer.close()


def test_the_line_speaks_confluents_format_and_an_absent_registry_is_lag(
    running: Line, double: Double, line: str, store: Store
) -> None:
    def count(what: str) -> int:
        return int(store.query(f"SELECT count() AS n FROM {what}")["n"][0])

    subprocess.run([sys.executable, "-c", PRODUCE], env=running.environment, check=True, timeout=60)
    eventually(lambda: count("spans WHERE service = 'registered'") == 60)
    eventually(lambda: count("trace_summaries WHERE service = 'registered' AND state = 'complete'") == 30)
    eventually(lambda: count("panes") > 0 and count("alerts WHERE rule = 'Busy'") > 0)
    reader = HttpRegistry(double.url)
    for topic in ("llm.spans", "llm.panes", "llm.traces", "llm.alerts"):
        values = everything(line, topic)
        assert {value[:1] for value in values} == {b"\0"}, topic
        assert {codec.decode(value, reader)[0] for value in values} == {topics.load()[topic].schema}

    batches = [codec.decode(value, reader)[2] for value in everything(line, "llm.spans")]
    model = next(batch for batch in batches if batch["spans"])
    producer = Producer({"bootstrap.servers": line})

    def send(value: bytes) -> None:
        producer.produce("llm.spans", value, partition=0)
        assert producer.flush(10) == 0

    double.away = True
    send(_batch(model, "behind", span_id="b" * 16))
    eventually(lambda: all("trying again" in running.log(name) for name in ("processor", "sink")))
    assert count("spans WHERE service = 'behind'") == 0
    double.away = False
    eventually(lambda: count("spans WHERE service = 'behind'") == 1)

    foreign = b"\0" + FOREIGN.to_bytes(4, "big") + b"\x06abc"
    send(foreign)
    send(_batch(model, "after", span_id="a" * 16))
    eventually(lambda: count("spans WHERE service = 'after'") == 1)
    eventually(lambda: count("dead_letters") == 2)
    values = everything(line, "llm.dead_letters")
    assert {value[:1] for value in values} == {b"\0"}
    letters = [codec.decode(value, reader)[2] for value in values]
    assert {letter["stage"]: letter["value"] for letter in letters} == {"processor": foreign, "sink": foreign}
    assert {letter["reason"] for letter in letters} == {"unknown_schema"}
    folded = "SELECT toInt64(sum(spans)) AS n FROM panes FINAL WHERE service IN ('behind', 'after', 'again')"
    eventually(lambda: store.query(folded)["n"][0] == 2)

    assert "alert firing: busy" in running.log("processor")  # what was sent to nobody was read back
    assert running.stop("processor") == 0
    running.start("processor")  # reads its alerts and their panes back
    send(_batch(model, "again", span_id="c" * 16))
    eventually(lambda: store.query(folded)["n"][0] == 3)
    assert running.log("processor").count("alert firing: busy") == 1


def _batch(model: dict[str, Any], service: str, span_id: str) -> bytes:
    """A message like `model` with one span, under the schema's second id."""
    span = model["spans"][0] | {"trace_id": 2 * span_id, "span_id": span_id, "parent_id": None, "end": time.time_ns()}
    plain = codec.encode("span_batch", model | {"service": service, "epoch": len(service), "spans": [span]})
    return b"\0" + AGAIN.to_bytes(4, "big") + plain[len(codec.prefix("span_batch")) :]
