"""A group that was over a week ago is forgotten, and its record deleted; nothing else is."""

from typing import Any

import polars as pl
import pytest
from spanloom_processors.alerting import ALERTS, Alerting
from spanloom_processors.compacted import Record
from spanloom_processors.core.alerts import machines, retired
from spanloom_processors.core.alerts.engine import Engine
from spanloom_processors.core.alerts.records import SafePoint, alert_key
from spanloom_processors.core.alerts.retired import KEEP_MS, Retired
from spanloom_processors.core.alerts.rules import parse
from spanloom_processors.emit import Outgoing
from spanloom_schemas import codec
from spanloom_schemas.frames import splice
from spanloom_schemas.frames.splice import Decoded

from tests.processors.alerts.test_machines import T0, Log, story
from tests.processors.alerts.test_requests import RULES as DEAR
from tests.processors.alerts.test_requests import _messages

WEEK_S = KEEP_MS // 1000
SLOW = parse(
    "rules: [{name: Errors, metric: error_rate, group_by: [service], window: 10s, above: 10%, severity: info}]"
)


@pytest.fixture
def underused(default_rules: list[Any]) -> list[Any]:
    return [rule for rule in default_rules if rule.name == "GpuUnderused"]


def test_a_group_that_is_over_is_due_a_week_later_unless_it_began_anew(make_alert: Any) -> None:
    groups = Retired()
    for service, at in (("a", 0), ("b", 0), ("c", 5)):
        groups.note(make_alert("resolved", service, at=at))
    groups.note(make_alert("firing", "b", at=1))
    assert groups.forget(KEEP_MS - 1) == []
    assert [dict(group)["service"] for _, group in groups.forget(KEEP_MS)] == ["a"]
    assert groups.take() == [alert_key(make_alert("resolved", "a", at=0))]
    assert groups.take() == []
    assert len(groups.forget(KEEP_MS + 5)) == 1
    groups.note(make_alert("firing", "c", at=KEEP_MS + 6))  # before anybody took what was due
    assert groups.take() == []


def test_of_groups_of_panes_the_record_is_deleted_a_week_after_the_end(make_log: Any, make_pane: Any) -> None:
    log = make_log()
    log.run(60, lambda start: [make_pane(start, 10, errors=9, service="gone"), make_pane(start, 10, errors=9)])
    log.run(60, lambda start: [make_pane(start, 10), make_pane(start, 10, service="gone")])
    over = len(log.messages)
    log.now += KEEP_MS - 60_000
    log.tick()
    log.run(30, lambda start: [make_pane(start, 10, errors=9)])  # one of them fires again, the other does not
    log.now += 60_000
    log.run(30, lambda start: [make_pane(start, 10, errors=9)])
    engine = Engine(SLOW)
    found = engine.fold(*log.frames(0, over))
    assert [alert["state"] for alert in found].count("resolved") == 2
    assert engine.retired() == []
    again = engine.fold(*log.frames(over))
    assert [alert["state"] for alert in again][:1] == ["firing"]
    gone = [alert for alert in found if {"key": "service", "value": "gone"} in alert["group"]]
    assert engine.retired() == [alert_key(gone[-1])]


def test_a_rule_that_is_no_more_leaves_no_record_for_ever(make_log: Any, make_pane: Any) -> None:
    log = make_log()
    log.run(60, lambda start: [make_pane(start, 10, errors=9)])
    records = log.alerts(SLOW)
    log.run(60, lambda start: [make_pane(start, 10)])
    engine = Engine([])
    engine.restore(records, [])
    (resolved,) = engine.fold(*log.frames())
    log.now += KEEP_MS + 1
    log.tick()
    engine.fold(*log.frames(-1))
    assert engine.retired() == [alert_key(resolved)]


def test_of_dear_requests_each_partition_forgets_by_its_own_clock() -> None:
    engine = Engine(DEAR)
    for partition in (2, 3):
        engine.fold_traces(*_messages((1, [("b", 1.5)]), (62, []), partition=partition))
    assert engine.fold_traces(*_messages((61 + WEEK_S - 1, [("x", 0.1)]), partition=2)) == []
    assert engine.retired() == []
    assert engine.fold_traces(*_messages((62 + WEEK_S, [("x", 0.1)]), partition=2)) == []
    assert len(engine.retired()) == 1
    assert len(engine._requests._states) == 1  # the other partition's
    (fired,) = engine.fold_traces(*_messages((63 + WEEK_S, [("b", 1.5)]), partition=2))
    assert fired["state"] == "firing"


def test_machines_that_come_and_go_leave_nothing_behind(underused: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "KEEP_MS", 300_000)
    monkeypatch.setattr(retired, "KEEP_MS", 600_000)
    log, engine = Log(), Engine(underused)
    for n in range(20):
        log.run(10, **{f"m{n}": lambda _: {"0": 10}})
    log.run(90, last=lambda _: {"0": 90})
    found = log.fold(engine)
    assert len({alert_key(alert) for alert in found}) == 20
    state = engine._machines
    assert [len(kept) for kept in (state._states, state._heard, state._panes)] == [0, 1, 1]
    assert sorted(engine.retired()) == sorted({alert_key(alert) for alert in found})


@pytest.mark.parametrize("deleted", [True, False], ids=["compacted", "not yet compacted"])
def test_what_was_forgotten_changes_nothing_that_a_restart_says(
    underused: list[Any], monkeypatch: pytest.MonkeyPatch, deleted: bool
) -> None:
    monkeypatch.setattr(machines, "KEEP_MS", 300_000)
    monkeypatch.setattr(retired, "KEEP_MS", 400_000)
    log = story()
    live = log.fold(Engine(underused))
    keys = 0
    for stop in range(1, len(log.messages), 17):
        first = Engine(underused)
        records = log.fold(first, 0, stop)
        gone = set(first.retired())
        keys += len(gone)
        kept = [record for record in records if not deleted or alert_key(record) not in gone]
        point, again = first.safe_samples(), Engine(underused)
        assert point is not None
        again.restore(kept, [])
        again.resume_samples(SafePoint.judged_from(point.metadata()))
        assert records + log.fold(again, point.offset) == live
    assert keys > 0


def test_the_alert_stage_deletes_it_with_a_tombstone_behind_what_it_says(make_alert: Any) -> None:
    over = make_alert("resolved", "chat", at=T0)
    alerting = Alerting(SLOW)
    alerting.restore([Record(0, codec.encode("alert", dict(over)))], [], {})
    header = {"topic": "", "topic_id": "", "partition": -1, "partitions": 0, "revision": 0, "log_clock": 0}
    tick = codec.encode(
        "pane_batch", header | {"progress": 0, "next_offset": 0, "sent": 0, "overflow": [], "panes": []}
    )
    said = alerting.fold_panes(splice.decode("pane_batch", [(0, T0 + KEEP_MS, tick)]))
    assert said == [Outgoing(ALERTS, 0, alert_key(over), None)]
    assert alerting.fold_panes(splice.decode("pane_batch", [(1, T0 + KEEP_MS, tick)])) == []
    assert alerting.fold_traces(Decoded(rows=pl.DataFrame(), headers=pl.DataFrame(), dead=[])) == []


def test_more_machines_than_are_told_apart_are_counted(underused: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "GROUPS", 2)
    log, alerting = Log(), Alerting(underused)
    log.run(3, a=lambda _: {"0": 90, "1": 90}, b=lambda _: {"0": 90, "1": 90})
    alerting.fold_samples(splice.decode("sample_batch", log.messages))
    assert alerting.engine.moved() == 6
    assert alerting.overflow() == {"alert_rows": 6}
