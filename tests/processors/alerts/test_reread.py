"""A restart folds of the log that it reads again only what counts, and comes to the same."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from spanloom_processors.core.alerts import engine as engine_module
from spanloom_processors.core.alerts.engine import Engine
from spanloom_processors.core.alerts.reread import last_words
from spanloom_processors.core.alerts.rules import parse

RULES = parse("""
rules:
  - {name: Slow, metric: request_p95, group_by: [service], window: 40s, minimum: 3, above: 150ms, severity: info}
  - {name: Spend, metric: cost, group_by: [service], window: 40s, above: $9, severity: info}
  - {name: Day, metric: cost, group_by: [environment], budget: {period: day, limit: $150}, severity: info}
  - {name: Odd, metric: request_error_rate, window: 30s, band: {p_value: 0.01}, severity: info}
""")
HOUR = 3_600_000
BEGIN = 1_790_000_000_000 // HOUR * HOUR
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)


def busy(Log: Any, pane: Callable, sketch: Callable, seed: int, seconds: int, begin: int) -> Any:
    """A log in which every pane is told ten times and more, with replays, late rows, and panes far ahead."""
    rng = random.Random(seed)
    log = Log(begin, partitions=2)
    told: list[dict] = []
    offset = 0
    for second in range(seconds):
        log.now += 1000
        for partition in (0, 1):
            start = log.now // 10_000 * 10_000
            rows = []
            for at in [start, *([start - 10_000] if log.now < start + 4000 else [])]:
                spans = (log.now - at) // 1000 + 1
                for service in "abc"[: 1 + second // 60]:
                    if rng.random() < 0.8:
                        facts = {"errors": spans // 3, "cost": spans * rng.choice([40, 400]) * 1_000_000}
                        rows.append(pane(at, spans, service=service, duration_sketch=sketch(*[200.0] * spans), **facts))
            rows += rng.sample(told[-60:], min(len(told), rng.randrange(3)))
            if rng.random() < 0.05:
                offset += 1
                rows.append(pane(start - 60_000, 2, service="late", cost=90_000_000, late_offset=offset))
            if rng.random() < 0.02:
                rows.append(pane(start + 120_000, 3, service="ahead"))
            told += [row for row in rows if row.get("late_offset") is None]
            log.send(rows, partition, next_offset=offset + 1)
        log.tick()
    return log


def restart(log: Any, commit: int, size: int) -> tuple[list, list, int]:
    """What a worker says that read up to `commit`, and then one that goes on from there in polls of `size`."""
    first = Engine(RULES)
    alerts = first.fold(*log.frames(0, commit))
    hours: list = first.closed_hours()
    safe = first.safe()
    assert safe
    second = Engine(RULES)
    second.restore(alerts, hours, safe.judged)
    for at in range(safe.offset, len(log.messages), size):
        alerts += second.fold(*log.frames(at, at + size))
        hours += second.closed_hours()
    return alerts, hours, safe.offset


@given(seed=st.integers(0, 10_000), commit=st.integers(450, 720), size=st.integers(1, 90))
@settings(max_examples=6, phases=PHASES)
def test_polls_read_again_lead_to_what_every_version_of_every_pane_leads_to(
    seed: int, commit: int, size: int, make_log: Any, make_pane: Any, make_sketch: Any
) -> None:
    log = busy(make_log, make_pane, make_sketch, seed, 240, BEGIN - 70_000)
    alerts, hours, _ = restart(log, commit, size)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(engine_module, "is_settled", lambda headers, judged: False)
        exactly = restart(log, commit, size)
    assert (alerts, hours) == exactly[:2]
    assert alerts == log.alerts(RULES)


def test_of_settled_polls_read_again_most_rows_are_not_folded(
    make_log: Any, make_pane: Any, make_sketch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    heights: list[tuple[int, int]] = []

    def noted(headers: Any, panes: Any, clock: int) -> Any:
        kept = last_words(headers, panes, clock)
        heights.append((panes.height, kept.height))
        return kept

    monkeypatch.setattr(engine_module, "last_words", noted)
    restart(busy(make_log, make_pane, make_sketch, 1, 240, BEGIN - 70_000), commit=720, size=60)
    read, folded = map(sum, zip(*heights, strict=True))
    assert 0 < folded < read / 2


def test_of_many_versions_of_a_pane_one_is_kept_and_late_rows_all_are(make_log: Any, make_pane: Any) -> None:
    log = make_log(BEGIN)
    for spans in (1, 3, 2):
        log.now += 1000
        log.send([make_pane(BEGIN, spans), make_pane(BEGIN, 1, late_offset=spans)])
    kept = last_words(*log.frames(), clock=0).select("offset", "late_offset", "spans").rows()
    assert kept == [(0, None, 3), (0, 1, 1), (1, 3, 1), (2, 2, 1)]


def test_an_hour_that_may_close_among_the_messages_is_read_version_by_version(make_log: Any, make_pane: Any) -> None:
    log = make_log(BEGIN + HOUR - 2000)
    for spans in (1, 2, 3):
        log.now += 1000
        log.send([make_pane(BEGIN + HOUR - 10_000, spans)])
    headers, panes = log.frames()
    assert last_words(headers, panes, clock=0).height == 3
