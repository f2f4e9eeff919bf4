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

import clickhouse_connect
import pytest
import yaml
from clickhouse_connect.driver.client import Client
from spanloom_boards.testing import View, expand, formatted, opened, targets
from spanloom_schemas.settings import ClickHouseSettings
from spanloom_sinks.settings import VerifySettings
from spanloom_sinks.verify.run import verify

from tests.dashboards.boards.recorded import DROPPED, Recorded, record

ROOT = Path(__file__).parents[3]
GRAFANA = ROOT / "dashboards" / "grafana"
BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((GRAFANA / "boards").glob("*.json"))}
MONTH = 30 * 86_400
_NUMBER = re.compile(r"^(Nullable\()?(U?Int\d+|Float\d+|Bool)\)?$")
_TIME = re.compile(r"^DateTime")
_TEXT = re.compile(r"^(LowCardinality\()?(Nullable\()?(String|Enum)")
_FITTING = {"none": _TEXT, "dateTimeAsIso": re.compile(r"^(Nullable\()?DateTime"), "bool": re.compile("^Bool")}


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


def series(panel: dict[str, Any], found: dict[str, str], rows: list[Any]) -> None:
    """Time first and ascending, labels that are text, numbers; as the plugin makes series of rows."""
    names = list(found)
    assert names[0] == "time"
    assert _TIME.match(found["time"])
    times = [row[0] for row in rows]
    assert times == sorted(times)
    labels = [name for name in names[1:] if _TEXT.match(found[name])]
    numbers = [name for name in names[1:] if _NUMBER.match(found[name])]
    assert {*labels, *numbers} == {*names[1:]}, found
    assert numbers
    named = re.findall(r"\$\{__field\.labels\.(\w+)\}", json.dumps(panel["fieldConfig"]))
    assert set(named) <= set(labels)
    assert len(labels) == 0 or panel["fieldConfig"]["defaults"].get("displayName")
    points = [tuple(row[names.index(name)] for name in ("time", *labels)) for row in rows]
    assert len(points) == len(set(points)), "two values at one time in one series"
    assert any(row[names.index(numbers[0])] is not None for row in rows)
    for override in panel["fieldConfig"]["overrides"]:
        assert override["matcher"]["options"] in numbers


def one_row(panel: dict[str, Any], found: dict[str, str], rows: list[Any]) -> None:
    assert len(rows) == 1
    assert all(_NUMBER.match(kind) for kind in found.values()), found
    assert all(value is not None for value in rows[0])
    assert {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]} <= found.keys()
    if not (fields := panel["options"]["reduceOptions"]["fields"]).startswith("/"):
        assert fields in found


def bars(panel: dict[str, Any], found: dict[str, str], rows: list[Any]) -> None:
    kinds = list(found.values())
    assert len(kinds) == 2
    assert _TEXT.match(kinds[0])
    assert _NUMBER.match(kinds[1])


def table(panel: dict[str, Any], found: dict[str, str], rows: list[Any]) -> None:
    """Every column has its heading and unit, and the unit fits the type."""
    overrides = panel["fieldConfig"]["overrides"]
    described = {o["matcher"]["options"]: {p["id"]: p["value"] for p in o["properties"]} for o in overrides}
    assert set(described) == set(found)
    for column, kind in found.items():
        unit = described[column]["unit"]
        assert _FITTING.get(unit, _NUMBER).match(kind), f"{column} is {kind}, its unit {unit}"
    titles = [each["displayName"] for each in described.values()]
    assert len(titles) == len(set(titles))


def heatmap(panel: dict[str, Any], found: dict[str, str], rows: list[Any]) -> None:
    names = list(found)
    assert names[0] == "time"
    bounds = [float(name.replace("+Inf", "inf")) for name in names[1:]]
    assert bounds == sorted(bounds)
    assert all(_NUMBER.match(found[name]) for name in names[1:])


def trace(panel: dict[str, Any], found: dict[str, str], rows: list[Any]) -> None:
    """The frame that Grafana's trace panel takes (docs of the panel; `transformTraceData` of the plugin)."""
    pairs = "Array(Map("
    wanted = {
        "traceID": "String", "spanID": "String", "parentSpanID": "String", "serviceName": "LowCardinality(String)",
        "operationName": "LowCardinality(String)", "startTime": "Float64", "duration": "Float64", "tags": pairs,
        "serviceTags": pairs, "statusCode": "UInt8", "statusMessage": "String", "kind": "LowCardinality(String)",
        "logs": "Array(Tuple(", "references": "Array(Tuple(",
    }  # fmt: skip
    assert set(found) == set(wanted)
    for name, kind in wanted.items():
        assert found[name].startswith(kind), f"{name} is {found[name]}"


NEEDS = {
    "timeseries": series, "stat": one_row, "bargauge": bars, "table": table, "heatmap": heatmap, "traces": trace,
    "state-timeline": series,
}  # fmt: skip


@pytest.mark.parametrize("by", ["prompt_version", "experiment", "model"])
def test_runs_can_be_compared_by_anything(by: str, client: Client, ask: Ask, recorded: Recorded) -> None:
    board = BOARDS["runs"]
    view = seen(board, ask, recorded)
    view.values["by"] = by
    for variable in board["templating"]["list"]:
        if variable["name"] in ("base", "sides"):
            values = ask(expand(variable["query"]["rawSql"], view))
            view.options[variable["name"]] = values
    view.values |= {"base": values[0], "sides": values[1:]}
    (compared,) = [target for panel, target in targets(board) if panel["title"].startswith("Measures")]
    rows = list(client.query(expand(compared["rawSql"], view)).named_results())
    assert [row["side"] for row in rows] == values
    assert rows[0]["call_p95_change"] == 0
    assert rows[1]["call_p95_change"] == pytest.approx(rows[1]["call_p95"] / rows[0]["call_p95"] - 1)


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


@pytest.mark.parametrize(("value", "shards"), [("", {"0", "1", "2"}), ("2", {"2"}), ("it's", set())])
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


@pytest.mark.parametrize("name", [name for name, board in BOARDS.items() if board["annotations"]["list"]])
def test_alerts_stand_on_the_other_boards(name: str, client: Client, views: dict[tuple[str, bool], View]) -> None:
    (annotation,) = BOARDS[name]["annotations"]["list"]
    found, rows = columns(client, expand(annotation["target"]["rawSql"], views[name, False]))
    assert list(found) == ["time", "timeEnd", "title", "text", "tags"]
    assert _TIME.match(found["time"])
    assert [row[2] for row in rows] == [f"{rule} (critical)" for rule in ("RequestLatencyP95High", "CostlyRequest")] + [
        "RequestLatencyP95High (critical)"
    ]


def test_an_alert_that_fires_at_once_is_shown_as_firing(client: Client, views: dict[tuple[str, bool], View]) -> None:
    (states,) = [target for panel, target in targets(BOARDS["alerts"]) if panel["type"] == "state-timeline"]
    rows = client.query(expand(states["rawSql"], views["alerts", False])).result_rows
    assert [state for _, alert, state in rows if alert.startswith("CostlyRequest")] == [2]
    assert [state for _, alert, state in rows if alert.startswith("RequestLatencyP95High")] == [1, 2, 0, 1, 2]


def test_the_sums_of_the_boards_are_what_verify_counts(client: Client, ask: Ask, recorded: Recorded) -> None:
    settings = VerifySettings(clickhouse=recorded.settings)
    report = verify(settings, recorded.begun, None, with_topics=False, patience=0)
    assert report.exact, report.outcome
    counts = {name: count for finding in report.findings for name, count in finding.counts.items()}

    def answer(name: str, title: str, *, month: bool = False) -> dict[str, Any]:
        (sql,) = [target["rawSql"] for panel, target in targets(BOARDS[name]) if panel["title"] == title]
        found = client.query(expand(sql, seen(BOARDS[name], ask, recorded, month=month)))
        return dict(zip(found.column_names, zip(*found.result_rows, strict=True), strict=True))

    ledger = answer("pipeline", "Spans of producers heard in this range")
    for name in ("produced", "stored", "dropped", "recovered", "missing"):
        assert ledger[name] == (counts[name],)
    assert counts["dropped"] == DROPPED
    assert sum(answer("pipeline", "Traces by state")["spans"]) == counts["spans"] == recorded.spans
    assert sum(answer("pipeline", "Traces by state")["traces"]) == counts["traces"]
    assert sum(answer("pipeline", "Late and future-dated spans")["spans"]) == counts["late"] + counts["future_dated"]
    assert sum(answer("cost", "By model")["spans"]) == counts["calls"]
    assert answer("cost", "In this range")["unpriced_calls"] == (counts["unpriced"],)
    (spans, cost, tokens) = client.query(
        "SELECT count(), sum(cost) / 1e9, sum(arraySum(arrayMap(n -> ifNull(n, 0), [input_tokens, cache_read_tokens, "
        "cache_write_tokens, output_tokens, reasoning_tokens]))) FROM spans FINAL"
    ).result_rows[0]
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


def test_of_grafanas_alert_rules_that_fires_which_should(client: Client, recorded: Recorded) -> None:
    """A dead letter was recorded a moment ago; all else is well."""
    document = yaml.safe_load((GRAFANA / "provisioning/alerting/spanloom.yaml").read_text())
    fires = {}
    for rule in [rule for group in document["groups"] for rule in group["rules"]]:
        (query,) = [each for each in rule["data"] if each["datasourceUid"] == "clickhouse"]
        (threshold,) = [each["model"] for each in rule["data"] if each["datasourceUid"] == "__expr__"]
        view = View(recorded.ended - query["relativeTimeRange"]["from"], recorded.ended)
        found, ((value,),) = columns(client, expand(query["model"]["rawSql"], view))
        assert _NUMBER.match(next(iter(found.values())))
        (condition,) = threshold["conditions"]
        assert condition["evaluator"]["type"] == "gt"
        fires[rule["title"]] = value > condition["evaluator"]["params"][0]
    assert [title for title, fired in fires.items() if fired] == ["SpanloomDeadLetters"]
    assert len(fires) == 4


DOCUMENT = (ROOT / "docs/dashboards.md").read_text()


@pytest.mark.parametrize("sql", re.findall(r"```sql\n(.*?)```", DOCUMENT, re.DOTALL))
def test_the_queries_of_the_document_answer(sql: str, client: Client, recorded: Recorded) -> None:
    assert client.query(expand(sql, View(recorded.begun, recorded.ended))).result_rows


def test_the_document_speaks_of_every_board() -> None:
    sections = re.split(r"^## ", DOCUMENT, flags=re.MULTILINE)[1:]
    for board in BOARDS.values():
        name = board["title"].removeprefix("Spanloom: ").lower()
        (section,) = [text for text in sections if text.lower().startswith(name + "\n")]
        assert "At 3 a.m.: *" in section
        assert "```sql" in section or "Main query" in section


def test_a_link_carries_what_a_person_had_chosen(ask: Ask, recorded: Recorded) -> None:
    """What `:queryparam` makes of a filter is what the board it leads to reads."""
    view = seen(BOARDS["overview"], ask, recorded, tenant="acme")
    assert formatted(view, "tenant", "queryparam") == "var-tenant=acme"
    assert formatted(view, "service", "queryparam") == "var-service=%24__all"
