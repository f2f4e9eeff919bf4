"""The parts of the demo. The whole of it is `make demo` itself."""

import json
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest
from spanloom_processors.core.alerts import rules
from spanloom_stack.demo import checks, incidents, live, pager, run
from spanloom_stack.demo.reading import Load, Pane

NOW = 1_790_000_000.0


def posted(**facts) -> bytes:
    return json.dumps([{"labels": {"alertname": "Slow"}} | facts]).encode()


def moment(seconds: float) -> str:
    return (datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=seconds)).isoformat()


def test_every_incident_has_a_rule_and_every_rule_an_incident():
    names = {rule.name for rule in rules.parse(run.RULES.read_text())}
    assert names == {incident.rule for incident in incidents.INCIDENTS}


def test_the_pager_remembers_when_an_alert_first_fired():
    paged = pager.Pager()
    assert paged.take(posted(startsAt=moment(-9), endsAt=moment(60)), NOW) is None
    assert paged.take(posted(startsAt=moment(-9), endsAt=moment(90)), NOW + 30) is None
    assert paged.first("Slow").at == NOW
    assert paged.first("Other") is None


@pytest.mark.parametrize(
    "body",
    [
        b"[",
        b"{}",
        posted(labels={}),
        posted(labels={"alertname": ""}),
        posted(labels={"alertname": "Slow", "n": 1}),
        posted(severity="critical"),
        posted(startsAt="yesterday"),
        posted(startsAt="2026-01-02T03:04:05"),
        posted(startsAt=moment(0), endsAt=moment(-1)),
        posted(annotations={"": "x"}),
    ],
)
def test_the_pager_refuses_what_alertmanager_would(body):
    paged = pager.Pager()
    assert paged.take(body, NOW)
    assert paged.arrivals == []


def test_the_pager_takes_the_valid_alerts_of_a_request_that_it_refuses():
    paged = pager.Pager()
    assert paged.take(json.dumps([{"labels": {}}, {"labels": {"alertname": "Slow"}}]).encode(), NOW)
    assert [one.alert.labels for one in paged.arrivals] == [{"alertname": "Slow"}]


def test_the_pager_answers_over_http():
    with pager.running() as (paged, url):
        request = urllib.request.Request(f"{url}/api/v2/alerts", posted(), {"Content-Type": "application/json"})
        assert urllib.request.urlopen(request).status == 200
        active = json.load(urllib.request.urlopen(f"{url}/api/v2/alerts"))
        assert [one["labels"] for one in active] == [{"alertname": "Slow"}]
        plain = urllib.request.Request(f"{url}/api/v2/alerts", posted(), {"Content-Type": "text/plain"})
        with pytest.raises(urllib.error.HTTPError, match="415"):
            urllib.request.urlopen(plain)
        assert len(paged.arrivals) == 1


def test_a_page_that_is_sent_again_is_no_news_but_its_end_is():
    paged = pager.Pager()
    for at, ends in ((0, 60), (30, 90), (50, 40), (60, 40)):
        paged.take(posted(startsAt=moment(-9), endsAt=moment(ends)), NOW + at)
    assert [(one.at - NOW, one.firing) for one in live.changes(paged.arrivals)] == [(0, True), (50, False)]


def test_a_page_that_fires_names_the_command_that_explains_its_worst_trace():
    paged = pager.Pager()
    notes = {"summary": "slow", "trace_ids": "ab,cd"}
    for ends in (60, -1):
        paged.take(posted(startsAt=moment(-9), endsAt=moment(ends), annotations=notes), NOW)
    fires, over = (live.page(one).plain for one in live.changes(paged.arrivals))
    assert fires.splitlines()[1].split() == ["spanloom", "explain", "ab"]
    assert "explain" not in over


def test_exact_quantiles_are_values_that_were_there():
    values = [("a", value) for value in (40, 10, 20, 30)] + [("b", 7)]
    assert checks.exact_quantiles(values) == {
        "a": {"p50_ms": 20, "p95_ms": 40, "p99_ms": 40},
        "b": {"p50_ms": 7, "p95_ms": 7, "p99_ms": 7},
    }


def test_the_load_is_read_line_by_line_as_it_is_written(tmp_path):
    load = Load(tmp_path / "load.log")
    said = [
        {"at": 1000, "event": "begins", "incident": "slow_retrieval", "done": {"answered": 1}},
        {"at": 2000, "event": "is over", "incident": "slow_retrieval", "done": {"answered": 2}},
        {"at": 3000, "event": "ended", "incident": None, "done": {"answered": 3}},
    ]
    text = "a warning\n" + "".join(json.dumps(one) + "\n" for one in said)
    for end in (20, len(text) - 5, len(text)):
        load.log.write_text(text[:end])
        load.update()
        assert load.ended is (end == len(text))
    assert (load.begun, load.over, load.done) == ({"slow_retrieval": 1.0}, {"slow_retrieval": 2.0}, {"answered": 3})


def test_a_spark_reaches_from_zero_to_the_highest():
    assert live.spark([0, 1, 8]) == "▁▂█"
    assert live.spark([]) == ""


@pytest.mark.parametrize(
    ("dollars", "unpriced", "said"), [(0.0, 0, "$0.000"), (None, 2, "unknown"), (1.25, 1, "≥ $1.250")]
)
def test_an_unknown_cost_is_not_shown_as_zero(dollars, unpriced, said):
    shown = live._rows([Pane(0, 1.0, 2.0, dollars, unpriced, 3, None)])
    assert [text for name, text, _ in shown if name == "cost/min"] == [said]
