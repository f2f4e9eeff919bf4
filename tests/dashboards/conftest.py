"""A database with a few traces, alerts, runs and minutes of panes that the tests know by heart."""

import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner, Result
from spanloom.cli import spanloom
from spanloom_schemas.settings import ClickHouseSettings
from spanloom_sinks import migrate
from spanloom_traces import TraceStore
from spanloom_viewer.settings import ViewerSettings

SLOW, FAILED, DEAR, OPEN = (digit * 32 for digit in "abcd")
RUNS = [f"{n:032x}" for n in range(6)]
NOW = time.time_ns()
MINUTE = NOW // (60 * 10**9) * 60  # epoch seconds
MS = 10**6


def insert(url: str, database: str, table: str, rows: list[dict]) -> None:
    """Insert rows whose times (epoch ns) are texts, as a sink's are."""
    by_columns: dict[tuple[str, ...], list[dict]] = {}
    for row in rows:
        by_columns.setdefault(tuple(row), []).append(row)
    for columns, alike in by_columns.items():
        body = f"INSERT INTO {table} ({', '.join(columns)}) FORMAT JSONEachRow\n" + "\n".join(map(json.dumps, alike))
        request = urllib.request.Request(f"{url}/?database={database}", body.encode(), method="POST")
        try:
            urllib.request.urlopen(request).read()
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from None


def at(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns // 10**9, UTC):%Y-%m-%d %H:%M:%S}.{ns % 10**9:09d}"


def ago(seconds: float) -> str:
    return at(NOW - int(seconds * 1e9))


def spans() -> list[dict]:
    root = {"span_id": "s1", "name": "POST /chat", "kind": "request", "start": at(NOW - 60), "end": at(NOW)}
    root |= {"attributes": {"team": "chat", "retries": "3", "http.route": "/chat", 'it\'s "odd"': "so-so"}}
    search = {
        "span_id": "s3",
        "parent_id": "s1",
        "name": "search",
        "kind": "retrieval",
        "start": at(NOW - 59),
        "end": at(NOW - 51),
        "retriever_k": 4,
        "documents": [{"id": "a", "score": 2.5, "cited": False}, {"id": "b", "score": 0.5, "cited": False}],
        "scores": [{"name": "hit_at_k", "value": 0.0}],
    }
    llm = {
        "span_id": "s2",
        "parent_id": "s1",
        "name": "chat gpt-4o",
        "kind": "llm",
        "start": at(NOW - 50),
        "end": at(NOW - 1),
        "model": "gpt-4o",
        "provider": "openai",
        "temperature": 0.2,
        "max_tokens": 256,
        "finish_reasons": ["length"],
        "context_tokens": 900,
        "user_tokens": 24,
        "input_tokens": 1000,
        "cache_read_tokens": 24,
        "output_tokens": 7,
        "cost": 2_500_000,
        "cost_status": "priced",
        "documents": [{"id": "doc", "score": 1.5, "cited": True}, {"id": "other", "score": None, "cited": False}],
        "block_reason": "malware",
        "events": [{"name": "retry", "time": at(NOW - 30), "attributes": {"attempt": "2"}}],
        "attributes": {"team": "search"},
        "input": "how?",
    }
    twice = [llm | {"offset": offset} for offset in (2, 3)]
    running = {"span_id": "o1", "name": "running", "start": at(NOW), "end": at(NOW), "trace_id": OPEN}
    return [{"trace_id": SLOW, "service": "chat", "log_time": ago(0)} | row for row in (root, search, *twice, running)]


def traces() -> list[dict]:
    facts = {
        "spans": 2,
        "service": "chat",
        "name": "POST /chat",
        "end": ago(0),
        "log_time": ago(0),
        "status": "ok",
        "input_tokens": 1000,
        "cache_read_tokens": 24,
        "models": ["gpt-4o"],
        "critical_path": [{"span_id": "s1", "name": "POST /chat", "kind": "request", "self": 5}],
        "state": "complete",
    }
    stages = [{"kind": "llm", "spans": 1, "duration": 49, "self": 49}]
    slow = facts | {"trace_id": SLOW, "tenant": "it's\\a\n\ttenant", "stages": stages, "start": ago(60)}
    return [
        slow | {"first_offset": 1, "duration": 9 * 10**9, "cost": 2_500_000},
        slow | {"first_offset": 9, "duration": 1, "superseded": True},
        facts
        | {"trace_id": FAILED, "first_offset": 4, "start": ago(30), "duration": 10**6, "errors": 2, "cost": None}
        | {"state": "partial", "reason": "orphans"},
        facts
        | {"trace_id": DEAR, "first_offset": 5, "start": ago(7200), "duration": 2 * 10**6, "cost": 9 * 10**9}
        | {"unpriced": 1, "models": ["gpt-4o-mini", "o3"], "scores": [{"name": "thumbs", "value": 0.0}]},
    ]


def alerts() -> list[dict]:
    facts = {
        "labels": {"service": "chat"},
        "severity": "critical",
        "value": 1.5,
        "threshold": 1.2,
        "unit": "seconds",
        "window_start": ago(40),
        "window_end": ago(20),
        "since": ago(40),
        "trace_ids": [SLOW],
        "log_time": ago(0),
    }
    records = (
        ("one", "pending", "SlowAnswers", 30),
        ("one", "firing", "SlowAnswers", 20),
        ("two", "firing", "OldOne", 9000),
        ("two", "resolved", "OldOne", 8000),
        ("three", "firing", "Recovered", 90),
        ("three", "resolved", "Recovered", 60),
    )
    return [facts | {"identity": i, "state": s, "rule": rule, "at": ago(age)} for i, s, rule, age in records]


def runs() -> tuple[list[dict], list[dict]]:
    """Traces and spans of two runs, two days ago: of three traces each, and one of the second's without a price."""
    past = 2 * 86_400
    when = {"start": ago(past), "end": ago(past - 1), "log_time": ago(0), "service": "chat"}
    prompts = {
        "one": {"prompt_id": "answer", "prompt_version": "1"},
        "two": {"prompt_id": "answer", "prompt_version": "2"},
    }
    costs = {
        "one": {"models": ["gpt-4o"], "cost": 1_000_000, "input_tokens": 100},
        "two": {"models": ["gpt-4o-mini"], "cost": 3_000_000, "input_tokens": 300},
    }
    stored, told = [], []
    for n, trace_id in enumerate(RUNS):
        run = "one" if n < 3 else "two"
        own = when | prompts[run] | {"trace_id": trace_id, "run_id": run}
        scores = [{"name": "hit_at_k", "value": float(n % 2)}]
        trace = {
            "first_offset": 100 + n,
            "spans": 1,
            "duration": (n + 1) * 100 * MS,
            "output_tokens": 10,
            "status": "ok",
        }
        wrong = {"cost": 0, "unpriced": 1, "status": "error", "errors": 1} if n == 5 else {}
        stored.append(own | costs[run] | trace | {"scores": scores} | wrong)
        call = {"span_id": "c", "kind": "llm", "provider": "openai", "temperature": 0.2 if n < 3 else 0.7}
        told.append(own | call | {"max_tokens": 256})
    return stored, told


def panes() -> list[dict]:
    """A minute of requests, one an error, and of their model calls, two answered from a cache; and another service."""
    request = {
        "start": MINUTE,
        "service": "chat",
        "environment": "test",
        "kind": "request",
        "request": True,
        "spans": 4,
        "errors": 1,
        "duration": 1000 * MS,
        "duration_sketch": [{"index": 1770, "count": 4}],
        "latency_le": [1, 2, 1, *[0] * 9],
    }
    calls = {
        "kind": "llm",
        "request": False,
        "spans": 5,
        "errors": 0,
        "cache_hits": 2,
        "input_tokens": 100,
        "cache_read_tokens": 20,
        "output_tokens": 30,
        "reasoning_tokens": 3,
        "cost": 5_000_000,
        "unpriced": 1,
        "latency_le": [5, *[0] * 11],
    }
    other = {"service": "other", "spans": 6, "errors": 0, "latency_le": [6, *[0] * 11]}
    return [request, {k: v for k, v in request.items() if k != "duration_sketch"} | calls, request | other]


@pytest.fixture(scope="session")
def settings(clickhouse: str) -> ViewerSettings:
    database = f"viewer_{uuid.uuid4().hex[:8]}"
    migrate.apply(ClickHouseSettings(clickhouse_url=clickhouse, clickhouse_database=database))
    run_traces, run_spans = runs()
    for table, rows in (
        ("spans", [*spans(), *run_spans]),
        ("traces", [*traces(), *run_traces]),
        ("alerts", alerts()),
        ("panes_1m", panes()),
        ("panes_1h", [pane | {"start": MINUTE // 3600 * 3600} for pane in panes()]),
    ):
        insert(clickhouse, database, table, rows)
    return ViewerSettings(clickhouse_url=clickhouse, clickhouse_database=database)


@pytest.fixture(scope="session")
def store(settings: ViewerSettings) -> Iterator[TraceStore]:
    with TraceStore(settings) as store:
        yield store


Run = Callable[..., Result]


@pytest.fixture
def run(settings: ViewerSettings, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `spanloom` with these words on the database."""
    monkeypatch.setenv("SPANLOOM_CLICKHOUSE_URL", settings.clickhouse_url)
    monkeypatch.setenv("SPANLOOM_CLICKHOUSE_DATABASE", settings.clickhouse_database)
    return lambda *words: CliRunner().invoke(spanloom, words)
