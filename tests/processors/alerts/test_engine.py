"""When the engine judges, what it counts, what it says."""

from typing import Any

import pytest
from spanloom_processors.core.alerts.engine import Engine
from spanloom_processors.core.alerts.rules import parse
from spanloom_processors.core.alerts.windows import GROUPS

RULES = "rules: [{name: R, metric: request_p50, window: 30s, above: 1s, severity: info, group_by: [service]%s}]"
SLOW = parse(RULES % "")
ERRORS = parse("rules: [{name: E, metric: request_error_rate, window: 30s, above: 50%, minimum: 10, severity: info}]")


def _slow(make_pane: Any, make_sketch: Any) -> Any:
    return lambda start, spans=4, **given: make_pane(
        start, spans, duration_sketch=make_sketch(*[3000.0] * spans), **given
    )


def test_a_quantile_waits_until_every_partition_has_passed_the_windows_end_and_its_lateness(
    make_log: Any, make_pane: Any, make_sketch: Any
) -> None:
    log = make_log(partitions=2)
    slow = _slow(make_pane, make_sketch)
    begun = log.now
    log.send()
    log.now += 31_000
    log.send([slow(begun + 20_000)], progress=begun + 33_000)
    log.send([], 1, progress=begun + 32_999)
    assert log.alerts(SLOW) == []
    log.now += 1000
    log.send([], 1, progress=begun + 33_000)
    (fired,) = log.alerts(SLOW)
    assert (fired["at"], fired["window_end"], fired["partial"]) == (begun + 32_000, begun + 30_000, False)


def test_a_partition_that_stands_still_is_waited_for_30_seconds_then_the_verdict_is_partial(
    make_log: Any, make_pane: Any, make_sketch: Any
) -> None:
    log = make_log(partitions=2)
    begun = log.now
    log.send([_slow(make_pane, make_sketch)(begun)])
    for _ in range(60):
        log.now += 1000
        log.send()
    fired = log.alerts(SLOW)[0]
    assert (fired["window_end"], fired["partial"]) == (begun + 10_000, True)
    assert fired["at"] == begun + 10_000 + 30_000


def test_an_hour_without_any_message_is_no_waiting(make_log: Any, make_pane: Any, make_sketch: Any) -> None:
    log = make_log()
    slow = _slow(make_pane, make_sketch)
    log.send()
    down = log.now
    log.now += 3_600_000
    for second in range(25):
        log.now += 1000
        caught_up = down + 150_000 * second
        starts = range(caught_up // 10_000 * 10_000, caught_up + 150_000, 10_000)
        log.send(
            [slow(start) for start in starts if down + 1_800_000 <= start < down + 1_900_000],
            progress=caught_up + 150_000,
        )
    fired, resolved = log.alerts(SLOW)
    assert (fired["state"], fired["window_end"], fired["partial"]) == ("firing", down + 1_810_000, False)
    assert (resolved["state"], resolved["window_end"]) == ("resolved", down + 1_900_000 + 30_000)


def test_a_sum_fires_the_moment_it_is_true_and_resolves_with_its_window(make_log: Any, make_pane: Any) -> None:
    rules = parse("rules: [{name: S, metric: cost, window: 30s, above: $5, severity: info}]")
    log = make_log(partitions=2)
    begun = log.now
    log.now += 4000
    worst = [{"why": "costly", "value": 6, "trace_id": "abc", "span_id": "1"}]
    log.send([make_pane(begun, cost=6 * 10**9, worst=worst)], progress=begun)
    (fired,) = log.alerts(rules)
    assert (fired["at"], fired["since"], fired["value"], fired["trace_ids"]) == (
        begun + 4000,
        begun + 4000,
        6.0,
        ["abc"],
    )
    for partition in (0, 1) * 60:
        log.now += 500
        log.send([], partition)
    (_, resolved) = log.alerts(rules)
    assert (resolved["identity"], resolved["window_end"]) == (fired["identity"], begun + 40_000)


def test_late_rows_count_in_every_window_from_their_arrival_on_and_once(make_log: Any, make_pane: Any) -> None:
    log = make_log()
    log.run(60, lambda start: [make_pane(start, 4)])
    arrived = log.now
    long_ago = arrived - 900_000
    late = make_pane(long_ago, 40, errors=40, late_offset=100)
    log.send([late], next_offset=101)
    log.send([late], next_offset=101)
    log.send([late], next_offset=102)
    log.run(60, lambda start: [make_pane(start, 4)])
    fired, resolved = log.alerts(ERRORS)
    assert fired["value"] == pytest.approx(40 / 52)
    assert fired["window_end"] == arrived + 10_000
    assert resolved["window_end"] == arrived + 40_000


def test_of_two_versions_the_higher_count_wins_and_a_new_revision_replaces_the_pane_whole(
    make_log: Any, make_pane: Any
) -> None:
    rules = parse("rules: [{name: S, metric: cost, window: 10s, above: $5, severity: info, group_by: [model]}]")
    log = make_log()
    begun = log.now
    log.send([make_pane(begun, 3, cost=3 * 10**9, model="m")], progress=begun)
    log.send([make_pane(begun, 2, cost=9 * 10**9, model="m")], progress=begun)
    log.send([make_pane(begun, 1, cost=4 * 10**9, model="other")], progress=begun, revision=2)
    log.send([make_pane(begun, 9, cost=9 * 10**9, model="m")], progress=begun, revision=1)
    assert log.alerts(rules) == []
    log.send([make_pane(begun, 2, cost=6 * 10**9, model="other")], progress=begun, revision=2)
    assert [alert["value"] for alert in log.alerts(rules)] == [6.0]


def test_too_few_requests_are_no_verdict(make_log: Any, make_pane: Any) -> None:
    for spans, alerts in ((3, 0), (4, 1)):
        log = make_log()
        log.run(30, lambda start, spans=spans: [make_pane(start, spans, errors=spans)])
        log.run(10)
        assert len(log.alerts(ERRORS)) == alerts


def test_what_flaps_faster_than_for_never_fires_and_what_holds_fires_once(
    make_log: Any, make_pane: Any, make_sketch: Any
) -> None:
    rules = parse(RULES.replace("30s", "10s") % ", for: 30s")
    slow = _slow(make_pane, make_sketch)
    log = make_log()
    log.run(200, lambda start: [slow(start) if start // 10_000 % 3 else make_pane(start)])
    assert {alert["state"] for alert in log.alerts(rules)} == {"pending", "resolved"}
    assert all(alert["fired"] == 0 for alert in log.alerts(rules))
    log = make_log()
    log.run(200, lambda start: [slow(start)])
    pending, fired = log.alerts(rules)
    assert (pending["state"], fired["state"]) == ("pending", "firing")
    assert pending["identity"] == fired["identity"]
    assert fired["window_end"] - pending["window_end"] == 30_000


def test_every_firing_has_an_identity_of_its_own(make_log: Any, make_pane: Any, make_sketch: Any) -> None:
    slow = _slow(make_pane, make_sketch)
    log = make_log()
    for _ in range(3):
        log.run(60, lambda start: [slow(start, service=name) for name in ("a", "b")])
        log.run(60, lambda start: [make_pane(start, 4, service=name) for name in ("a", "b")])
    fired = [alert for alert in log.alerts(SLOW) if alert["state"] == "firing"]
    assert len(fired) == len({alert["identity"] for alert in fired}) == 6


def test_exemplars_are_the_worst_of_the_window_worst_first_at_most_five(
    make_log: Any, make_pane: Any, make_sketch: Any
) -> None:
    def rows(start: int) -> list:
        worst = [
            {"why": why, "value": start % 60_000 + value, "trace_id": f"{why}{start % 60_000 + value}", "span_id": "s"}
            for why in ("slow", "error")
            for value in (1, 2, 3)
        ]
        return [_slow(make_pane, make_sketch)(start, worst=worst), make_pane(start, service="other", worst=worst[3:])]

    log = make_log()
    log.run(40, rows)
    log.run(10)
    fired = log.alerts(parse(RULES.replace("1s", "2s") % ", for: 10s"))[-1]
    assert fired["trace_ids"] == ["slow20003", "slow20002", "slow20001", "slow10003", "slow10002"]


def test_a_restart_in_mid_log_judges_no_window_that_begins_before_what_it_read(
    make_log: Any, make_pane: Any, make_sketch: Any
) -> None:
    slow = _slow(make_pane, make_sketch)
    log = make_log()
    log.run(120, lambda start: [slow(start)])
    begun = log.messages[6][0]["log_time"]
    found = Engine(SLOW).fold(*log.frames(6))
    assert [alert["window_start"] for alert in found] == [begun + 10_000]


def test_what_fires_for_a_rule_that_is_gone_is_resolved(make_log: Any, make_pane: Any, make_sketch: Any) -> None:
    log = make_log()
    log.run(60, lambda start: [_slow(make_pane, make_sketch)(start)])
    fired = log.alerts(SLOW)
    engine = Engine(ERRORS)
    engine.restore(fired, [])
    (resolved,) = engine.fold(*log.frames())
    assert (resolved["state"], resolved["identity"]) == ("resolved", fired[-1]["identity"])


def test_a_restart_after_the_page_pages_nobody_twice(make_log: Any, make_pane: Any, make_sketch: Any) -> None:
    log = make_log()
    log.run(120, lambda start: [_slow(make_pane, make_sketch)(start)])
    fired = log.alerts(SLOW)
    assert len(fired) == 1
    for judged in (0, log.now):
        engine = Engine(SLOW)
        engine.restore(fired, [], judged)
        assert engine.fold(*log.frames()) == []


def test_too_many_groups_are_added_up_as_other(make_log: Any, make_pane: Any, make_sketch: Any) -> None:
    slow = _slow(make_pane, make_sketch)
    log = make_log()
    log.run(40, lambda start: [slow(start, spans=1, service=f"s{n:05d}") for n in range(GROUPS + 5)])
    log.run(10)
    services = [alert["group"][0]["value"] for alert in log.alerts(SLOW)]
    assert len(services) == GROUPS + 1
    assert services.count("other") == 1


def test_memory_is_bounded_by_the_windows_and_the_open_hour(make_log: Any, make_pane: Any, make_sketch: Any) -> None:
    log = make_log()
    log.run(4 * 3600, lambda start: [make_pane(start)], step=30)
    engine = Engine(SLOW)
    engine.fold(*log.frames())
    assert len(engine._versions._panes) <= 3
    assert len(engine._versions.series[SLOW[0].where, SLOW[0].group_by].panes) <= 4
    safe = engine.safe()
    assert safe is not None
    assert log.messages[safe.offset][0]["log_time"] >= log.now - 3_640_000


def test_closed_hours_add_up_the_hour_by_pane_key(make_log: Any, make_pane: Any) -> None:
    log = make_log()
    begun = log.now
    log.run(3600, lambda start: [make_pane(start, 2, cost=5, errors=1), make_pane(start, 1, model="m", input_tokens=7)])
    log.run(10)
    engine = Engine([])
    engine.fold(*log.frames())
    first, second = sorted(engine.closed_hours(), key=lambda hour: hour["model"])
    assert (first["start"], first["spans"], first["errors"], first["cost"]) == (begun, 720, 360, 1800)
    assert first["minute_costs"] == [30] * 60
    assert first["minutes"] == 2**60 - 1
    assert (second["model"], second["spans"], second["total_tokens"]) == ("m", 360, 2520)
    assert engine.closed_hours() == []


def test_a_row_that_no_pane_can_be_is_ignored(make_log: Any, make_pane: Any, make_sketch: Any) -> None:
    slow = _slow(make_pane, make_sketch)
    spend = parse("rules: [{name: S, metric: spans, window: 30s, above: 9, severity: info}]")
    log = make_log()
    log.send([slow(2**62), slow(-(2**62)), slow(log.now) | {"start": None}, slow(log.now) | dict.fromkeys(["spans"])])
    log.run(60, lambda start: [slow(start, 10)])
    assert [alert["state"] for alert in log.alerts(SLOW + spend)] == ["firing", "firing"]
