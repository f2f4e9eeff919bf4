"""The boards as files: current, valid by Grafana's own schema, in words for who is on call; no link leads nowhere."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import yaml
from spanloom_boards.__main__ import FOLDER, written
from spanloom_boards.hosts import REASONS
from spanloom_boards.sql import FILTERS
from spanloom_boards.testing import targets
from spanloom_processors.core.alerts.rules import Above, Band, Below, Budget, parse
from spanloom_schemas import drops
from spanloom_sinks.settings import RetentionSettings

from tests.dashboards.boards import schema

ROOT = Path(__file__).parents[3]
PROVISIONING = ROOT / "dashboards" / "grafana" / "provisioning"
BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
BY_UID = {board["uid"]: board for board in BOARDS.values()}
BUILT_IN = {"__url_time_range", "__value.raw"}
RULES = parse((ROOT / "processors/spanloom_processors/rules/default.yaml").read_text())


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


OF_CLICKHOUSE = [
    (board, panel)
    for board in BOARDS.values()
    for panel in panels(board)
    if panel["datasource"]["type"] != "prometheus"
]


def links(panel: dict[str, Any]) -> list[dict[str, Any]]:
    found = list(panel["fieldConfig"]["defaults"].get("links", ()))
    for override in panel["fieldConfig"]["overrides"]:
        found += [link for each in override["properties"] if each["id"] == "links" for link in each["value"]]
    return found


def test_the_committed_files_are_what_the_code_makes() -> None:
    assert written() == {path.name: path.read_text() for path in FOLDER.iterdir()}, "run: make boards"


@pytest.mark.parametrize("name", BOARDS)
def test_a_board_is_valid_by_grafanas_own_schema(name: str) -> None:
    assert schema.unknown(BOARDS[name]) == []
    assert list(schema.mistyped(schema.read(BOARDS[name]))) == []


def test_the_schema_finds_what_is_wrong() -> None:
    board = json.loads(json.dumps(BOARDS["overview"]))
    board["graphTooltip"] = 9
    board["panels"][1]["options"]["colour"] = "red"
    board["panels"][2]["fieldConfig"]["defaults"]["unit"] = 5
    assert schema.unknown(board) == [".panels.options.colour"]
    assert [each.split(":")[0] for each in schema.mistyped(schema.read(board))] == [
        *(".graph_tooltip", ".panels.field_config.defaults.unit"),
    ]


@pytest.mark.parametrize("name", BOARDS)
def test_a_board_can_be_provisioned(name: str) -> None:
    board = BOARDS[name]
    assert board["uid"] == f"spanloom-{name}"
    assert board["schemaVersion"] == 39
    assert not {"id", "__inputs", "__requires"} & board.keys()
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    kinds = {variable["name"]: variable["query"] for variable in board["templating"]["list"]}
    wanted = {target["datasource"]["uid"]: target["datasource"]["type"] for _, target in targets(board)}
    assert all(kinds[uid.strip("${}")] == plugin for uid, plugin in wanted.items())


@pytest.mark.parametrize("name", BOARDS)
def test_panels_do_not_overlap_and_leave_no_gap(name: str) -> None:
    cells: set[tuple[int, int]] = set()
    for panel in BOARDS[name]["panels"]:
        place = panel["gridPos"]
        own = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not own & cells
        cells |= own
    assert cells == {(x, y) for x in range(24) for y in range(len(cells) // 24)}


@pytest.mark.parametrize("name", BOARDS)
def test_every_panel_has_a_unit_thresholds_and_words_for_who_is_on_call(name: str) -> None:
    titles = [panel["title"] for panel in panels(BOARDS[name])]
    assert len(titles) == len(set(titles))
    for panel in panels(BOARDS[name]):
        defaults = panel["fieldConfig"]["defaults"]
        said = [defaults["unit"]]
        said += [
            each["value"]
            for override in panel["fieldConfig"]["overrides"]
            for each in override["properties"]
            if each["id"] == "unit"
        ]
        assert all(unit in schema.UNITS or unit.startswith("suffix:") for unit in said), panel["title"]
        assert defaults["thresholds"]["steps"][0]["value"] is None
        assert "green" in {step["color"] for step in defaults["thresholds"]["steps"]}
        about = panel["description"]
        assert len(about.split()) >= 4, panel["title"]
        assert about.endswith("."), panel["title"]
        assert not re.search(r"panes?_1|rolled_up|\bsum\(|SELECT", about), panel["title"]


def test_thresholds_are_those_of_the_default_rules() -> None:
    """The limit of each rule that has a fixed one is where some panel changes its colour to that of its severity."""
    colours = {"warning": "orange", "critical": "red"}
    steps = {
        (step["color"], step["value"])
        for board in BOARDS.values()
        for step in re.findall(r'"steps": (\[.*?\])', json.dumps(board))
        for step in json.loads(step)
    }
    fixed = [rule for rule in RULES if isinstance(rule.condition, Above | Budget)]
    assert len(fixed) > 8
    for rule in fixed:
        scale = 1000 if rule.metric.unit == "seconds" else 1
        assert (colours[rule.severity], rule.condition.limit * scale) in steps, rule.name  # type: ignore[union-attr]
    (below,) = [rule for rule in RULES if isinstance(rule.condition, Below)]
    assert ("green", below.condition.limit) in steps  # type: ignore[union-attr]
    assert (colours[below.severity], None) in steps
    text = json.dumps(BOARDS["overview"])
    (width,) = [
        r.condition.width for r in RULES if isinstance(r.condition, Band) and r.metric.name == "cost_per_minute"
    ]
    assert f"middle + {width} * deviation" in text


@pytest.mark.parametrize(("board", "panel"), OF_CLICKHOUSE, ids=lambda each: each["title"])
def test_a_panel_that_does_not_see_all_of_a_long_range_says_so(board: dict[str, Any], panel: dict[str, Any]) -> None:
    """Raw spans live a week, traces 90 days; roll-ups, and messages, longer."""
    kept = RetentionSettings()
    assert (kept.keep_spans_days, kept.keep_traces_days) == (7, 90)
    asked = " ".join(target["rawSql"] for target in panel["targets"])
    if re.search(r"\bspans AS|\botel_traces\b", asked):
        assert "a week" in panel["description"]
    if "trace_summaries" in asked:
        assert "90 days" in panel["description"]


def test_every_reason_for_which_a_producer_drops_spans_is_explained() -> None:
    assert REASONS.keys() == set(drops.REASONS)
    (panel,) = [panel for _, panel in OF_CLICKHOUSE if panel["title"] == "Spans that producers dropped"]
    assert all(f"{reason}: {why}" in panel["description"] for reason, why in REASONS.items())


def test_of_a_limit_that_a_rule_learns_the_overview_asks_the_rule() -> None:
    """There it turns the rule's colour where the rule fires."""
    learnt = {rule.name: rule for rule in RULES if isinstance(rule.condition, Band)}
    shown = {
        override["matcher"]["options"]: {each["id"]: each["value"] for each in override["properties"]}
        for panel in panels(BOARDS["overview"])
        for override in panel["fieldConfig"]["overrides"]
        if override["matcher"]["options"] in learnt
    }
    assert shown.keys() == learnt.keys()
    colours = {"warning": "orange", "critical": "red"}
    for name, said in shown.items():
        assert said["thresholds"]["steps"][1] == {"color": colours[learnt[name].severity], "value": 1}


@pytest.mark.parametrize(("board", "panel"), OF_CLICKHOUSE, ids=lambda each: each["title"])
def test_a_panel_leads_to_the_traces_behind_it(board: dict[str, Any], panel: dict[str, Any]) -> None:
    if panel["type"] == "traces":
        return
    found = links(panel)
    assert found
    elsewhere = {
        "Age of the data",
        "Firing",
        "Dead letters",
        "What the tables hold",
    }  # there are no traces behind these
    assert panel["title"] in elsewhere or any(link["url"].startswith("/d/spanloom-traces?") for link in found)


@pytest.mark.parametrize(("board", "panel"), OF_CLICKHOUSE, ids=lambda each: each["title"])
def test_every_link_of_a_panel_leads_to_a_board_that_takes_what_it_carries(
    board: dict[str, Any], panel: dict[str, Any]
) -> None:
    own = {variable["name"] for variable in board["templating"]["list"]}
    query = panel["targets"][0]["rawSql"]
    for link in links(panel):
        parts = urlsplit(link["url"])
        assert parts.path.startswith("/d/")
        target = BY_UID[parts.path.removeprefix("/d/")]
        taken = {variable["name"]: variable for variable in target["templating"]["list"]}
        for used in re.findall(r"\$\{([^}]+)\}", link["url"]):
            name, _, form = used.partition(":")
            if form == "queryparam":
                assert name in own & taken.keys()
            elif name.startswith("__data.fields."):
                assert re.search(rf" AS {name.removeprefix('__data.fields.')}\b", query), used
            elif name.startswith("__field.labels."):
                assert re.search(rf" AS {name.removeprefix('__field.labels.')}\b", query), used
            else:
                assert name in BUILT_IN | own, used
        for key, value in parse_qsl(parts.query):
            for name in chosen(board, key.removeprefix("var-")) if key.startswith("var-") else ():
                variable = taken[name]
                fixed = {option["value"] for option in variable["options"]} if variable["type"] == "custom" else {value}
                assert value in fixed | {"${view}"}


def chosen(board: dict[str, Any], text: str) -> list[str]:
    """What a text may be that is a choice of the board's."""
    for variable in board["templating"]["list"]:
        if text == f"${{{variable['name']}}}":
            return [option["value"] for option in variable["options"]]
    return [text]


@pytest.mark.parametrize("name", BOARDS)
def test_boards_lead_to_each_other_and_to_the_saved_views(name: str) -> None:
    board = BOARDS[name]
    lists = [link for link in board["links"] if link["type"] == "dashboards"]
    assert all(set(link["tags"]) <= set(other["tags"]) for link in lists for other in BOARDS.values())
    assert lists
    views = [link for link in board["links"] if link["type"] == "link"]
    assert [link["title"] for link in views] == (
        ["High-cost prompts", "Slow queries", "Safety blocks spike"] if name != "prometheus" else []
    )
    for link in views:
        parts = urlsplit(link["url"])
        (view,) = [v for v in BY_UID[parts.path.removeprefix("/d/")]["templating"]["list"] if v["name"] == "view"]
        option = dict(parse_qsl(parts.query))["var-view"]
        assert {"text": link["title"], "value": option} in [
            {k: o[k] for k in ("text", "value")} for o in view["options"]
        ]


def test_every_board_but_alerts_and_that_of_prometheus_shows_alerts_and_has_the_filters() -> None:
    shown = {name for name, board in BOARDS.items() if board["annotations"]["list"]}
    filtered = {
        name for name, board in BOARDS.items() if {v["name"] for v in board["templating"]["list"]} >= {*FILTERS}
    }
    assert shown == filtered == BOARDS.keys() - {"alerts", "prometheus"}


_KNOWS_NO = {
    "batches": {"tenant"}, "ledger": {"tenant"}, "samples": {"service", "tenant"},
    "dead_letters": {*FILTERS}, "parts": {*FILTERS}, "otel_traces": {*FILTERS},
}  # fmt: skip
"""Filters that a table has no column for; of one trace there is nothing to be filtered."""
_BUDGETS = {"Spent today (UTC)", "Spent this month (UTC)", "Spend of the month, added up"}  # as the rules count them


@pytest.mark.parametrize(("board", "panel"), OF_CLICKHOUSE, ids=lambda each: each["title"])
def test_a_panel_is_of_what_the_filters_leave(board: dict[str, Any], panel: dict[str, Any]) -> None:
    if board["uid"] == "spanloom-alerts":
        return
    (asked,) = [target["rawSql"] for target in panel["targets"]]
    unknown = [_KNOWS_NO.get(table, set()) for table in re.findall(r"FROM (?:system\.)?(\w+)", asked)]
    ignored = {name for name in FILTERS if f"${{{name}:" not in asked}
    assert ignored <= ({"service", "tenant"} if panel["title"] in _BUDGETS else set().union(*unknown))


def provisioned(kind: str) -> Any:
    return yaml.safe_load((PROVISIONING / kind / "spanloom.yaml").read_text())


def test_provisioning_mounts_the_boards_and_names_data_sources_that_exist() -> None:
    services = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
    mounted = dict(volume.split(":")[:2] for volume in services["grafana"]["volumes"])
    inside = {target: (ROOT / "deploy" / source).resolve() for source, target in mounted.items() if "/" in source}
    (provider,) = provisioned("dashboards")["providers"]
    assert inside[provider["options"]["path"]] == FOLDER
    assert inside["/etc/grafana/provisioning"] == PROVISIONING
    sources = {source["uid"]: source["type"] for source in provisioned("datasources")["datasources"]}
    used = {target["datasource"]["type"] for board in BOARDS.values() for _, target in targets(board)}
    assert used == set(sources.values())
    for group in provisioned("alerting")["groups"]:
        for rule in group["rules"]:
            assert {query["datasourceUid"] for query in rule["data"]} <= {*sources, "__expr__"}


# Grafana's documented file of alert rules (docs: alerting, provision by file), as far as it is used here.
_GROUP = {"orgId", "name", "folder", "interval", "rules"}
_RULE = {
    *("uid", "title", "condition", "for", "data", "noDataState", "execErrState", "dashboardUid", "labels"),
    "annotations",
}


def test_alert_rules_have_what_grafana_asks_for_and_no_other_keys() -> None:
    titles = []
    for group in provisioned("alerting")["groups"]:
        assert group.keys() == _GROUP
        for rule in group["rules"]:
            assert rule.keys() == _RULE
            assert re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", rule["uid"])
            assert rule["noDataState"] in {"Alerting", "NoData", "OK"}
            assert rule["execErrState"] in {"Alerting", "Error", "OK"}
            assert rule["dashboardUid"] in BY_UID
            refs = {query["refId"] for query in rule["data"]}
            assert rule["condition"] in refs
            assert all(query["model"]["refId"] == query["refId"] for query in rule["data"])
            assert all(query["model"].get("expression", rule["condition"]) in refs for query in rule["data"])
            titles.append(rule["title"])
    assert len(titles) == len(set(titles)) > 0


def test_the_document_speaks_of_every_board() -> None:
    sections = re.split(r"^## ", (ROOT / "docs/dashboards.md").read_text(), flags=re.MULTILINE)[1:]
    for board in BOARDS.values():
        name = board["title"].removeprefix("Spanloom: ").lower()
        (section,) = [text for text in sections if text.lower().startswith(name + "\n")]
        assert "At 3 a.m.: *" in section
        assert "```sql" in section or "Main query" in section
