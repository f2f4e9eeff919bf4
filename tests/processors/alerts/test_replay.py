"""Live = restart = backtest over one llm.panes log."""

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from spanloom_processors.core.alerts import versions
from spanloom_processors.core.alerts.engine import Engine
from spanloom_processors.core.alerts.rules import parse

RULES = parse("""
rules:
  - {name: Slow, metric: request_p95, group_by: [service], window: 20s, for: 20s, minimum: 3, above: 1s, severity: info}
  - {name: Slowly, metric: request_p95, group_by: [service], window: 2m, minimum: 3, above: 300ms, severity: info}
  - {name: Errors, metric: request_error_rate, group_by: [service], window: 30s, above: 20%, severity: info}
  - {name: Spend, metric: cost, group_by: [service], window: 40s, above: $9, severity: info}
  - {name: Failed, metric: errors, window: 20s, above: 4, severity: info}
  - {name: Gone, metric: spans, group_by: [service], window: 20s, absent: true, severity: info}
  - {name: Day, metric: cost, budget: {period: day, limit: $60}, severity: info}
  - {name: Odd, metric: request_error_rate, window: 30s, band: {p_value: 0.01}, severity: info}
  - {name: Dear, metric: cost_per_minute, window: 30s, band: {side: both, width: 3}, severity: info}
""")
HOUR = 3_600_000
# A log is drawn by its seed: a smaller seed is no simpler story, so shrinking it would only take time.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)


def wild(Log: Any, pane: Callable, sketch: Callable, seed: int, start: int, seconds: int, step: int) -> Any:
    """A log of two source partitions with everything that happens: late rows, replays, stale versions from a zombie, a
    partition that is stuck and catches up, a service that falls silent, a new revision, a clock that steps."""
    rng = random.Random(seed)
    log = Log(start, partitions=2)
    truth: list[dict[tuple[int, str], list[tuple[float, bool, int]]]] = [{}, {}]
    dirty: list[set[tuple[int, str]]] = [set(), set()]
    sent: list[tuple[int, dict, int]] = []
    offsets, revisions = [0, 0], [1, 1]
    stuck = [0, 0]
    mood = {"a": 0.0, "b": 0.0}

    def row(partition: int, key: tuple[int, str]) -> dict:
        spans = truth[partition][key]
        return pane(
            key[0], len(spans), service=key[1], errors=sum(error for _, error, _ in spans),
            cost=sum(cost for *_, cost in spans), duration_sketch=sketch(*(ms for ms, *_ in spans)),
            worst=[
                {"why": "slow", "value": int(ms), "trace_id": f"t{n}", "span_id": str(n)}
                for n, (ms, *_) in enumerate(spans[:3])
            ],
        )  # fmt: skip

    def span(service: str) -> tuple[float, bool, int]:
        bad = rng.random() < mood[service]
        return rng.choice([50.0, 200.0]) * (10 if bad else 1), bad, rng.randrange(200_000_000) * (5 if bad else 1)

    for second in range(0, seconds, step):
        log.now += step * 1000 + rng.randrange(-300, 300)
        for service in mood:
            if rng.random() < 0.03:
                mood[service] = rng.choice([0.0, 0.0, 0.3, 0.9])
        for partition in (0, 1):
            if rng.random() < 0.01:
                stuck[partition] = rng.choice([5, 45, 90])
            late = []
            for service in mood:
                for _ in range(rng.randrange(0, 3) if second % 200 < 150 or service == "a" else 0):
                    offsets[partition] += 1
                    ended = log.now - rng.randrange(0, 3000)
                    if rng.random() < 0.03:
                        made = span(service)
                        late.append(pane(
                            (ended - 60_000) // 10_000 * 10_000, 1, service=service, errors=int(made[1]), cost=made[2],
                            duration_sketch=sketch(made[0]), late_offset=offsets[partition] - 1,
                        ))  # fmt: skip
                        continue
                    key = (ended // 10_000 * 10_000, service)
                    truth[partition].setdefault(key, []).append(span(service))
                    dirty[partition].add(key)
            stuck[partition] -= step
            if stuck[partition] > 0 and not late:
                continue
            if rng.random() < 0.005:
                revisions[partition] += 1
                dirty[partition] |= {key for key in truth[partition] if key[0] > log.now - 30_000}
            rows = [row(partition, key) for key in sorted(dirty[partition])] + late
            dirty[partition].clear()
            log.send(rows, partition, revision=revisions[partition], next_offset=offsets[partition])
            sent += [(revisions[partition], made, partition) for made in rows]
            if sent and rng.random() < 0.1:
                stale = [(revision, made) for revision, made, of in sent[-40:] if of == partition]
                for revision, made in rng.sample(stale, min(3, len(stale))):
                    log.send([made], partition, log.now - 8000, revision=revision, next_offset=offsets[partition] - 3)
        log.tick()
    return log


STOP = st.tuples(st.integers(0, 600), st.integers(0, 150), st.booleans())


@given(seed=st.integers(0, 10_000), stops=st.lists(STOP, min_size=1, max_size=3))
@settings(max_examples=6, phases=PHASES)
def test_a_worker_that_dies_anywhere_any_number_of_times_says_what_a_backtest_says(
    seed: int, stops: list, make_log: Any, make_pane: Any, make_sketch: Any, run_restarted: Any
) -> None:
    log = wild(make_log, make_pane, make_sketch, seed, 1_790_000_000_000 // HOUR * HOUR - 80_000, 240, 1)
    engine = Engine(RULES)
    backtest = engine.fold(*log.frames())
    deaths = [(commit, commit + further, flushed) for commit, further, flushed in sorted(stops)]
    alerts, hours = run_restarted(log, RULES, deaths)
    assert alerts == backtest
    assert _last(hours) == _last(engine.closed_hours())


@pytest.mark.parametrize("seed", range(4))
def test_rows_that_go_once_their_pane_was_told_for_good_are_missed_by_nobody(
    seed: int, make_log: Any, make_pane: Any, make_sketch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = wild(make_log, make_pane, make_sketch, seed, 1_790_000_000_000 // HOUR * HOUR - 200_000, 400, 1)
    engine = Engine(RULES)
    alerts = engine.fold(*log.frames())
    assert len(engine._versions._panes) < 8
    monkeypatch.setattr(versions, "TOLD_MS", 10**12)
    keeping = Engine(RULES)
    assert keeping.fold(*log.frames()) == alerts
    assert len(keeping._versions._panes) > 12
    assert any(alert["rule"] == "Slowly" and alert["trace_ids"] for alert in alerts)
    assert keeping.closed_hours() == engine.closed_hours() != []


def test_restarts_over_hours_of_log_agree_in_budgets_and_baselines(
    make_log: Any, make_pane: Any, make_sketch: Any, run_restarted: Any
) -> None:
    log = wild(make_log, make_pane, make_sketch, 5, 1_790_000_000_000 // HOUR * HOUR, 2 * 3600, 20)
    engine = Engine(RULES)
    backtest = engine.fold(*log.frames())
    deaths = [(300, 301, True), (650, 700, True), (800, 820, False), (1000, 1100, True)]
    alerts, hours = run_restarted(log, RULES, deaths)
    assert alerts == backtest
    assert _last(hours) == _last(engine.closed_hours())
    assert {"Day", "Dear", "Odd"} <= {alert["rule"] for alert in alerts if alert["state"] == "firing"}


@given(seed=st.integers(0, 10_000), cuts=st.lists(st.integers(1, 400), max_size=6))
@settings(max_examples=3, phases=PHASES)
def test_how_polls_cut_the_log_changes_nothing(
    seed: int, cuts: list, make_log: Any, make_pane: Any, make_sketch: Any
) -> None:
    log = wild(make_log, make_pane, make_sketch, seed, 1_790_000_000_000, 120, 1)
    engine = Engine(RULES)
    bounds = [0, *sorted({cut for cut in cuts if cut < len(log.messages)}), len(log.messages)]
    pieces = [engine.fold(*log.frames(first, last)) for first, last in pairwise(bounds)]
    assert [alert for piece in pieces for alert in piece] == log.alerts(RULES)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=3, phases=PHASES)
def test_replays_and_stale_versions_change_no_sum(seed: int, make_log: Any, make_pane: Any, make_sketch: Any) -> None:
    log = wild(make_log, make_pane, make_sketch, seed, 1_790_000_000_000, 120, 1)
    again = make_log(partitions=2)
    rng = random.Random(seed)
    for number, (header, rows) in enumerate(log.messages):
        again.now = header["log_time"]
        fields = {name: header[name] for name in ("partition", "progress", "revision", "next_offset")}
        again.send(rows, **fields)
        for old, stale in rng.sample(log.messages[max(0, number - 30) : number + 1], rng.randrange(2)):
            fields = {name: old[name] for name in ("partition", "progress", "revision", "next_offset")}
            again.send(rng.sample(stale, len(stale)), **fields)
    assert again.alerts(RULES) == log.alerts(RULES)


def test_the_wild_log_makes_every_rule_fire(make_log: Any, make_pane: Any, make_sketch: Any) -> None:
    fired = set()
    for seed in range(1):
        log = wild(make_log, make_pane, make_sketch, seed, 1_790_000_000_000 // HOUR * HOUR - 80_000, 240, 1)
        fired |= {alert["rule"] for alert in log.alerts(RULES) if alert["state"] == "firing"}
    assert fired == {"Slow", "Slowly", "Errors", "Spend", "Failed", "Gone", "Day"}


def _last(hours: list) -> dict:
    return {(hour["start"], hour["service"]): hour for hour in hours}
