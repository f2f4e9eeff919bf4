"""The subcommands that read, on a real ClickHouse engine with the sink's tables."""

import json

import pytest

from tests.dashboards.conftest import FAILED, OPEN, SLOW


def test_sql_answers_as_a_table_as_json_and_as_csv(run):
    time = "CAST('2026-01-02 03:04:05.123456789', 'DateTime64(9)') AS time"
    statement = f"SELECT number AS n, '=1+1' AS text, {time} FROM numbers(2)"
    assert "2026-01-02 03:04:05.123456789" in run("sql", statement).output
    lines = run("sql", statement, "--json").output.splitlines()
    assert json.loads(lines[1]) == {"n": 1, "text": "=1+1", "time": "2026-01-02 03:04:05.123456789"}
    csv = run("sql", statement, "--csv").output.splitlines()
    assert csv[:2] == ["n,text,time", "0,'=1+1,2026-01-02 03:04:05.123456789"]


def test_a_trace_is_shown_as_a_waterfall(run):
    waterfall = run("trace", SLOW.upper()).output
    assert "chat gpt-4o" in waterfall
    assert "1 of 3 spans decides" in waterfall
    assert "not assembled yet" in run("trace", OPEN).output


def test_traces_are_listed_and_filtered(run):
    assert "orphans" in run("traces").output
    assert SLOW not in run("traces", "--errors", "--query", "duration < 1").output
    listed = run("traces", "--slow", "--query", "model = 'gpt-4o'").output
    assert listed.index(SLOW) < listed.index(FAILED)


def test_from_an_alert_to_the_guilty_span_it_is_two_commands(run):
    alerts = run("alerts").output
    assert alerts.index("SlowAnswers") < alerts.index("Recovered")
    assert "1.50 s against 1.20 s" in alerts
    command = next(line.strip() for line in alerts.splitlines() if "spanloom explain" in line)
    explained = run(*command.split()[1:]).output
    assert "→ chat gpt-4o (chat) blocked it: malware" in explained
    assert "search (chat) found 2 of the 4 documents asked for" in explained
    for fact in ("2.5  a", "cited", "context 900, user 24", "temperature 0.2", "ended by length", "← how?"):
        assert fact in explained


def test_what_happened_is_listed_from_a_level_up(run):
    assert "attempt=2" in run("logs", SLOW).output
    assert "began" in run("logs", SLOW, "--level", "debug").output
    assert "--level debug" in run("logs", SLOW, "--level", "error").output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("trace", "e" * 32), "there is no trace"),
        (("explain", "e" * 32), "there is no trace"),
        (("trace", "nonsense"), "32 hexadecimal digits"),
        (("traces", "--since=3x"), "write 90s, 15m, 6h or 7d"),
        (("traces", "--query", "naem = 'x'"), "a trace has no naem; a filter may name"),
        (("traces", "--query", "a = 'x' OR b = 'y'"), "expected AND or the end"),
        (("sql", "SELECT * FROM nothing"), "run spanloom migrate"),
        (("sql", "SELEC 1"), "Syntax error"),
    ],
)
def test_a_failure_says_what_to_do(run, words, said):
    result = run(*words)
    assert result.exit_code != 0
    assert said in result.output


def test_a_database_that_is_away_is_said_in_one_line(run, monkeypatch):
    monkeypatch.setenv("SPANLOOM_CLICKHOUSE_URL", "http://127.0.0.1:9")
    result = run("traces")
    assert result.exit_code == 1
    (line,) = result.output.strip().splitlines()
    assert "does not answer at http://127.0.0.1:9; start it with spanloom up" in line


def test_runs_are_listed_and_filtered(run):
    listed = run("runs").output
    assert listed.index("hit_at_k") < listed.index("one")
    one, two = (next(line for line in listed.splitlines() if line.startswith(name)) for name in ("one", "two"))
    for fact in ("3", "200 ms", "300 ms", "$0.001000", "0 %", "110", "0.3333", "gpt-4o", "answer v1"):
        assert fact in one
    assert "unknown" in two
    assert "two" not in run("runs", "--filter", "params.llm.model='gpt-4o' AND metrics.cost_usd<0.002").output
    assert "answer@2" in run("runs", "--prompts", "--filter", "metrics.errors > 0").output
    assert "look further back" in run("runs", "--since", "1h").output


def test_two_runs_are_shown_side_by_side(run):
    differences = run("compare", "one", "two").output
    (latency,) = [line for line in differences.splitlines() if "latency_ms_p95" in line]
    assert latency.split() == ["latency_ms_p95", "300", "600", "+300", "+100", "%"]
    assert "service" not in differences
    assert "service" in run("compare", "one", "two", "--all").output
    assert "answer@1" in run("compare", "answer@1", "answer@2").output
    assert "neither two runs" in run("compare", "one", "three").output
