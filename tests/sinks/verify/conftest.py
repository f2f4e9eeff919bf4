"""A whole line with real broker, engine, sink and processor, at rest; and ways to spoil its tables, one at a time."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from spanloom.topics_command import apply as create_topics
from spanloom_schemas import topics
from spanloom_schemas.partitioning import partition
from spanloom_schemas.settings import ClickHouseSettings, KafkaSettings
from spanloom_sinks import migrate
from spanloom_sinks.settings import VerifySettings
from spanloom_sinks.store import Store
from spanloom_sinks.verify import settled
from spanloom_sinks.verify.model import Finding, Report, State
from spanloom_sinks.verify.run import verify

from tests.conftest import start_kafka
from tests.sinks.conftest import SinkProcess, Traffic

TABLES = ("spans", "batches", "dead_letters", "panes", "panes_1m", "panes_1h", "traces")
COLUMNS = (
    "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = {t:String} AND "
    "default_kind NOT IN ('MATERIALIZED', 'ALIAS', 'EPHEMERAL')"
)
ENOUGH = 250.0
"""Seconds in which the line must have come to rest."""


class Line:
    """A line at rest. `verify` asks once: nothing moves any more."""

    def __init__(self, settings: VerifySettings, since: int) -> None:
        self.settings, self.since = settings, since
        self.store = Store(settings.clickhouse)
        self.columns: dict[str, str] = {}

    def verify(self, **how: object) -> Report:
        return verify(self.settings, self.since, None, **{"patience": 0.0} | how)  # type: ignore[arg-type]

    def keep(self) -> None:
        """Remember what the tables hold."""
        for table in TABLES:
            self.columns[table] = ", ".join(self.store.query(COLUMNS, t=table)["name"])
            self.store.command(f"CREATE TABLE kept_{table} AS {table}")
            self._copy(table, f"kept_{table}", self.columns[table], "1")

    def spoil(self, table: str, where: str = "1", more: str = "", **columns: str) -> None:
        """Fill a table again: rows that are `where`, with these columns as given; and then the rows that are `more`."""
        self.store.command(f"TRUNCATE TABLE {table}")
        changed = ", ".join(f"{value} AS {name}" for name, value in columns.items())
        if more:
            self._copy(f"kept_{table}", table, self.columns[table], "1")
        chosen = f"* REPLACE ({changed})" if columns else self.columns[table]
        self._copy(f"kept_{table}", table, self.columns[table], more or where, f"SELECT {chosen}")

    def restore(self, table: str) -> None:
        self.spoil(table)

    def _copy(self, source: str, target: str, columns: str, where: str, select: str = "") -> None:
        select = select or f"SELECT {columns}"
        self.store.command(
            f"INSERT INTO {target} ({columns}) SETTINGS insert_deduplicate = 0 SELECT {columns} FROM "
            f"({select} FROM {source} WHERE {where})"
        )


def finding(report: Report, check: str) -> Finding:
    (found,) = [finding for finding in report.findings if finding.check == check]
    return found


def wrong(report: Report) -> set[str]:
    return {finding.check for finding in report.findings if finding.state is State.WRONG}


@pytest.fixture(scope="package")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker of one's own: what other tests sent would be in the ledger."""
    yield from start_kafka(tmp_path_factory.mktemp("kafka"))


def _produced_to(kafka: str) -> Callable[[str, list[bytes], str], None]:
    create_topics(KafkaSettings(kafka_bootstrap=kafka))
    producer = Producer({"bootstrap.servers": kafka, "linger.ms": 1})

    def produce(topic: str, values: list[bytes], trace_id: str) -> None:
        for value in values:
            producer.produce(topic, value, partition=partition(trace_id, topics.load()[topic].partitions))
        assert producer.flush(20) == 0

    return produce


@pytest.fixture(scope="package")
def line(kafka: str, clickhouse: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    folder = tmp_path_factory.mktemp("line")
    name = f"verify_{os.getpid()}"
    database = ClickHouseSettings(clickhouse_url=clickhouse, clickhouse_database=name)
    migrate.apply(database)
    settings = VerifySettings(
        kafka_bootstrap=kafka, clickhouse=database, sink_group=f"{name}-sink", processor_group=f"{name}-processors"
    )
    environment = {
        "SPANLOOM_KAFKA_BOOTSTRAP": kafka,
        "SPANLOOM_CLICKHOUSE_URL": clickhouse,
        "SPANLOOM_CLICKHOUSE_DATABASE": name,
        "SPANLOOM_SINK_GROUP": settings.sink_group,
        "SPANLOOM_SINK_INSTANCE": settings.sink_group,
        "SPANLOOM_SINK_METRICS_PORT": "0",
        "SPANLOOM_SINK_LINGER_MS": "100",
    }
    since = int(time.time()) - 7200
    spans = send(_produced_to(kafka), Traffic(name))
    sent = time.time()
    sink = SinkProcess(environment, folder / "sink.log")
    processor = _processor(kafka, settings.processor_group, folder / "processor.log")
    found = Line(settings, since)
    try:
        until = time.monotonic() + ENOUGH
        time.sleep(settled.IDLE_MS / 1000)  # no trace is settled sooner, and each look takes the two of their time
        while not at_rest(report := found.verify(), spans, sent):
            assert time.monotonic() < until, [f"{each.check}: {each.text}" for each in report.findings]
            time.sleep(1)
    finally:
        for process in (sink.process, processor):
            process.kill()
            process.wait()
    for table in ("traces_1h", "traces_1h_closed"):  # the sink closes hours by the time of day
        found.store.command(f"TRUNCATE TABLE {table}")
    found.keep()
    yield found
    found.store.close()


def at_rest(report: Report, spans: int, sent: float) -> bool:
    counts = {name: count for each in report.findings for name, count in each.counts.items()}
    return (
        report.exact
        and counts["spans"] == counts.get("hours_spans") == spans
        and counts["traces_settled"] > 1000 * sent
    )


def _processor(kafka: str, group: str, log: Path) -> subprocess.Popen[bytes]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SPANLOOM_")},
        "SPANLOOM_KAFKA_BOOTSTRAP": kafka,
        "SPANLOOM_PROCESSOR_GROUP": group,
        "SPANLOOM_PROCESSOR_MEMBER": group,
        "SPANLOOM_METRICS_PORT": "0",
        "POLARS_MAX_THREADS": "1",
    }
    command = "from spanloom_processors.commands import processor; processor()"
    with log.open("wb") as file:
        return subprocess.Popen([sys.executable, "-c", command], env=environment, stdout=file, stderr=file)


def send(produce: Callable[..., None], traffic: Traffic) -> int:
    """Traces of one producer that says farewell: late and future-dated spans, errors, costs, drops, a message twice."""
    made, sequence, now = 0, 0, time.time_ns()
    life = {"producer": "one", "epoch": traffic.random.randrange(2**60), "sent": now}

    def batch(spans: list[dict], **fields: object) -> None:  # type: ignore[type-arg]
        nonlocal made, sequence
        made += len(spans)
        said = {**life, "sequence": sequence, "made": made + 3 * (sequence > 5)} | fields
        if sequence > 5:
            said["dropped"] = [{"reason": "buffer_full", "spans": 3}]
            said["shed"] = [{"part": "payloads", "spans": 2}]
        value = traffic.encoded(spans, **said)
        produce("llm.spans", [value] * (2 if sequence == 7 else 1), spans[0]["trace_id"] if spans else "0" * 32)
        sequence += 1

    batch([])
    for number in range(40):
        trace_id, root = traffic.id(16), traffic.id(8)
        end = (
            now
            - traffic.random.randrange(2_000_000_000)
            - 3_600_000_000_000 * (number == 11)
            + 60_000_000_000 * (number == 12)
        )
        kind = {"parent_id": root, "trace_id": trace_id, "end": end}
        tokens = {"input_tokens": 1000, "output_tokens": number, "time_to_first_token": 10**7}
        llm = {"provider": "openai", "request_model": "gpt-4o-mini", "usage": "measured", **tokens}
        unpriced = {**llm, "provider": None, "request_model": "own-model"}
        batch(
            [
                traffic.span(trace_id=trace_id, span_id=root, end=end, start=end - 10**7 * (number + 1)),
                traffic.span(
                    **kind, kind="llm", start=end - 10**6 * (number + 1), llm=unpriced if number % 7 == 0 else llm
                ),
                traffic.span(
                    **kind,
                    kind="safety",
                    block_reason="pii" if number % 9 == 0 else None,
                    status="error" if number % 8 == 0 else "ok",
                ),
            ]
        )
    batch([], last=True)
    return made
