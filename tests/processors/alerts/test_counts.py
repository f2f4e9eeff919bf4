"""What the engine leaves out or puts together is counted."""

from typing import Any

import pytest
from prometheus_client import generate_latest
from spanloom_processors.core.alerts import windows
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
