"""Whatever valid Avro says, every stage that reads it goes on: what it cannot use is a dead letter, with its reason."""

from importlib.resources import files
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP
from hypothesis import given, settings
from hypothesis import strategies as st
from spanloom_processors import dead_letters, emit
from spanloom_processors.alerting import Alerting
from spanloom_processors.assignment import Assigned
from spanloom_processors.compacted import Record
from spanloom_processors.consumer import Poll
from spanloom_processors.core.alerts.records import SafePoint
from spanloom_processors.core.alerts.rules import parse
from spanloom_processors.delivery import alertmanager, pagerduty, webhook
from spanloom_processors.delivery.post import encode
from spanloom_processors.delivery.route import Route
from spanloom_processors.notifying import ALERTS_TP, Notifying
from spanloom_processors.spans import Spans
from spanloom_schemas import codec, topics
from spanloom_schemas.prices.book import Book

from tests.absurd import NOW_MS, messages

METADATA_BYTES = 4096
"""What Kafka takes beside a commit: a point that says more is refused for ever."""
DEFAULT = (files("spanloom_processors") / "rules" / "default.yaml").read_text("utf-8")
RULES = [rule._replace(minimum=1) for rule in parse(DEFAULT)]
pytestmark = pytest.mark.timeout(120)


def examples(topic: str) -> list[bytes]:
    return [codec.encode(topics.load()[topic].schema, datum) for datum in topics.examples(topic)]


SPANS, PANES, TRACES, SAMPLES = (examples(f"llm.{name}") for name in ("spans", "panes", "traces", "samples"))
BOOK = Book.load()
TICK = emit.tick(NOW_MS).value


def fold(alerting: Alerting, topic: str, *values: bytes, now: int = NOW_MS, first: int = 0) -> None:
    """Fold messages as a worker does."""
    numbered = [(first + n, now + n, value) for n, value in enumerate(values)]
    schema, of = topics.load()[topic].schema, topic.removeprefix("llm.")
    for decoded, _ in dead_letters.read(schema, numbered, lambda decoded: None)[0]:
        getattr(alerting, f"fold_{of}")(decoded)


def go_on(alerting: Alerting) -> None:
    """What a worker does all the time: good messages come, or none, and it commits."""
    for turn in range(2):
        now = NOW_MS + turn * 40_000
        fold(alerting, "llm.panes", *PANES, TICK, now=now, first=turn * 100)
        fold(alerting, "llm.traces", *TRACES, now=now, first=turn * 100)
        fold(alerting, "llm.samples", *SAMPLES, now=now, first=turn * 100)
        alerting.idle_traces(0, now)
        alerting.idle_samples(now)
    point, safe = alerting.point(), alerting.engine.safe()
    assert point is not None
    assert safe is not None
    assert SafePoint.judged_from(point.metadata) == safe.judged
    for said in (point, alerting.samples_point(), alerting.traces_point(0, 7)):
        assert said is not None
        assert len(said.metadata.encode()) < METADATA_BYTES


@settings(max_examples=25)
@given(values=st.lists(messages("llm.spans"), min_size=1, max_size=3))
def test_any_message_of_spans_is_folded_or_a_dead_letter(values: list[bytes]) -> None:
    spans, tp = Spans(BOOK), TP("llm.spans", 0)
    spans.assign(tp, Assigned("id", 1, None, 0, 100))
    for offset, value in enumerate([*values, SPANS[0]]):
        poll = Poll(tp, [SimpleNamespace(offset=offset, timestamp=NOW_MS + offset, value=value, key=None)], offset + 1)
        for decoded, derived in dead_letters.read("span_batch", poll.unfolded, spans.derive)[0]:
            spans.fold(poll, [derived])
            spans.hear(tp, decoded.headers)
    (report,) = spans.report(lambda tp, offset: NOW_MS * 2, NOW_MS * 1_000_000)
    assert report.point is not None
    assert len(report.point.metadata.encode()) < METADATA_BYTES


@settings(max_examples=25)
@given(value=messages("llm.panes"))
def test_any_message_of_panes_is_folded_or_a_dead_letter(value: bytes) -> None:
    alerting = Alerting(RULES)
    for turn in range(2):
        fold(alerting, "llm.panes", PANES[0], value, TICK, now=NOW_MS + turn * 20_000, first=turn * 10)
    go_on(alerting)


@settings(max_examples=25)
@given(value=messages("llm.traces"))
def test_any_message_of_traces_is_folded_or_a_dead_letter(value: bytes) -> None:
    alerting = Alerting(RULES)
    fold(alerting, "llm.traces", value)
    go_on(alerting)


@settings(max_examples=25)
@given(value=messages("llm.samples"))
def test_any_message_of_samples_is_folded_or_a_dead_letter(value: bytes) -> None:
    alerting = Alerting(RULES)
    fold(alerting, "llm.samples", value)
    go_on(alerting)


@settings(max_examples=25)
@given(value=messages("llm.alerts"))
def test_any_record_of_alerts_is_told_and_taken_back_or_a_dead_letter(value: bytes) -> None:
    route = Route([])
    record = SimpleNamespace(offset=3, timestamp=NOW_MS, value=value, key=None)
    alerts, dead = Notifying(lambda: route).readable(Poll(ALERTS_TP, [record], 4))
    assert len(alerts) + len(dead) == 1
    for offset, alert in alerts:
        tellers: Any = (lambda a: alertmanager.payload(a, NOW_MS), lambda a: pagerduty.event(a, "0" * 32))
        assert all(encode(tell(alert)) for tell in (*tellers, webhook.message))
        route.restore([alert])
        route.deliver(alert, offset)
    alerting = Alerting(RULES)
    alerting.restore([Record(3, value)], [], {})
    go_on(alerting)


@settings(max_examples=25)
@given(value=messages("llm.hours"))
def test_any_record_of_hours_is_taken_back_or_left_out(value: bytes) -> None:
    alerting = Alerting(RULES)
    alerting.restore([], [Record(3, value)], {})
    go_on(alerting)


def test_a_message_of_another_topic_is_no_alert() -> None:
    record = SimpleNamespace(offset=3, timestamp=NOW_MS, value=examples("llm.hours")[0], key=None)
    alerts, dead = Notifying(lambda: Route([])).readable(Poll(ALERTS_TP, [record], 4))
    assert (alerts, [each.reason for each in dead]) == ([], ["unknown_schema"])


def test_progress_in_the_next_century_judges_a_minute_ahead_and_no_further() -> None:
    source = next(datum for datum in topics.examples("llm.panes") if datum["partition"] >= 0)
    alone = codec.encode("pane_batch", {**source, "partition": 0, "partitions": 1, "progress": 4 * 10**12})
    alerting = Alerting(RULES)
    fold(alerting, "llm.panes", alone)
    safe = alerting.engine.safe()
    assert safe is not None
    assert NOW_MS < safe.judged <= NOW_MS + 60_000


def test_an_alert_with_other_labels_than_its_rule_has_is_over() -> None:
    """Its rule was changed, or somebody made it up."""
    firing = next(alert for alert in topics.examples("llm.alerts") if alert["state"] == "firing")
    dear = next(rule for rule in RULES if rule.metric.name == "trace_cost")
    made_up = [codec.encode("alert", {**firing, "rule": rule.name, "group": []}) for rule in (dear, RULES[0])]
    alerting = Alerting(RULES)
    alerting.restore([Record(n, value) for n, value in enumerate(made_up)], [], {})
    alerting.idle_traces(0, NOW_MS * 2)
    said: list[bytes] = []
    for turn in range(5):
        tick = dead_letters.read("pane_batch", [(turn, NOW_MS + turn * 2_000, TICK)], lambda decoded: None)[0]
        said += [message.value for decoded, _ in tick for message in alerting.fold_panes(decoded)]
    for turn in range(30):
        tick = dead_letters.read("pane_batch", [(9 + turn, NOW_MS + 8_000 + turn * 2_000, TICK)], lambda decoded: None)
        said += [message.value for decoded, _ in tick[0] for message in alerting.fold_panes(decoded)]
    resolved = [codec.decode(value)[2] for value in said]
    assert {(alert["rule"], alert["state"]) for alert in resolved} == {
        (dear.name, "resolved"),
        (RULES[0].name, "resolved"),
    }
