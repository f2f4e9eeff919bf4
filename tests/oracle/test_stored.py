"""What the product makes of a log is, in a live database, what the oracle says; and a lie in any table is found."""

import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import clickhouse_connect
import polars as pl
import pytest
from clickhouse_connect.driver.client import Client
from faust.types import TP
from spanloom_processors.assignment import Assigned
from spanloom_processors.consumer import Poll
from spanloom_processors.spans import Spans
from spanloom_schemas import codec
from spanloom_schemas.frames.splice import decode
from spanloom_schemas.prices.book import Book
from spanloom_schemas.settings import ClickHouseSettings
from spanloom_sinks import migrate
from spanloom_sinks.amendments import Amendments
from spanloom_sinks.database import ClickHouse
from spanloom_sinks.decode import decode as decode_for_sink
from spanloom_sinks.lane import Lane
from spanloom_sinks.metrics import Metrics
from spanloom_sinks.rollups import Rollups
from spanloom_sinks.settings import RetentionSettings
from spanloom_sinks.source import Source
from spanloom_sinks.tables import tables

from tests.oracle.spans import Logged
from tests.oracle.stored import differences
from tests.oracle.truth import Place, Truth, truth_of

DATABASE = "oracle"
T0 = 1_700_000_000_000
Log = list[tuple[int, int, bytes]]


def wild(made: Any, rng: random.Random) -> tuple[Log, list[Logged]]:
    """A log with copies, late and future-dated spans, feedback, what cannot be read, an epoch left open."""
    log, logged, sent = [], [], []
    now = 0
    for offset in range(150):
        now += rng.choice([50, 400, 400, 900, 3_000, 12_000])
        if rng.random() < 0.03:
            log.append((offset, T0 + now, b"\xc3\x01nonsense"))
            logged.append(Logged(offset, T0 + now, None))
            continue
        spans = [some_span(made, rng, now, f"{offset}-{number}") for number in range(rng.randrange(4))]
        batch = made.batch(*spans, sequence=offset, made=2 * offset, last=offset == 149, epoch=offset % 2)
        batch["shed"] = [{"part": "payloads", "spans": offset // 3}]
        batch = rng.choice(sent) if sent and rng.random() < 0.1 else batch
        sent.append(batch)
        value = codec.encode("span_batch", batch)
        log.append((offset, T0 + now, value))
        logged.append(Logged(offset, T0 + now, codec.decode(value)[2]))
    return log, logged


def some_span(made: Any, rng: random.Random, now: int, name: str) -> Any:
    kind = rng.choice(["llm", "llm", "tool", "request", "feedback", "retrieval"])
    counts = {f"{bucket}_tokens": rng.choice([None, 0, 12, 4_000]) for bucket in ("input", "cache_read", "output")}
    first_token = rng.choice([None, 90_000_000])
    model = rng.choice(["gpt-4o-mini", "gpt-4o-mini", "own"])
    said = {
        "kind": kind,
        "status": rng.choice(["ok", "error"]),
        "parent_id": rng.choice([None, "0-0", "1-0"]),
        "block_reason": rng.choice([None, None, "pii", "toxic"]),
        "scores": rng.choice([[], [{"name": "hit", "value": 0.3}, {"name": "odd", "value": float("nan")}]]),
        "llm": made.llm(**counts, request_model=model, time_to_first_token=first_token) if kind == "llm" else None,
        "retrieval": {"k": 2, "documents": [{"id": "d", "score": None, "cited": True}]}
        if kind == "retrieval"
        else None,
    }
    behind = rng.choice([10, 200, 900, 15_000, 70_000, -4_000, -6_000])
    return made.span(f"trace-{rng.randrange(8)}", name, now - behind, rng.choice([0, 0.5, 90, 2_561]), **said)


def messages_of(log: Log, book: Book) -> dict[str, list[bytes]]:
    """What a processor says of the log."""
    tp = TP("llm.spans", 0)
    spans = Spans(book)
    spans.assign(tp, Assigned("topic", 1, None, 0, len(log)))
    said: dict[str, list[bytes]] = {"llm.panes": [], "llm.traces": []}
    for begin in range(0, len(log), 7):
        poll = Poll(tp, [], begin + 7)
        poll.messages[:] = log[begin : begin + 7]
        spans.fold(poll, [spans.derive(decode("span_batch", poll.messages))])
        idle = T0 + 10**7 if begin + 7 >= len(log) else None
        for report in spans.report(lambda _tp, _folded, since=idle: since, 0):
            for message in report.messages:
                said[message.topic].append(message.value)
    return said


class Stored:
    """Stands for the sink's consumer: all is stored."""

    def topic_id(self, topic: str) -> str:
        return "topic"

    def progress(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        return dict.fromkeys(partitions, 10**9)

    def end(self, topic: str, partition: int) -> int:
        return 0


@pytest.fixture(scope="module")
def book() -> Book:
    return Book.load()


@pytest.fixture(scope="module")
def live(clickhouse: str, made: Any, book: Book) -> Iterator[tuple[Client, Truth]]:
    settings = ClickHouseSettings(clickhouse_url=clickhouse, clickhouse_database=DATABASE)
    migrate.apply(settings, RetentionSettings(**dict.fromkeys(RetentionSettings.__struct_fields__, 20_000)))
    log, logged = wild(made, random.Random(3))
    store = ClickHouse(settings)
    fill(store, log, book)
    client = clickhouse_connect.get_client(dsn=clickhouse, database=DATABASE, autogenerate_session_id=False)
    yield client, truth_of({Place("topic", 0): logged}, book)
    client.close()
    store.close()


def fill(store: ClickHouse, log: Log, book: Book) -> None:
    rollups = Rollups(store, Stored())  # type: ignore[arg-type]
    amendments = Amendments(store, Stored(), Metrics())  # type: ignore[arg-type]
    said = {"llm.spans": [value for _, _, value in log], **messages_of(log, book)}
    for topic, values in said.items():
        source = Source(topic, "topic", 0, 0)
        lane = Lane(source, 0)
        messages = log if topic == "llm.spans" else [(n, T0 + n, value) for n, value in enumerate(values)]
        decoded = decode_for_sink(topic, messages)
        for table in tables(book)[topic]:
            rows = table.rows(decoded, source)
            store.insert(table.name, rows)
            if table.name == "panes":
                rollups.note(0, rows)
            if table.name == "traces":
                amendments.note(lane, 0, rows)
        for letter in decoded.dead:
            for stage in ("processor", "sink"):
                dead = {"topic": [topic], "topic_id": ["topic"], "partition": [0], "offset": [letter.offset]}
                rows = pl.DataFrame({**dead, "stage": [stage], "at": [datetime.fromtimestamp(T0 / 1000, UTC)]})
                store.insert("dead_letters", rows)
    rollups.turn(10**6)
    amendments.turn(10**6)


def test_what_the_product_stores_of_a_wild_log_is_the_truth(live: tuple[Client, Truth]) -> None:
    client, truth = live
    assert {span.timeliness for span in truth.spans.values()} == {"on_time", "late", "future_dated"}
    assert differences(client, truth) == []


LIES = {
    "spans: span": "ALTER TABLE spans UPDATE cost = ifNull(cost, 0) + 1 WHERE offset = (SELECT max(offset) FROM spans)",
    "traces: trace": "ALTER TABLE traces UPDATE errors = errors + 1 WHERE trace_id = 'trace-1'",
    "panes: ": "ALTER TABLE panes UPDATE ttft_sketch = arrayMap(b -> (b.1 + 2, b.2), ttft_sketch) WHERE ttft > 0",
    "panes_1m: window": "ALTER TABLE panes_1m UPDATE cost = cost + 1 WHERE start = (SELECT min(start) FROM panes_1m)",
    "panes_1h: window": "DELETE FROM panes_1h WHERE kind = 'tool'",
    "ledger: epoch": "DELETE FROM batches WHERE sequence = 149",
    "dead_letters: dead letter of the sink": "DELETE FROM dead_letters WHERE stage = 'sink'",
}


@pytest.mark.parametrize("table", LIES)
def test_a_lie_in_a_table_is_a_line_that_says_where(live: tuple[Client, Truth], table: str) -> None:
    client, truth = live
    client.command(LIES[table], settings={"mutations_sync": 2, "lightweight_deletes_sync": 2})
    assert [line for line in differences(client, truth) if line.startswith(table)]
