"""Every example message of every topic that the processors read goes through all of their stages."""

import json
from importlib.resources import files
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from faust.types import TP
from spanloom_processors import dead_letters, emit
from spanloom_processors.alerting import readable
from spanloom_processors.assignment import Assigned
from spanloom_processors.compacted import Record
from spanloom_processors.consumer import Poll
from spanloom_processors.core.alerts.engine import Engine
from spanloom_processors.core.alerts.records import alert_key
from spanloom_processors.core.alerts.rules import Rule, parse
from spanloom_processors.delivery import alertmanager, pagerduty, webhook
from spanloom_processors.delivery.post import encode
from spanloom_processors.delivery.route import Route
from spanloom_processors.metrics import Metrics
from spanloom_processors.spans import Report, Spans
from spanloom_schemas import codec, topics
from spanloom_schemas.frames.splice import Decoded, Message, decode
from spanloom_schemas.prices.book import Book

NOW_MS = 1_795_000_005_000
PARTITION = TP("llm.spans", 0)


def messages(topic: str) -> list[Message]:
    schema = topics.load()[topic].schema
    data = topics.examples(topic)
    assert data, topic
    return [(n, NOW_MS + n * 1000, codec.encode(schema, datum)) for n, datum in enumerate(data)]


def cases(topic: str) -> list[Any]:
    """Each example alone, and all of them together."""
    found = messages(topic)
    alone = [pytest.param([message], id=f"{topic}-{message[0]}") for message in found]
    return [*alone, pytest.param(found, id=f"{topic}-all")]


@pytest.fixture(scope="module")
def book() -> Book:
    return Book.load()


@pytest.fixture(scope="module")
def rules() -> list[Rule]:
    default = files("spanloom_processors") / "rules" / "default.yaml"
    return parse(default.read_text("utf-8"))


def worked(spans: Spans, messages: list[Message]) -> tuple[list[Decoded], list[Report]]:
    """What a worker makes of messages of llm.spans, and of a message a minute later, when everything has closed."""
    offset, log_time, _ = messages[-1]
    after = (offset + 1, log_time + 60_000, codec.encode("span_batch", _hello()))
    reports, decoded = [], []
    spans.assign(PARTITION, Assigned("id", 4, None, 0, 10))
    for each in (messages, [after]):
        read, dead = dead_letters.read("span_batch", each, spans.derive)
        assert not dead
        records = [SimpleNamespace(offset=at, timestamp=time, value=value, key=None) for at, time, value in each]
        spans.fold(Poll(PARTITION, records, each[-1][0] + 1), [derived for _, derived in read])
        reports += list(spans.report(lambda tp, at: None, NOW_MS * 1_000_000))
        decoded += [found for found, _ in read]
    return decoded, reports


def _hello() -> dict[str, Any]:
    return next(batch for batch in topics.examples("llm.spans") if not batch["spans"])


@pytest.mark.parametrize("batch", cases("llm.spans"))
def test_spans_become_panes_and_traces_that_can_be_read_and_are_counted(batch: list[Message], book: Book) -> None:
    decoded, reports = worked(Spans(book), batch)
    spans = pl.concat([found.rows for found in decoded])
    panes, traces = (read_back(reports, *of) for of in ((emit.PANES, "pane_batch"), (emit.TRACES, "trace_batch")))
    newest = panes.rows.sort("spans").unique(["start", *_key(panes)], keep="last") if panes.rows.height else panes.rows
    assert newest["spans"].sum() + reports[-1].emission.duplicates == spans.height
    assert set(traces.rows["trace_id"]) == set(spans["trace_id"])
    metrics = Metrics()
    for found in decoded:
        metrics.read(0, found)
    for report in reports:
        metrics.emitted(report, NOW_MS * 1_000_000)
    metrics.settled(reports)
    assert reports[-1].point is not None


def _key(panes: Decoded) -> list[str]:
    names = ("environment", "service", "kind", "request", "model", "prompt_id", "prompt_version", "tenant")
    return [*names, "experiment", "run_id", "late_offset"]


def read_back(reports: list[Report], topic: str, schema: str) -> Decoded:
    sent = [message.value for report in reports for message in report.messages if message.topic == topic]
    decoded = decode(schema, [(n, NOW_MS, value) for n, value in enumerate(sent)])
    assert not decoded.dead
    return decoded


@pytest.mark.parametrize("batch", cases("llm.panes"))
def test_panes_go_through_the_rule_engine(batch: list[Message], rules: list[Rule]) -> None:
    decoded = decode("pane_batch", batch)
    assert not decoded.dead
    assert decoded.rows.height == sum(len(codec.decode(value)[2]["panes"]) for _, _, value in batch)
    engine = Engine(rules)
    for alert in engine.fold(decoded.headers, decoded.rows):
        codec.encode("alert", dict(alert))
    for hour in engine.closed_hours():
        codec.encode("hour", dict(hour))
    assert engine.safe_offset() == batch[0][0]


@pytest.mark.parametrize("batch", cases("llm.traces"))
def test_traces_go_through_the_rules_about_one_request(batch: list[Message], rules: list[Rule]) -> None:
    decoded = decode("trace_batch", batch)
    assert not decoded.dead
    dear = decoded.rows.filter(pl.col("cost") > 10**9)["trace_id"].to_list()
    alerts = Engine(rules).fold_traces(decoded.headers, decoded.rows)
    assert bool(dear) == bool(alerts)
    assert all(codec.encode("alert", dict(alert)) for alert in alerts)


@pytest.mark.parametrize("batch", cases("llm.samples"))
def test_samples_go_through_the_rules_about_machines(batch: list[Message], rules: list[Rule]) -> None:
    decoded = decode("sample_batch", batch)
    assert not decoded.dead
    assert decoded.rows.height == sum(len(codec.decode(value)[2]["samples"]) for _, _, value in batch)
    engine = Engine([rule._replace(minimum=1) for rule in rules])
    alerts = engine.fold_samples(decoded.headers, decoded.rows)
    assert all(codec.encode("alert", dict(alert)) for alert in alerts)
    point = engine.safe_samples()
    assert point is not None
    assert point.judged == batch[-1][0] + 1


def test_alerts_and_hours_are_taken_back_and_the_engine_goes_on(rules: list[Rule]) -> None:
    alerts, hours = (
        list(readable(of, (Record(at, value) for at, _, value in messages(f"llm.{of}s")))) for of in ("alert", "hour")
    )
    assert (len(alerts), len(hours)) == tuple(len(topics.examples(of)) for of in ("llm.alerts", "llm.hours"))
    engine = Engine(rules)
    engine.restore(alerts, hours, judged=NOW_MS - 60_000)
    decoded = decode("pane_batch", messages("llm.panes"))
    for alert in engine.fold(decoded.headers, decoded.rows):
        codec.encode("alert", dict(alert))
    assert engine.safe() is not None


@pytest.mark.parametrize("alert", topics.examples("llm.alerts"), ids=lambda alert: f"{alert['rule']}-{alert['state']}")
def test_alerts_can_be_told_to_every_kind_of_target(alert: Any) -> None:
    assert alert_key(alert)
    assert json.loads(encode(alertmanager.payload(alert, NOW_MS)))["labels"]["alertname"] == alert["rule"]
    event = json.loads(encode(pagerduty.event(alert, "0" * 32)))
    assert event["dedup_key"] == alert["identity"]
    assert event["event_action"] == ("resolve" if alert["state"] == "resolved" else "trigger")
    assert json.loads(encode(webhook.message(alert)))["alerts"][0]["labels"]["alertname"] == alert["rule"]
    route = Route([])
    route.restore([alert])
    route.deliver(alert, 7)
    assert route.safe_offset() == 8
