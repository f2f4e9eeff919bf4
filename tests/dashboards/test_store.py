"""The store and the subcommands on a real ClickHouse engine with the sink's tables."""

import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner, Result
from spanloom_schemas.settings import ClickHouseSettings
from spanloom_sinks import migrate
from spanloom_viewer import commands, store
from spanloom_viewer.settings import ViewerSettings

SLOW, FAILED, DEAR, OPEN = (digit * 32 for digit in "abcd")


NOW = time.time_ns()


def insert(url: str, database: str, table: str, rows: list[dict]) -> None:
    """Insert rows whose times (epoch ns) are texts, as a sink's are."""
    body = f"INSERT INTO {table} FORMAT JSONEachRow\n" + "\n".join(map(json.dumps, rows))
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
    llm = {
        "span_id": "s2",
        "parent_id": "s1",
        "name": "chat gpt-4o",
        "kind": "llm",
        "start": at(NOW - 50),
        "end": at(NOW - 1),
        "model": "gpt-4o",
        "input_tokens": 1000,
        "cache_read_tokens": 24,
        "output_tokens": 7,
        "cost": 2_500_000,
        "cost_status": "priced",
        "documents": [{"id": "doc", "score": 1.5, "cited": True}, {"id": "other", "score": None, "cited": False}],
        "block_reason": "malware",
    }
    twice = [llm | {"offset": offset} for offset in (2, 3)]
    running = {"span_id": "o1", "name": "running", "start": at(NOW), "end": at(NOW), "trace_id": OPEN}
    return [{"trace_id": SLOW, "log_time": ago(0)} | row for row in (root, *twice, running)]


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
    return [
        facts | {"trace_id": SLOW, "first_offset": 1, "start": ago(60), "duration": 9 * 10**9, "cost": 2_500_000},
        facts | {"trace_id": SLOW, "first_offset": 9, "start": ago(60), "duration": 1, "superseded": True},
        facts
        | {"trace_id": FAILED, "first_offset": 4, "start": ago(30), "duration": 10**6, "errors": 2, "cost": None}
        | {"state": "partial", "reason": "orphans"},
        facts | {"trace_id": DEAR, "first_offset": 5, "start": ago(7200), "duration": 2 * 10**6, "cost": 9 * 10**9},
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


@pytest.fixture(scope="module")
def settings(clickhouse: str) -> ViewerSettings:
    database = f"viewer_{uuid.uuid4().hex[:8]}"
    migrate.apply(ClickHouseSettings(clickhouse_url=clickhouse, clickhouse_database=database))
    for table, rows in (("spans", spans()), ("traces", traces()), ("alerts", alerts())):
        insert(clickhouse, database, table, rows)
    return ViewerSettings(clickhouse_url=clickhouse, clickhouse_database=database)


@pytest.fixture
def client(settings: ViewerSettings) -> Iterator[object]:
    with store.connect(settings) as client:
        yield client


def run(settings: ViewerSettings, monkeypatch: pytest.MonkeyPatch, command, *arguments: str) -> Result:
    monkeypatch.setenv("SPANLOOM_CLICKHOUSE_URL", settings.clickhouse_url)
    monkeypatch.setenv("SPANLOOM_CLICKHOUSE_DATABASE", settings.clickhouse_database)
    return CliRunner().invoke(command, list(arguments))


def test_a_span_sent_twice_is_read_once_with_all_its_facts(client):
    root, llm = store.spans(client, SLOW)
    assert (root.span_id, root.parent_id, root.input_tokens, root.cost) == ("s1", None, None, None)
    assert (llm.start, llm.end) == (NOW - 50, NOW - 1)
    assert (llm.parent_id, llm.model, llm.input_tokens, llm.output_tokens, llm.cost) == (
        "s1",
        "gpt-4o",
        1024,
        7,
        2500000,
    )
    assert (llm.documents, llm.cited, llm.block_reason) == (2, 1, "malware")


def test_a_trace_in_two_segments_is_one(client):
    trace = store.trace(client, SLOW)
    assert (trace.duration, trace.state, trace.reason, trace.cost) == (9_000_000_000, "complete", None, 2_500_000)
    assert (trace.input_tokens, trace.critical_path, trace.models) == (1024, ("s1",), ("gpt-4o",))


def test_a_trace_that_is_not_there_is_none(client):
    assert store.trace(client, "e" * 32) is None
    assert store.spans(client, "e" * 32) == []


def test_a_text_that_is_sql_stays_a_text(client):
    assert store.spans(client, "' OR 1 = 1 --") == []


@pytest.mark.parametrize(
    ("order", "errors", "since", "expected"),
    [
        ("recent", False, 3600, [FAILED, SLOW]),
        ("slow", False, 86_400, [SLOW, DEAR, FAILED]),
        ("costly", False, 86_400, [DEAR, SLOW, FAILED]),
        ("recent", True, 86_400, [FAILED]),
    ],
)
def test_traces_are_listed_in_the_order_asked_for(client, order, errors, since, expected):
    found = store.traces(client, order, seconds=since, limit=9, errors=errors)
    assert [trace.trace_id for trace in found] == expected


def test_an_alert_is_its_last_record_and_old_resolved_ones_are_left_out(client):
    found = {alert.rule: alert for alert in store.alerts(client, seconds=3600)}
    assert {rule: alert.state for rule, alert in found.items()} == {"SlowAnswers": "firing", "Recovered": "resolved"}
    assert found["SlowAnswers"].group == (("service", "chat"),)
    assert found["SlowAnswers"].trace_ids == (SLOW,)


@pytest.mark.parametrize(
    "statement", ["DROP TABLE spans", "INSERT INTO migrations (name) VALUES ('x')", "SELECT 1 SETTINGS readonly = 0"]
)
def test_sql_changes_nothing(settings, statement):
    with pytest.raises(store.StoreError, match="readonly mode"), store.connect(settings) as client:
        store.query(client, statement)


def test_sql_answers_as_a_table_as_json_and_as_csv(settings, monkeypatch):
    time = "CAST('2026-01-02 03:04:05.123456789', 'DateTime64(9)') AS time"
    statement = f"SELECT number AS n, '=1+1' AS text, {time} FROM numbers(2)"
    table = run(settings, monkeypatch, commands.sql, statement).output
    assert "2026-01-02 03:04:05.123456789" in table
    lines = run(settings, monkeypatch, commands.sql, statement, "--json").output.splitlines()
    assert json.loads(lines[1]) == {"n": 1, "text": "=1+1", "time": "2026-01-02 03:04:05.123456789"}
    csv = run(settings, monkeypatch, commands.sql, statement, "--csv").output.splitlines()
    assert csv[:2] == ["n,text,time", "0,'=1+1,2026-01-02 03:04:05.123456789"]


def test_the_commands_show_what_the_store_holds(settings, monkeypatch):
    waterfall = run(settings, monkeypatch, commands.trace, SLOW.upper()).output
    assert "chat gpt-4o" in waterfall
    assert "1 of 2 spans decide" in waterfall
    assert "not assembled yet" in run(settings, monkeypatch, commands.trace, OPEN).output
    assert "orphans" in run(settings, monkeypatch, commands.traces).output
    alerts = run(settings, monkeypatch, commands.alerts).output
    assert alerts.index("SlowAnswers") < alerts.index("Recovered")
    assert "1.50 s against 1.20 s" in alerts


@pytest.mark.parametrize(
    ("command", "argument", "said"),
    [
        (commands.trace, "e" * 32, "there is no trace"),
        (commands.trace, "nonsense", "32 hexadecimal digits"),
        (commands.traces, "--since=3x", "write 90s, 15m, 6h or 7d"),
        (commands.sql, "SELECT * FROM nothing", "run spanloom migrate"),
        (commands.sql, "SELEC 1", "Syntax error"),
    ],
)
def test_a_failure_says_what_to_do(settings, monkeypatch, command, argument, said):
    result = run(settings, monkeypatch, command, argument)
    assert result.exit_code != 0
    assert said in result.output


def test_a_database_that_is_away_is_said_in_one_line(settings, monkeypatch):
    result = run(ViewerSettings(clickhouse_url="http://127.0.0.1:9"), monkeypatch, commands.traces)
    assert result.exit_code == 1
    (line,) = result.output.strip().splitlines()
    assert "does not answer at http://127.0.0.1:9; start it with spanloom up" in line
