"""What the engine leaves out or puts together is counted."""

from typing import Any

import pytest
from prometheus_client import generate_latest
from spanloom_processors.core.alerts import versions, windows
from spanloom_processors.core.alerts.engine import Engine
from spanloom_processors.core.alerts.rules import parse
from spanloom_processors.metrics import Metrics

BEGIN = 1_790_000_000_000 // 3_600_000 * 3_600_000
RULES = parse("""
rules:
  - {name: Slow, metric: request_p95, group_by: [service], window: 20s, above: 1s, severity: info}
""")


def ignored(log: Any) -> dict[str, int]:
    engine = Engine(RULES)
    engine.fold(*log.frames())
    return {reason: rows for reason, rows in engine.ignored().items() if rows}


def test_a_row_that_changes_no_sum_is_counted_by_its_reason(make_log: Any, make_pane: Any) -> None:
    log = make_log(BEGIN)
    log.send([make_pane(BEGIN, 3), make_pane(BEGIN - 60_000, 1, late_offset=0)])
    assert ignored(log) == {}
    log.send([make_pane(BEGIN, 2), make_pane(BEGIN, 3), make_pane(BEGIN - 60_000, 1, late_offset=0)])
    assert ignored(log) == {"replaced": 2, "late_again": 1}
    log.send([make_pane(BEGIN + 70_000)])
    assert ignored(log) == {"replaced": 2, "late_again": 1, "too_new": 1}
    log.run(2 * 3600, step=60)
    log.send([make_pane(BEGIN)])
    assert ignored(log) == {"replaced": 2, "late_again": 1, "too_new": 1, "too_old": 1}


def test_rows_of_groups_past_the_cap_are_counted(
    make_log: Any, make_pane: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "GROUPS", 2)
    log = make_log(BEGIN)
    log.send([make_pane(BEGIN, service=service) for service in "abcda"])
    engine = Engine(RULES)
    engine.fold(*log.frames())
    assert engine.moved() == 2
    metrics = Metrics()
    metrics.judged(engine)
    metrics.judged(engine)
    told = generate_latest(metrics.registry).decode().splitlines()
    assert "spanloom_alert_overflow_rows_total 2.0" in told
    assert 'spanloom_ignored_rows_total{reason="replaced"} 1.0' in told


def test_keys_of_an_hour_past_the_cap_are_one_record_and_no_span_is_lost(
    make_log: Any, make_pane: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "HOUR_KEYS", 3)
    log = make_log(BEGIN)
    log.send([make_pane(BEGIN, 2, tenant=f"{n}") for n in range(5)])
    log.send([make_pane(BEGIN, 3, tenant=f"{n}") for n in range(10)])  # the first five have grown
    log.run(2 * 3600, step=60)
    engine = Engine(RULES)
    engine.fold(*log.frames())
    found = {hour["tenant"]: hour["spans"] for hour in engine.closed_hours() if hour["start"] == BEGIN}
    assert found == {"0": 3, "1": 3, "2": 3, "other": 21}
    assert engine.moved() == 9


def test_of_a_flood_of_late_rows_all_are_counted_and_few_are_kept(
    make_log: Any, make_pane: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "ARRIVED", 5)
    counting = parse("""
rules:
  - {name: Many, metric: spans, group_by: [service], window: 10s, above: 99, severity: info}
""")
    log = make_log(BEGIN)
    log.send([make_pane(BEGIN - 600_000, 1, tenant=f"{n}", late_offset=0) for n in range(100)])
    engine = Engine(counting)
    (alert,) = engine.fold(*log.frames())
    assert (alert["state"], alert["value"]) == ("firing", 100.0)
    assert engine.moved() == 95
    assert sum(map(len, engine._versions._arrived.values())) == 5
    log.run(60)
    engine.fold(*log.frames(1))
    assert engine._versions._arrived == {}
