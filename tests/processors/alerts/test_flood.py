"""A flood of names: rows are kept of the panes that may still change, whatever came before, and no sum is wrong."""

from typing import Any

from spanloom_processors.core.alerts.engine import Engine
from spanloom_processors.core.alerts.rules import parse

BEGIN = 1_790_000_000_000 // 3_600_000 * 3_600_000
RULES = parse("""
rules:
  - {name: Slow, metric: request_p95, group_by: [service], window: 5m, above: 1s, severity: info}
  - {name: Day, metric: cost, group_by: [tenant], budget: {period: day, limit: $1000}, severity: info}
""")
NAMES = 50


def kept(engine: Engine) -> int:
    return sum(len(pane.rows) for panes in engine._versions._panes.values() for pane in panes.values())


def test_a_flood_of_names_keeps_rows_of_a_few_panes_only_and_the_hour_is_exact(make_log: Any, make_pane: Any) -> None:
    log = make_log(BEGIN)
    names = iter(range(10**9))
    log.run(3600, lambda start: [make_pane(start, 2, tenant=f"{next(names)}", cost=3) for _ in range(NAMES)])
    engine = Engine(RULES)
    most = 0
    for at in range(len(log.messages)):
        engine.fold(*log.frames(at, at + 1))
        most = max(most, kept(engine))
    assert 0 < most <= 5 * NAMES
    log.run(20)
    engine.fold(*log.frames(360))
    hours = engine.closed_hours()
    assert sum(hour["spans"] for hour in hours) == 360 * NAMES * 2
    assert sum(hour["cost"] for hour in hours) == 360 * NAMES * 3


def test_late_rows_are_kept_while_more_arrive_with_them(make_log: Any, make_pane: Any) -> None:
    log = make_log(BEGIN)
    log.send([make_pane(BEGIN - 600_000, 1, tenant=f"{n}", late_offset=0) for n in range(NAMES)])
    engine = Engine(RULES)
    engine.fold(*log.frames())
    assert sum(map(len, engine._versions._arrived.values())) == NAMES
    log.run(10)
    engine.fold(*log.frames(1))
    assert engine._versions._arrived == {}


def test_a_pane_keeps_its_rows_until_all_of_the_emission_that_closed_it_was_read(make_log: Any, make_pane: Any) -> None:
    log = make_log(BEGIN)
    log.send([make_pane(BEGIN, 1, tenant="a")])
    log.now += 600_000
    log.send([make_pane(BEGIN, 2, tenant="a")], progress=log.now - 1)  # the first part of two
    log.send([make_pane(BEGIN, 2, tenant="b")])
    log.send([make_pane(BEGIN, 1, tenant="a")])  # a replay
    engine = Engine(RULES)
    engine.fold(*log.frames(0, 2))
    assert kept(engine) == 1
    engine.fold(*log.frames(2))
    assert kept(engine) == 0
    assert {reason: rows for reason, rows in engine.ignored().items() if rows} == {"told": 1}
    log.run(2 * 3600, step=60)
    engine.fold(*log.frames(4))
    assert {hour["tenant"]: hour["spans"] for hour in engine.closed_hours()} == {"a": 2, "b": 2}
