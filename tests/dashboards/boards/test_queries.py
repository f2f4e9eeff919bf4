"""Every query of every board on a real engine: it answers with what its panel needs, and with the truth."""

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urlsplit

import clickhouse_connect
import pytest
import yaml
from clickhouse_connect.driver.client import Client
from spanloom_boards.safety import FLAG
from spanloom_boards.testing import View, expand, formatted, opened, targets
from spanloom_schemas.settings import ClickHouseSettings
from spanloom_sinks.settings import VerifySettings
from spanloom_sinks.verify.run import verify

from tests.dashboards.boards.needs import NEEDS, NUMBER, TIME
from tests.dashboards.boards.recorded import DROPPED, SHARDS, Recorded, record

ROOT = Path(__file__).parents[3]
GRAFANA = ROOT / "dashboards" / "grafana"
BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((GRAFANA / "boards").glob("*.json"))}
MONTH = 30 * 86_400


@pytest.fixture(scope="module")
def recorded(clickhouse: str) -> Recorded:
    return record(ClickHouseSettings(clickhouse_url=clickhouse, clickhouse_database=f"boards_{os.getpid()}"))


@pytest.fixture(scope="module")
def client(recorded: Recorded) -> Iterator[Client]:
    """As Grafana connects: a user who only reads."""
    settings = recorded.settings
    with clickhouse_connect.get_client(
        dsn=settings.clickhouse_url,
        username="reader",
        database=settings.clickhouse_database,
        autogenerate_session_id=False,
    ) as reader:
        yield reader


Ask = Callable[[str], list[str]]


@pytest.fixture(scope="module")
def ask(client: Client) -> Ask:
    """The values of a variable; what several boards ask is asked once."""
    return cache(lambda sql: [str(row[0]) for row in client.query(sql).result_rows])


def seen(board: dict[str, Any], ask: Ask, recorded: Recorded, *, month: bool = False, **chosen: str) -> View:
    """A board as it opens: each variable asks its query, and is All or the first value."""
    until = recorded.ended
    view = View(until - MONTH, until, 3600) if month else View(recorded.begun, until, 60)
    opened(board, view, ask)
    if "trace_id" in view.values:
        view.values["trace_id"] = recorded.trace_id
    view.values.update(chosen)
    return view


def asked() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for name, board in BOARDS.items():
        for panel, target in targets(board):
            if "rawSql" in target:
                yield name, panel, target


def columns(client: Client, sql: str) -> tuple[dict[str, str], list[Any]]:
    answer = client.query(sql)
    kinds = [kind.name for kind in answer.column_types]
    return dict(zip(answer.column_names, kinds, strict=True)), answer.result_rows


ASKED = [pytest.param(*each, id=f"{each[0]}: {each[1]['title']}") for each in asked()]


@pytest.fixture(scope="module")
def views(ask: Ask, recorded: Recorded) -> dict[tuple[str, bool], View]:
    return {
        (name, month): seen(board, ask, recorded, month=month)
        for name, board in BOARDS.items()
        for month in (False, True)
    }


@pytest.mark.parametrize(("name", "panel", "target"), ASKED)
def test_a_query_answers_with_the_columns_and_types_of_its_panel(
    name: str, panel: dict[str, Any], target: dict[str, Any], client: Client, views: dict[tuple[str, bool], View]
) -> None:
    found, rows = columns(client, expand(target["rawSql"], views[name, False]))
    assert rows
    NEEDS[panel["type"]](panel, found, rows)


@pytest.mark.parametrize(("name", "panel", "target"), [e for e in ASKED if "rolled_up" in e.values[2]["rawSql"]])
def test_a_query_of_windows_answers_for_a_month(
    name: str, panel: dict[str, Any], target: dict[str, Any], client: Client, views: dict[tuple[str, bool], View]
) -> None:
    assert columns(client, expand(target["rawSql"], views[name, True]))[1]


@pytest.mark.parametrize(("name", "panel", "target"), ASKED)
def test_a_query_answers_when_filters_are_chosen(
    name: str, panel: dict[str, Any], target: dict[str, Any], client: Client, views: dict[tuple[str, bool], View]
) -> None:
    chosen = {"environment": ["production"], "service": ["rag-agent", "it's"], "tenant": ["acme"], "prompt": "answer"}
    whole = views[name, False]
    view = replace(whole, values=whole.values | {each: chosen[each] for each in chosen if each in whole.values})
    rows = client.query(expand(target["rawSql"], view)).result_rows
    assert rows or panel["title"] in NOTHING_OF_THE_AGENT


NOTHING_OF_THE_AGENT = {
    *("Spans that producers dropped", "Scores and their difference to the base", "Blocks a minute by reason"),
}
"""Of these the recorded agent, and its one prompt, have nothing."""


MEASURES = "Measures and their difference to the base"


def compared(by: str, ask: Ask, recorded: Recorded) -> View:
    """The board of runs with every side `by` something chosen, the first one as the base."""
    board = BOARDS["runs"]
    view = seen(board, ask, recorded)
    view.values["by"] = by
    for variable in board["templating"]["list"]:
        if variable["name"] in ("base", "sides"):
            values = ask(expand(variable["query"]["rawSql"], view))
            view.options[variable["name"]] = values
    view.values |= {"base": values[0], "sides": values[1:]}
    return view


@pytest.mark.parametrize("by", ["prompt_version", "experiment", "model"])
def test_runs_can_be_compared_by_anything(by: str, client: Client, ask: Ask, recorded: Recorded) -> None:
    view = compared(by, ask, recorded)
    _, rows = rows_of("runs", MEASURES, view, client)
    assert [row["side"] for row in rows] == view.options["base"]
    assert rows[0]["call_p95_change"] == 0
    assert rows[1]["call_p95_change"] == pytest.approx(rows[1]["call_p95"] / rows[0]["call_p95"] - 1)


@pytest.mark.parametrize(
    ("by", "side"),
    [("run_id", "run_id"), ("prompt_version", "if(prompt_id = '', '', concat(prompt_id, '@', prompt_version))")],
)
def test_failed_and_blocked_are_shares_of_requests_and_of_calls(
    by: str, side: str, client: Client, ask: Ask, recorded: Recorded
) -> None:
    """And versions of different prompts are different sides. A request has no prompt: these have calls alone."""
    _, rows = rows_of("runs", MEASURES, compared(by, ask, recorded), client)
    requests, calls = "nullIf(countIf(request), 0)", "nullIf(countIf(kind = 'llm'), 0)"
    truth = client.query(
        f"SELECT {side} AS side, countIf(request AND error) / {requests}, countIf(blocked) / {requests}, "
        f"countIf(kind = 'llm' AND error) / {calls}, countIf(kind = 'llm' AND blocked) / {calls} "
        "FROM spans FINAL WHERE side != '' GROUP BY side ORDER BY side"
    ).result_rows
    measures = ("failed", "blocked", "failed_calls", "blocked_calls")
    assert [(row["side"], *(row[name] for name in measures)) for row in rows] == truth
    assert len(rows) > 2
    assert any(row["failed_calls"] for row in rows)


(SAVED,) = [variable for variable in BOARDS["traces"]["templating"]["list"] if variable["name"] == "view"]


@pytest.mark.parametrize("view_name", [option["value"] for option in SAVED["options"]])
def test_every_saved_view_answers_in_its_order(view_name: str, client: Client, ask: Ask, recorded: Recorded) -> None:
    board = BOARDS["traces"]
    view = seen(board, ask, recorded, view=view_name)
    (search,) = [target for panel, target in targets(board) if panel["title"] == "Traces"]
    rows = list(client.query(expand(search["rawSql"], view)).named_results())
    first = {"slow": "duration_ms", "costly": "dollars"}.get(view_name)
    if first:
        values = [row[first] for row in rows]
        assert values == sorted(values, reverse=True)
    assert rows or view_name == "unsure"  # none of the recorded traces is partial
    assert all(row["block_reason"] for row in rows) or view_name != "blocked"
    assert all(row["errors"] for row in rows) or view_name != "errors"


def test_a_filter_leaves_what_it_names(client: Client, ask: Ask, recorded: Recorded) -> None:
    board = BOARDS["traces"]
    (search,) = [target for panel, target in targets(board) if panel["title"] == "Traces"]
    said = {"tenant": "acme", "prompt": "answer", "at_least_ms": "500", "search": "chat", "user": f"k1:{2:032x}"}
    view = seen(board, ask, recorded, **said)
    rows = list(client.query(expand(search["rawSql"], view)).named_results())
    assert rows
    for row in rows:
        assert (row["tenant"], row["prompt_id"], row["user"]) == (said["tenant"], said["prompt"], said["user"])
        assert row["duration_ms"] >= 500
        assert "chat" in row["name"]


@pytest.mark.parametrize(
    ("value", "shards"),
    [
        ("", set(SHARDS)),
        (SHARDS[0], {SHARDS[0]}),
        (SHARDS[2], {SHARDS[2]}),
        ("it's", set()),
        ("\\' OR 1 = 1 --", set()),
    ],
)
def test_traces_are_found_by_an_attribute_of_their_spans(
    value: str, shards: set[str], client: Client, ask: Ask, recorded: Recorded
) -> None:
    (search,) = [target for panel, target in targets(BOARDS["traces"]) if panel["title"] == "Traces"]
    view = seen(BOARDS["traces"], ask, recorded, attribute="shard", attribute_is=value)
    found = {row["trace_id"] for row in client.query(expand(search["rawSql"], view)).named_results()}
    stored = client.query(
        "SELECT trace_id, attributes['shard'] FROM spans FINAL WHERE mapContains(attributes, 'shard')"
    )
    assert found == {trace_id for trace_id, shard in stored.result_rows if shard in shards}


@pytest.mark.parametrize("name", [v["name"] for v in BOARDS["traces"]["templating"]["list"] if v["type"] == "textbox"])
def test_whatever_is_typed_is_a_text(name: str, client: Client, ask: Ask, recorded: Recorded) -> None:
    """And nothing is called so; a place of a trace is not looked for among the others."""
    said = {name: "\\' OR 1 = 1 -- ${user} \\"} | ({"attribute": "shard"} if name == "attribute_is" else {})
    view = seen(BOARDS["traces"], ask, recorded, **said)
    title = "The trace" if name == "trace_id" else "Traces"
    _, rows = rows_of("traces", title, view, client)
    assert not rows or name == "at_least_ms"  # what is no number is 0


def clicked(link: dict[str, str], view: View, row: dict[str, Any]) -> dict[str, str]:
    """The variables that a click on a row hands to the next board; as Grafana fills in a link."""

    def value(match: re.Match[str]) -> str:
        name, _, form = match[1].partition(":")
        if form == "queryparam":
            return formatted(view, name, form) if name in view.values else ""  # the source has no query
        field = name.rpartition(".")[2]
        return quote_plus(str(row[field] if "." in name else view.values.get(name, "")))

    url = re.sub(r"\$\{([^}]+)\}", value, link["url"])
    return {key.removeprefix("var-"): text for key, text in parse_qsl(urlsplit(url).query) if key.startswith("var-")}


def found_by(
    link: dict[str, str], view: View, row: dict[str, Any], client: Client, opened: View
) -> list[dict[str, Any]]:
    """The traces that a click on a row leads to; `opened`: the board of traces as it opens."""
    narrowed = replace(opened, values=opened.values | clicked(link, view, row))
    return rows_of("traces", "Traces", narrowed, client)[1]


def rows_of(name: str, title: str, view: View, client: Client) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A panel, and the rows that it shows."""
    ((panel, target),) = [found for found in targets(BOARDS[name]) if found[0]["title"] == title]
    return panel, list(client.query(expand(target["rawSql"], view)).named_results())


@pytest.mark.parametrize(
    ("name", "title", "of_row", "of_trace"),
    [
        ("cost", "By model", ["model"], ["models"]),
        ("cost", "By prompt version", ["prompt_id", "prompt_version"], ["prompt_id", "prompt_version"]),
        ("cost", "By user", ["user", "tenant"], ["user", "tenant"]),
        ("cost", "By pipeline", ["name"], ["name"]),
        ("safety", "Blocked requests by reason", ["reason"], ["block_reason"]),
    ],
)
def test_a_click_on_a_row_shows_the_traces_behind_it_alone(
    name: str, title: str, of_row: list[str], of_trace: list[str], client: Client, ask: Ask, recorded: Recorded
) -> None:
    view = seen(BOARDS[name], ask, recorded)
    panel, rows = rows_of(name, title, view, client)
    named = [row for row in rows if all(row[column] for column in of_row)]
    assert named
    (link,) = panel["fieldConfig"]["defaults"]["links"]
    for row in named[:3]:
        found = found_by(link, view, row, client, seen(BOARDS["traces"], ask, recorded))
        assert found
        for trace in found:
            assert all(row[column] in trace[other] for column, other in zip(of_row, of_trace, strict=True))


@pytest.mark.parametrize(
    ("by", "side"), [("run_id", "run_id"), ("prompt_version", "concat(prompt_id, '@', prompt_version)")]
)
def test_a_click_on_a_side_of_runs_compared_shows_its_traces_alone(
    by: str, side: str, client: Client, ask: Ask, recorded: Recorded
) -> None:
    view = compared(by, ask, recorded)
    panel, rows = rows_of("runs", MEASURES, view, client)
    (link,) = panel["fieldConfig"]["defaults"]["links"]
    of_run = dict(client.query(f"SELECT trace_id, {side} FROM trace_summaries").result_rows)
    assert len(rows) > 2
    for row in rows:
        found = found_by(link, view, row, client, seen(BOARDS["traces"], ask, recorded))
        assert {of_run[trace["trace_id"]] for trace in found} == {row["side"]}


@pytest.mark.parametrize("title", ["Hosts and services", "Spans a second", "Request latency", "Clock and way to Kafka"])
def test_a_click_on_a_host_shows_the_traces_that_ran_on_it(
    title: str, client: Client, ask: Ask, recorded: Recorded
) -> None:
    view = seen(BOARDS["hosts"], ask, recorded)
    panel, rows = rows_of("hosts", title, view, client)
    (link,) = panel["fieldConfig"]["defaults"]["links"]
    on_host: dict[str, set[str]] = {}
    for host, trace_id in client.query("SELECT DISTINCT host, trace_id FROM spans").result_rows:
        on_host.setdefault(host, set()).add(trace_id)
    assert len(on_host) > 1
    by_host = {row["host"]: row for row in rows}
    assert by_host.keys() == on_host.keys()
    for host, row in by_host.items():
        found = found_by(link, view, row, client, seen(BOARDS["traces"], ask, recorded))
        assert found
        assert {trace["trace_id"] for trace in found} <= on_host[host]
    assert not set.intersection(*on_host.values()) >= set.union(*on_host.values())


def test_from_an_alert_to_the_guilty_span_it_is_two_clicks(client: Client, ask: Ask, recorded: Recorded) -> None:
    """The worst trace in the row of an alert that fires; and in the trace, whose spans are all there, a span."""
    view = seen(BOARDS["alerts"], ask, recorded)
    panel, rows = rows_of("alerts", "Firing and pending", view, client)
    (link,) = panel["fieldConfig"]["defaults"]["links"]
    opened_by_it = seen(BOARDS["traces"], ask, recorded, **clicked(link, view, rows[0]))
    _, spans = rows_of("traces", "The trace", opened_by_it, client)
    assert {span["traceID"] for span in spans} == {recorded.trace_id}
    stored = client.query(f"SELECT span_id FROM spans FINAL WHERE trace_id = '{recorded.trace_id}'").result_rows
    assert {span["spanID"] for span in spans} == {span_id for (span_id,) in stored}
    roots = {span["spanID"] for span in spans if not span["parentSpanID"]}
    assert len(roots) == 1
    assert all(span["parentSpanID"] in {other["spanID"] for other in spans} | {""} for span in spans)


@pytest.mark.parametrize("name", [name for name, board in BOARDS.items() if board["annotations"]["list"]])
def test_alerts_stand_on_the_other_boards(name: str, client: Client, views: dict[tuple[str, bool], View]) -> None:
    (annotation,) = BOARDS[name]["annotations"]["list"]
    found, rows = columns(client, expand(annotation["target"]["rawSql"], views[name, False]))
    assert list(found) == ["time", "timeEnd", "title", "text", "tags"]
    assert TIME.match(found["time"])
    assert [row[2] for row in rows] == [f"{rule} (critical)" for rule in ("RequestLatencyP95High", "CostlyRequest")] + [
        "RequestLatencyP95High (critical)"
    ]


@pytest.mark.parametrize(
    ("chosen", "fire"),
    [({}, 2), ({"service": ["rag-chat"], "tenant": ["acme"]}, 2), ({"service": ["rag-agent"]}, 0),
     ({"environment": ["staging"]}, 0)],
)  # fmt: skip
def test_of_alerts_those_are_shown_that_are_about_what_is_chosen(
    chosen: dict[str, list[str]], fire: int, client: Client, ask: Ask, recorded: Recorded
) -> None:
    """The recorded ones are about rag-chat in production, whatever the tenant."""
    whole = seen(BOARDS["overview"], ask, recorded)
    view = replace(whole, values=whole.values | chosen)
    _, (row,) = rows_of("overview", "Firing", view, client)
    assert row["critical"] + row["others"] == fire
    (annotation,) = BOARDS["overview"]["annotations"]["list"]
    assert len(client.query(expand(annotation["target"]["rawSql"], view)).result_rows) == (3 if fire else 0)


def test_the_age_of_the_data_is_that_of_what_is_chosen(client: Client, ask: Ask, recorded: Recorded) -> None:
    whole = seen(BOARDS["overview"], ask, recorded)

    def ages(**chosen: list[str]) -> tuple[int | None, ...]:
        (row,) = rows_of("overview", "Age of the data", replace(whole, values=whole.values | chosen), client)[1]
        return row["newest_span"], row["newest_window"]

    assert ages() == pytest.approx(ages(environment=["production"]), abs=60)
    assert ages(service=["nobody"]) == (None, None)
    sent, windows = ages(tenant=["nobody"])
    assert sent is not None
    assert windows is None


def test_an_alert_that_fires_at_once_is_shown_as_firing(client: Client, views: dict[tuple[str, bool], View]) -> None:
    (states,) = [target for panel, target in targets(BOARDS["alerts"]) if panel["type"] == "state-timeline"]
    rows = client.query(expand(states["rawSql"], views["alerts", False])).result_rows
    assert [state for _, alert, state in rows if alert.startswith("CostlyRequest")] == [2]
    assert [state for _, alert, state in rows if alert.startswith("RequestLatencyP95High")] == [1, 2, 0, 1, 2]


@pytest.fixture(scope="module")
def counts(recorded: Recorded) -> dict[str, Any]:
    """What `spanloom verify` counts."""
    report = verify(VerifySettings(clickhouse=recorded.settings), recorded.begun, None, with_topics=False, patience=0)
    assert report.exact, report.outcome
    return {name: count for finding in report.findings for name, count in finding.counts.items()}


TOKENS = (
    "sum(arraySum(arrayMap(n -> ifNull(n, 0), [input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, "
    "reasoning_tokens])))"
)
Answer = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def answer(client: Client, ask: Ask, recorded: Recorded) -> Answer:
    """The columns of what a panel shows, by their names."""

    def columns_of(name: str, title: str, *, month: bool = False) -> dict[str, Any]:
        (sql,) = [target["rawSql"] for panel, target in targets(BOARDS[name]) if panel["title"] == title]
        found = client.query(expand(sql, seen(BOARDS[name], ask, recorded, month=month)))
        return dict(zip(found.column_names, zip(*found.result_rows, strict=True), strict=True))

    return columns_of


def test_the_sums_of_the_boards_are_what_verify_counts(
    client: Client, recorded: Recorded, counts: dict[str, Any], answer: Answer
) -> None:
    ledger = answer("pipeline", "Spans of producers heard in this range")
    for name in ("produced", "stored", "dropped", "recovered", "missing"):
        assert ledger[name] == (counts[name],)
    assert counts["dropped"] == DROPPED
    assert sum(answer("pipeline", "Traces by state")["spans"]) == counts["spans"] == recorded.spans
    assert sum(answer("pipeline", "Traces by state")["traces"]) == counts["traces"]
    assert sum(answer("pipeline", "Late and future-dated spans")["spans"]) == counts["late"] + counts["future_dated"]
    assert sum(answer("cost", "By model")["spans"]) == counts["calls"]
    assert answer("cost", "In this range")["unpriced_calls"] == (counts["unpriced"],)
    (spans, cost, tokens) = client.query(f"SELECT count(), sum(cost) / 1e9, {TOKENS} FROM spans FINAL").result_rows[0]
    assert spans == counts["spans"]
    for title, month in product(
        ("By model", "By tenant", "By prompt version", "By user", "By pipeline"), (False, True)
    ):
        table = answer("cost", title, month=month)
        assert sum(each for each in table["dollars"] if each) == pytest.approx(cost)
        assert sum(table["tokens"]) == tokens
    assert len(client.query("SELECT DISTINCT start FROM traces_1h").result_rows) > 2  # so the month is of both
    short, long = (answer("latency", "Time of a request by stage", month=month) for month in (False, True))
    assert dict(zip(*short.values(), strict=True)) == pytest.approx(dict(zip(*long.values(), strict=True)))
    (own,) = client.query("SELECT sum(arraySum(stages.self)) / count() / 1e6 FROM trace_summaries").result_rows[0]
    assert sum(short["mean_ms"]) == pytest.approx(own)
    heat = answer("latency", "Requests by latency")
    requests = client.query("SELECT count() FROM spans FINAL WHERE request").result_rows[0][0]
    assert sum(sum(row) for name, row in heat.items() if name != "time") == requests
    stored = answer("pipeline", "Spans stored a second")
    assert sum(stored["stored"][1:-1]) * 60 == pytest.approx(spans, abs=40)  # the range cuts two


def test_the_sums_of_overview_and_safety_are_those_of_the_spans(
    client: Client, recorded: Recorded, counts: dict[str, Any], answer: Answer
) -> None:
    requests, failed, blocked, cost, tokens, thumbs = client.query(
        "SELECT countIf(request), countIf(request AND error), countIf(blocked), sum(cost) / 1e9, "
        f"{TOKENS}, countIf(has(scores.name, 'thumbs')) FROM spans FINAL"
    ).result_rows[0]
    groups = answer("overview", "By service, environment and tenant")
    assert sum(groups["requests"]) == requests
    assert sum(groups["tokens"]) == tokens
    assert sum(each for each in groups["dollars"] if each) == pytest.approx(cost)
    assert sum(groups["unpriced"]) == counts["unpriced"]
    for rate, counted in (("error_rate", failed), ("block_rate", blocked)):
        parts = zip(groups[rate], groups["requests"], strict=True)
        assert sum(share * whole for share, whole in parts if whole) == pytest.approx(counted)
    assert answer("overview", "Failed")["failed"][0] * requests == pytest.approx(failed)
    assert answer("overview", "Blocked")["blocked"][0] * requests == pytest.approx(blocked)

    assert sum(answer("safety", "Blocked requests by reason")["requests"]) == blocked  # one in each of these traces
    assert sum(answer("safety", "Blocks a minute by reason")["blocks"]) == pytest.approx(blocked)  # points of a minute
    by_prompt = answer("safety", "Scores by prompt version")
    scored = zip(by_prompt["score"], by_prompt["scored"], strict=True)
    assert sum(count for score, count in scored if score == "thumbs") == thumbs
    assert answer("safety", "Thumbs up")["scored"] == (thumbs,)


def test_rates_are_of_the_time_that_their_windows_cover(client: Client, ask: Ask, recorded: Recorded) -> None:
    """A minute that began before the range is in no sum, one that ends after it is whole: no rate is off by it."""
    minute = recorded.begun // 60 * 60 + 31 * 60
    view = replace(seen(BOARDS["overview"], ask, recorded), since=minute + 30, until=minute + 359, interval=120)
    requests, cost, tokens = client.query(
        f"SELECT countIf(request), sum(cost) / 1e9, {TOKENS} FROM spans FINAL "
        f"WHERE toStartOfMinute(end) > {minute} AND toStartOfMinute(end) <= {minute + 300}"
    ).result_rows[0]
    for title, column, truth in (
        ("Requests", "requests", requests / 300),
        ("Cost a minute", "cost", cost / 5),
        ("Tokens", "tokens", tokens / 300),
    ):
        assert rows_of("overview", title, view, client)[1][0][column] == pytest.approx(truth)
    points = rows_of("overview", "Requests a second", view, client)[1]
    starts = [int(row["time"].timestamp()) for row in points]
    seconds = [min(start + 120, minute + 360) - max(start, minute + 60) for start in starts]
    assert 60 in seconds
    counted = sum(row["requests"] * covered for row, covered in zip(points, seconds, strict=True))
    assert counted == pytest.approx(requests)


def test_the_sums_of_hosts_and_alerts_are_those_of_messages_and_records(
    client: Client, recorded: Recorded, counts: dict[str, Any], answer: Answer
) -> None:
    assert sum(answer("hosts", "Hosts and services")["spans"]) == counts["stored"]
    assert sum(answer("hosts", "Spans that producers dropped")["spans"]) == counts["dropped"]
    rates = answer("hosts", "Spans a second")
    ends = [(int(time.timestamp()), int(time.timestamp()) + 60) for time in rates["time"]]
    seen_of = [min(end, recorded.ended) - max(start, recorded.begun) for start, end in ends]
    assert sum(rate * seconds for rate, seconds in zip(rates["spans"], seen_of, strict=True)) == pytest.approx(
        counts["stored"]
    )
    readings = client.query("SELECT sum(failed) FROM samples FINAL WHERE gpu_id != ''").result_rows[0][0]
    assert sum(answer("hosts", "GPUs")["unanswered"]) == readings

    states = client.query(
        "SELECT groupArray(state) FROM (SELECT argMax(state, (at, state = 'resolved')) AS state "
        "FROM alerts GROUP BY identity)"
    ).result_rows[0][0]
    now = answer("alerts", "Now")
    assert (now["critical"][0] + now["others"][0], *now["pending"]) == (states.count("firing"), states.count("pending"))
    assert len(answer("alerts", "Firing and pending")["rule"]) == len(states) - states.count("resolved")
    fired = client.query("SELECT uniqExact(identity) FROM alerts WHERE fired IS NOT NULL").result_rows[0][0]
    assert len(answer("alerts", "Fired in this range")["rule"]) == fired
    assert sum(answer("alerts", "Noise")["fired"]) == fired
    assert sum(answer("alerts", "Fired by rule")["fired"]) == fired


@pytest.mark.parametrize(
    ("name", "title", "column", "truth"),
    [
        *(
            ("safety", title, "mean", f"avgArray(arrayMap(x -> x.value, arrayFilter(x -> x.name = '{score}', scores)))")
            for title, score in [
                ("Thumbs up", "thumbs"), ("Rating", "rating"), ("hit_at_k", "hit_at_k"),
                ("context_precision", "context_precision"), ("Hallucination", "hallucination"),
            ]
        ),
        ("cost", "Context that was used", "context_use_rate",
         "sum(arrayCount(d -> d.cited, documents)) / sum(if(kind = 'retrieval', length(documents), 0))"),
        ("cost", "In this range", "unpriced_share", "countIf(cost_status = 'unpriced') / countIf(kind = 'llm')"),
    ],
)  # fmt: skip
def test_a_share_or_a_mean_is_what_the_spans_say(
    name: str, title: str, column: str, truth: str, client: Client, ask: Ask, recorded: Recorded
) -> None:
    view = replace(seen(BOARDS[name], ask, recorded), interval=10**6)  # of a series one point, or two
    _, rows = rows_of(name, title, view, client)
    ((said,),) = client.query(f"SELECT {truth} FROM spans FINAL").result_rows
    values = [row[column] for row in rows]
    assert min(values) <= said + 1e-6
    assert max(values) >= said - 1e-6
    assert len(rows) <= 2


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        *((name, "PII") for name in ("pii", "PII_leak", "credit_card", "creditcard", "card-number", "phone.us")),
        *((name, "") for name in ("scorecard", "cardinality", "discarded", "megaphone", "impersonal", "hit_at_k")),
        ("toxicity", "toxicity"), ("prompt_injection", "injection"), ("Jailbreak", "injection"),
    ],
)  # fmt: skip
def test_a_flag_is_named_by_words_of_a_score_or_reason(name: str, flag: str, client: Client) -> None:
    assert client.query(f"WITH '{name}' AS name SELECT {FLAG}").result_rows == [(flag,)]


def test_the_slowest_document_is_that_of_the_slowest_retrievals(client: Client, ask: Ask, recorded: Recorded) -> None:
    _, rows = rows_of("latency", "Slowest documents", seen(BOARDS["latency"], ask, recorded), client)
    took: dict[str, list[int]] = {}
    for ids, duration in client.query(
        "SELECT documents.id, duration FROM spans FINAL WHERE kind = 'retrieval'"
    ).result_rows:
        for document in ids:
            took.setdefault(document, []).append(duration)
    means = {document: sum(durations) / len(durations) / 1e6 for document, durations in took.items()}
    assert {row["document"]: row["mean_ms"] for row in rows} == pytest.approx(means)
    assert [row["document"] for row in rows] == sorted(means, key=lambda document: -means[document])


def test_of_grafanas_alert_rules_that_fires_which_should(client: Client, recorded: Recorded) -> None:
    """A dead letter was recorded a moment ago; all else is well."""
    document = yaml.safe_load((GRAFANA / "provisioning/alerting/spanloom.yaml").read_text())
    fires = {}
    for rule in [rule for group in document["groups"] for rule in group["rules"]]:
        (query,) = [each for each in rule["data"] if each["datasourceUid"] == "clickhouse"]
        (threshold,) = [each["model"] for each in rule["data"] if each["datasourceUid"] == "__expr__"]
        view = View(recorded.ended - query["relativeTimeRange"]["from"], recorded.ended)
        found, ((value,),) = columns(client, expand(query["model"]["rawSql"], view))
        assert NUMBER.match(next(iter(found.values())))
        (condition,) = threshold["conditions"]
        assert condition["evaluator"]["type"] == "gt"
        fires[rule["title"]] = value > condition["evaluator"]["params"][0]
    assert [title for title, fired in fires.items() if fired] == ["SpanloomDeadLetters"]
    assert len(fires) == 4


DOCUMENT = (ROOT / "docs/dashboards.md").read_text()


@pytest.mark.parametrize("sql", re.findall(r"```sql\n(.*?)```", DOCUMENT, re.DOTALL))
def test_the_queries_of_the_document_answer(sql: str, client: Client, recorded: Recorded) -> None:
    assert client.query(expand(sql, View(recorded.begun, recorded.ended))).result_rows


def test_a_link_carries_what_a_person_had_chosen(ask: Ask, recorded: Recorded) -> None:
    """What `:queryparam` makes of a filter is what the board it leads to reads."""
    view = seen(BOARDS["overview"], ask, recorded, tenant="acme")
    assert formatted(view, "tenant", "queryparam") == "var-tenant=acme"
    assert formatted(view, "service", "queryparam") == "var-service=%24__all"
