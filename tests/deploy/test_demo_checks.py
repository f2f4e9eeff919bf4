"""Each check of the demo holds on rows that agree, and fails when one of them does not."""

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from spanloom_schemas.prices.book import Book
from spanloom_schemas.settings import ClickHouseSettings
from spanloom_sinks import migrate
from spanloom_stack.demo import checks
from spanloom_stack.demo.incidents import INCIDENTS
from spanloom_stack.demo.pager import Pager
from spanloom_stack.demo.reading import Load
from spanloom_traces import TraceStore

MINUTE = (int(time.time()) // 60 - 5) * 60 * 10**9  # epoch ns; recent, for old rows are dropped
BOOK = Book.load()
BLOCKED = "b" * 32
DURATIONS = [100, 200, 300, 400]  # ms
COST = BOOK.rate("openai", "gpt-4o", None, MINUTE // 10**9).cost(1000, 0, 0, 50, 0)


def at(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns // 10**9, UTC):%Y-%m-%d %H:%M:%S}.{ns % 10**9:09d}"


def bucket(ms: int) -> int:
    """The index of a duration in the sketch, by OpenTelemetry's definition at scale 6, in exact arithmetic."""
    index, ns = 0, ms * 10**6
    while 2 ** (index + 1) < ns**64:
        index += 1
    return index


def spans() -> list[dict]:
    requests = [
        {"span_id": f"r{n}", "trace_id": f"t{n}", "request": True, "start": at(MINUTE), "end": at(MINUTE + ms * 10**6)}
        for n, ms in enumerate(DURATIONS)
    ]
    call = {"span_id": "c", "trace_id": "t0", "start": at(MINUTE), "end": at(MINUTE + 10**6), "cost": COST}
    priced = {
        "provider": "openai",
        "model": "gpt-4o",
        "input_tokens": 1000,
        "output_tokens": 50,
        "cost_status": "priced",
    }
    return [{"service": "chat", "log_time": at(MINUTE)} | row for row in [*requests, call | priced]]


def traces() -> list[dict]:
    facts = {"state": "complete", "log_time": at(MINUTE), "start": at(MINUTE), "end": at(MINUTE)}
    rows = [facts | {"trace_id": f"t{n}", "first_offset": n, "spans": 1, "cost": 0} for n in range(len(DURATIONS))]
    rows[0] |= {"spans": 2, "cost": COST}
    return rows


def windows() -> list[dict]:
    facts = {"start": MINUTE // 10**9, "service": "chat"}
    sketch = [{"index": bucket(ms), "count": 1} for ms in DURATIONS]
    return [
        facts | {"request": True, "spans": 4, "duration_sketch": sketch},
        facts | {"request": False, "kind": "llm", "spans": 1, "cost": COST},
    ]


def batches() -> list[dict]:
    facts = {"producer": "p", "epoch": 1, "service": "chat", "sent": at(MINUTE), "log_time": at(MINUTE)}
    return [
        facts | {"sequence": 0, "made": 0, "spans": 0, "offset": 0},
        facts | {"sequence": 1, "made": 7, "spans": 5, "offset": 1, "dropped": {"buffer_full": 2}, "last": True},
    ]


TABLES = {"spans": spans, "traces": traces, "panes_1m": windows, "batches": batches}


@pytest.fixture(scope="module")
def client(clickhouse: str) -> Client:
    """The tables with rows that agree."""
    name = f"demo_{uuid.uuid4().hex[:8]}"
    migrate.apply(ClickHouseSettings(clickhouse_url=clickhouse, clickhouse_database=name))
    client = clickhouse_connect.get_client(dsn=clickhouse, database=name, autogenerate_session_id=False)
    for table, rows in TABLES.items():
        insert(client, table, rows())
    return client


@pytest.fixture(scope="module")
def store(client: Client) -> Iterator[TraceStore]:
    settings = ClickHouseSettings(clickhouse_url=client.url, clickhouse_database=client.database)
    with TraceStore(settings) as store:
        yield store


@contextmanager
def one_more(client: Client, table: str, row: dict) -> Iterator[None]:
    insert(client, table, [row])
    yield
    client.command(f"TRUNCATE TABLE {table}")
    insert(client, table, TABLES[table]())


def insert(client: Client, table: str, rows: list[dict]) -> None:
    for row in rows:  # each may have other columns
        client.raw_insert(table, list(row), insert_block=json.dumps(row), fmt="JSONEachRow")


def test_every_check_holds_on_rows_that_agree(client):
    for verdict in (checks.ledger(client), checks.traces(client), checks.quantiles(client), checks.cost(client, BOOK)):
        assert verdict.holds, verdict.text
    assert checks.ledger(client).text == "7 spans produced = 5 stored + buffer_full 2 dropped"


@pytest.mark.parametrize(
    ("table", "row", "check", "said"),
    [
        ("batches", batches()[1] | {"sequence": 2, "made": 9, "spans": 1}, checks.ledger, "1 missing"),
        ("batches", batches()[0] | {"epoch": 2}, checks.ledger, "1 of 2 producers not closed"),
        ("spans", spans()[0] | {"span_id": "extra"}, checks.ledger, "the table holds 6"),
        ("spans", spans()[0] | {"trace_id": "t9"}, checks.traces, "4 of 5 complete"),
        ("spans", spans()[0] | {"span_id": "extra"}, checks.traces, "5 of 6 spans"),
        ("traces", traces()[1] | {"state": "partial", "reason": "orphans", "revision": 9}, checks.traces, "orphans"),
        ("spans", spans()[3] | {"span_id": "slower", "end": at(MINUTE + 10**10)}, checks.quantiles, "% off"),
        ("spans", spans()[3] | {"service": "other"}, checks.quantiles, "raw rows have 2"),
        ("spans", spans()[4] | {"span_id": "dear", "cost": COST + 1}, checks.cost, "1 spans priced otherwise"),
        ("traces", traces()[1] | {"cost": 1, "revision": 9}, checks.cost, "traces hold"),
    ],
)
def test_a_check_fails_when_a_row_disagrees(client, table, row, check, said):
    with one_more(client, table, row):
        verdict = check(client, BOOK) if check is checks.cost else check(client)
    assert not verdict.holds
    assert said in verdict.text


@pytest.mark.parametrize(
    ("done", "holds", "said"),
    [
        ({"answered": 2, "blocked": 1, "rated": 1}, True, "4 requests made (2 answered, 1 blocked, 1 rated), 4 stored"),
        ({"answered": 5}, False, "5 requests made (5 answered), 4 stored"),
        ({"answered": 3}, False, "3 requests made (3 answered), 4 stored"),
        ({}, False, "0 requests made (none)"),
    ],
)
def test_what_people_asked_must_be_stored(client, tmp_path, done, holds, said):
    rows = [row | {"service": "rag-chat", "span_id": f"q{n}"} for n, row in enumerate(spans()[:4])]
    insert(client, "spans", rows)
    verdict = checks.asked(client, Load(tmp_path / "log", done=done))
    client.command("TRUNCATE TABLE spans")
    insert(client, "spans", spans())
    assert (verdict.holds, said in verdict.text) == (holds, True), verdict.text


@pytest.mark.parametrize(
    ("begun", "posted_at", "trace_ids", "holds", "said"),
    [
        (1010, 1030, "t0,t1", True, "5.0 s after its window ended, 20 s into the incident, with 2 traces"),
        (1010, 1021, "t0", True, "4.0 s before its window ended"),
        (1026, 1030, "t0", False, "1.0 s before anything was wrong"),
        (1010, 1030, "gone", False, "without a trace that is stored"),
        (1010, 1030, "", False, "without a trace that is stored"),
    ],
)
def test_a_page_must_be_about_its_incident_and_carry_a_trace(
    client, tmp_path, begun, posted_at, trace_ids, holds, said
):
    incident, pager, load = INCIDENTS[0], Pager(), Load(tmp_path / "log")
    load.begun[incident.name] = begun
    annotations = {"window_end": datetime.fromtimestamp(1025, UTC).isoformat(), "trace_ids": trace_ids}
    posted = [{"labels": {"alertname": incident.rule}, "annotations": annotations}]
    pager.take(json.dumps(posted).encode(), posted_at)
    verdict = checks.page(client, incident, load, pager)
    assert (verdict.holds, said in verdict.text) == (holds, True), verdict.text


def test_an_incident_without_a_page_fails(client, store, tmp_path):
    load = Load(tmp_path / "log", begun={INCIDENTS[0].name: 1.0})
    assert not checks.page(client, INCIDENTS[0], load, Pager()).holds
    assert not checks.cause(store, INCIDENTS[0], INCIDENTS[0].guilty, Pager()).holds


@pytest.mark.parametrize(
    ("span", "trace_id", "holds", "said"),
    [
        ("check question", BLOCKED, True, f"(chat) blocked it: jailbreak: spanloom explain {BLOCKED}"),
        ("check answer", BLOCKED, False, "and does not name check question"),
        ("check question", "9" * 32, False, "there is no trace"),
        ("check question", "", False, "no page with a trace to explain"),
    ],
)
def test_one_command_must_name_the_guilty_span(client, store, span, trace_id, holds, said):
    guilty = {"trace_id": BLOCKED, "span_id": "g", "name": span, "kind": "safety", "block_reason": "jailbreak"}
    pager = Pager()
    posted = [{"labels": {"alertname": "BlockedRequests"}, "annotations": {"trace_ids": trace_id}}]
    pager.take(json.dumps(posted).encode(), 1030)
    with one_more(client, "spans", spans()[0] | guilty):
        verdict = checks.cause(store, INCIDENTS[2], INCIDENTS[2].guilty, pager)
    assert (verdict.holds, said in verdict.text) == (holds, True), verdict.text
