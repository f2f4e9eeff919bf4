"""Traffic, a migrated database of one's own, and a sink in a process of its own."""

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from spanloom_schemas import codec, topics
from spanloom_schemas.partitioning import partition
from spanloom_schemas.prices.book import Book
from spanloom_schemas.settings import ClickHouseSettings
from spanloom_sinks import migrate
from spanloom_sinks.database import ClickHouse
from spanloom_sinks.decode import decode
from spanloom_sinks.settings import RetentionSettings
from spanloom_sinks.source import Source
from spanloom_sinks.tables import tables

_numbers = itertools.count()
Datum = dict[str, Any]


class Traffic:
    """Spans and batches that are valid and, beyond that, as asked for."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)

    def id(self, size: int) -> str:
        return self.random.randbytes(size).hex()

    def span(self, **fields: Any) -> Datum:
        end = fields.pop("end", 1_700_000_000_000_000_000)
        plain = {"parent_id": None, "parent_remote": False, "kind": "request", "otel_kind": "server", "status": "ok"}
        named = {
            "trace_id": self.id(16),
            "span_id": self.id(8),
            "name": "POST /chat",
            "start": end - 1_000_000,
            "end": end,
        }
        return plain | named | fields

    def batch(self, spans: list[Datum], **fields: Any) -> Datum:
        plain = {"producer": "p", "epoch": 1, "sequence": 1, "service": "chat", "environment": "test", "host": "h"}
        counts = {"version": "1", "sdk": "test/1", "sent": 0, "made": len(spans), "dropped": [], "given_up": []}
        return plain | counts | {"last": False, "spans": spans} | fields

    def encoded(self, spans: list[Datum], **fields: Any) -> bytes:
        return codec.encode("span_batch", self.batch(spans, **fields))


@pytest.fixture
def traffic() -> Traffic:
    return Traffic(f"{os.getpid()}-{next(_numbers)}")  # ids that no other test has, nor another run on this broker


@pytest.fixture(scope="session")
def book() -> Book:
    return Book.load()


@pytest.fixture(scope="session")
def database(clickhouse: str) -> ClickHouseSettings:
    """A database with all tables and views; tests tell their rows apart, or empty the tables they count."""
    settings = ClickHouseSettings(
        clickhouse_url=clickhouse, clickhouse_database=f"sinks_{next(_numbers)}_{os.getpid()}"
    )
    # Nothing expires: the tests' time stands still.
    migrate.apply(settings, RetentionSettings(**dict.fromkeys(RetentionSettings.__struct_fields__, 20_000)))
    return settings


@pytest.fixture(scope="session")
def store(database: ClickHouseSettings) -> Iterator[ClickHouse]:
    opened = ClickHouse(database)
    yield opened
    opened.close()


Fill = Callable[..., dict[str, pl.DataFrame]]


@pytest.fixture
def fill(store: ClickHouse, book: Book) -> Fill:
    """Write messages into the tables of their topic without Kafka, as from one block; returns the rows by table."""

    def write(
        topic: str, messages: list[tuple[int, int, bytes]], source: Source | None = None
    ) -> dict[str, pl.DataFrame]:
        source = source or Source(topic, "topic-id", 0, 0)
        decoded = decode(topic, messages)
        assert not decoded.dead
        rows = {table.name: table.rows(decoded, source) for table in tables(book)[topic]}
        for name, frame in rows.items():
            store.insert(name, frame)
        return rows

    return write


@pytest.fixture(scope="session")
def produce(kafka: str) -> Callable[[str, list[bytes], str | None], None]:
    """Send values and wait; all topics are there. With a trace id, to its partition. `make_anew` does so to a topic."""
    admin = AdminClient({"bootstrap.servers": kafka})

    def make(names: set[str]) -> None:
        new = [NewTopic(t.name, t.partitions, 1, config=t.config()) for t in topics.load().values() if t.name in names]
        for made in (admin.create_topics(new) if new else {}).values():
            made.result(20)

    def make_anew(name: str) -> None:
        admin.delete_topics([name])[name].result(20)
        while name in admin.list_topics(timeout=10).topics:
            time.sleep(0.05)
        make({name})

    make(topics.load().keys() - admin.list_topics(timeout=10).topics.keys())
    producer = Producer({"bootstrap.servers": kafka, "linger.ms": 1})

    def send(topic: str, values: list[bytes], trace_id: str | None = None) -> None:
        to = {} if trace_id is None else {"partition": partition(trace_id, topics.load()[topic].partitions)}
        for value in values:
            producer.produce(topic, value, **to)
        assert producer.flush(20) == 0

    send.make_anew = make_anew
    return send


class SinkProcess:
    """`spanloom sink` in a process of its own; `log` holds what it said on stderr."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self.log = log
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SPANLOOM_")}
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from spanloom_sinks.commands import sink; sink()"],
                env=clean | environment,
                stdout=subprocess.PIPE,
                stderr=file,
            )

    def wait_ready(self) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        assert line.startswith("ready"), self.log.read_text()

    def wait_killed(self) -> None:
        assert self.process.wait(60) == -signal.SIGKILL, self.log.read_text()

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(15)


StartSink = Callable[..., SinkProcess]


@pytest.fixture
def start_sink(kafka: str, database: ClickHouseSettings, tmp_path: Path) -> Iterator[StartSink]:
    """Start a sink of a consumer group of this test's own, with further settings by their variables' names."""
    group = f"sink-{next(_numbers)}-{os.getpid()}"
    running: list[SinkProcess] = []

    def start(**environment: str) -> SinkProcess:
        settings = {
            "SPANLOOM_KAFKA_BOOTSTRAP": kafka,
            "SPANLOOM_CLICKHOUSE_URL": database.clickhouse_url,
            "SPANLOOM_CLICKHOUSE_DATABASE": database.clickhouse_database,
            "SPANLOOM_SINK_GROUP": group,
            "SPANLOOM_SINK_INSTANCE": group,
            "SPANLOOM_SINK_METRICS_PORT": "0",
            "SPANLOOM_SINK_LINGER_MS": "100",
            **{f"SPANLOOM_{field.upper()}": "20000" for field in RetentionSettings.__struct_fields__},
        }
        running.append(SinkProcess(settings | environment, tmp_path / f"sink-{len(running)}.log"))
        return running[-1]

    yield start
    for sink in running:
        if sink.process.poll() is None:
            sink.process.kill()
            sink.process.wait()


@pytest.fixture(scope="session")
def eventually() -> Callable[..., None]:
    """Wait until `true()` holds; fail with `said()` when it does not within `seconds`."""

    def wait(true: Callable[[], bool], said: Callable[[], Any] = lambda: "", seconds: float = 60) -> None:
        until = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < until, said()
            time.sleep(0.1)

    return wait
