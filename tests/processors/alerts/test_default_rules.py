"""Each default rule fires on its fault, with the traces at fault, and resolves when the fault is over."""

from typing import Any

import pytest

HEALTHY = 600
FAULT = 600


def _worst(why: str, start: int) -> list[dict[str, Any]]:
    return [{"why": why, "value": 7, "trace_id": f"{start:032x}", "span_id": "s"}]


@pytest.mark.parametrize(
    ("names", "healthy", "fault"),
    [
        (
            {"RequestLatencyP50High"},
            {},
            {"durations": 30 * [700.0], "why": "slow"},
        ),
        (
            {"RequestLatencyP95High"},
            {},
            {"durations": 27 * [100.0] + 3 * [1500.0], "why": "slow"},
        ),
        (
            {"RequestLatencyP95High", "RequestLatencyP95Critical"},
            {},
            {"durations": 27 * [100.0] + 3 * [2500.0], "why": "slow"},
        ),
        ({"RequestErrorsHigh"}, {"spans": 150}, {"spans": 150, "errors": 2, "why": "error"}),
        ({"RequestErrorsHigh", "RequestErrorsCritical"}, {}, {"errors": 2, "why": "error"}),
        (
            {"TimeToFirstTokenHigh"},
            {"kind": "llm", "request": False, "model": "m", "ttft": 300.0},
            {"kind": "llm", "request": False, "model": "m", "ttft": 700.0, "why": "slow_ttft"},
        ),
        (
            {"TimePerOutputTokenHigh"},
            {"kind": "llm", "request": False, "model": "m", "tpot": 20.0},
            {"kind": "llm", "request": False, "model": "m", "tpot": 70.0, "why": "slow_tpot"},
        ),
        (
            {"SpendUnpriced"},
            {"kind": "llm", "request": False, "model": "m"},
            {"kind": "llm", "request": False, "model": "m", "unpriced": 1},
        ),
    ],
    ids=lambda value: "+".join(sorted(value)) if isinstance(value, set) else "",
)
def test_fires_and_resolves(
    names: set, healthy: dict, fault: dict, make_log: Any, make_pane: Any, make_sketch: Any, default_rules: list
) -> None:
    def rows(given: dict[str, Any]) -> Any:
        given = {"spans": 30} | given
        spans = given["spans"]
        sketches = {f"{name}_sketch": make_sketch(*[given[name]] * spans) for name in ("ttft", "tpot") if name in given}
        if "durations" in given:
            sketches["duration_sketch"] = make_sketch(*given["durations"])
        plain = {key: value for key, value in given.items() if key not in ("durations", "ttft", "tpot", "why")}
        return lambda start: [
            make_pane(start, **plain, **sketches, worst=_worst(given["why"], start) if "why" in given else [])
        ]

    log = make_log()
    log.run(HEALTHY, rows(healthy))
    began = log.now
    log.run(FAULT, rows(fault))
    ended = log.now
    log.run(HEALTHY, rows(healthy))
    alerts = log.alerts(default_rules)

    fired = [alert for alert in alerts if alert["state"] == "firing"]
    resolved = [alert for alert in alerts if alert["state"] == "resolved"]
    assert {alert["rule"] for alert in fired} == names
    assert [alert["identity"] for alert in fired] == [
        alert["identity"] for alert in sorted(resolved, key=_fired(fired))
    ]
    assert all(began < alert["fired"] <= ended < alert["resolved"] for alert in resolved)
    if "why" in fault:
        assert all(alert["trace_ids"] and int(alert["trace_ids"][0], 16) >= began for alert in fired)
    assert all(alert["summary"] and "{" not in alert["summary"] for alert in fired)


def _fired(fired: list) -> Any:
    order = [alert["identity"] for alert in fired]
    return lambda alert: order.index(alert["identity"])


def test_no_data_fires_once_the_service_was_silent_for_its_window_and_resolves_when_it_is_back(
    make_log: Any, make_pane: Any, default_rules: list
) -> None:
    log = make_log()
    log.run(60, lambda start: [make_pane(start)])
    silent_from = log.now
    log.run(400)
    back = log.now
    log.run(30, lambda start: [make_pane(start)])
    fired, resolved = log.alerts(default_rules)
    assert (fired["rule"], fired["state"]) == ("NoData", "firing")
    assert fired["window_start"] == silent_from
    assert fired["window_end"] == silent_from + 300_000
    assert (resolved["state"], resolved["identity"]) == ("resolved", fired["identity"])
    assert resolved["window_end"] == back + 10_000


def test_a_system_that_never_had_data_lacks_none(make_log: Any, default_rules: list) -> None:
    log = make_log()
    log.run(900)
    assert log.alerts(default_rules) == []


def test_a_day_over_1000_dollars_fires_at_once_and_resolves_with_the_next_day(
    make_log: Any, make_pane: Any, default_rules: list
) -> None:
    day = 1_790_000_000_000 // 86_400_000 * 86_400_000
    log = make_log(day + 86_400_000 - 3_600_000)
    dollars = 10**9
    rules = [rule for rule in default_rules if rule.name == "DailyBudgetSpent"]
    log.run(1800, lambda start: [make_pane(start, cost=5 * dollars)])
    over = log.now
    log.now += 4000
    log.send([make_pane(over, spans=2, cost=101 * dollars)], progress=over)
    log.run(2400, lambda start: [make_pane(start, cost=1 * dollars)])
    fired, resolved = log.alerts(rules)
    assert fired["at"] == over + 4000, "not at the end of the pane: when it was true"
    assert (fired["value"], fired["threshold"], fired["unit"]) == (1001.0, 1000.0, "dollars")
    assert resolved["window_end"] == day + 86_400_000 + 10_000


def test_a_months_budget_adds_up_closed_hours(make_log: Any, make_pane: Any, default_rules: list) -> None:
    log = make_log()
    dollars = 10**9
    rules = [rule for rule in default_rules if rule.name == "MonthlyBudgetSpent"]
    log.run(5 * 3600, lambda start: [make_pane(start, cost=70 * dollars)], step=60)
    (fired,) = log.alerts(rules)
    panes = 20_000 // 70 + 1
    assert fired["value"] == panes * 70
    assert fired["at"] == log.messages[panes - 1][0]["log_time"]


def test_cost_per_minute_fires_outside_the_learnt_band_on_both_sides(
    make_log: Any, make_pane: Any, default_rules: list
) -> None:
    rules = [rule for rule in default_rules if rule.name == "CostUnusual"]
    cents = 10**7
    for changed, direction in ((40, "above"), (0, "below")):
        log = make_log()
        log.run(3000, lambda start: [make_pane(start, 10, cost=(9 + start // 10_000 % 3) * cents)])
        log.run(600, lambda start, cost=changed: [make_pane(start, 10, cost=cost * cents)])
        fired = [alert for alert in log.alerts(rules) if alert["state"] == "firing"]
        assert len(fired) == 1, direction
        assert (fired[0]["value"] > fired[0]["threshold"]) == (direction == "above")


def test_no_band_gives_a_verdict_before_30_minutes_of_data(make_log: Any, make_pane: Any, default_rules: list) -> None:
    rules = [rule for rule in default_rules if rule.name in ("CostUnusual", "SafetyBlocksUnusual")]
    log = make_log()
    log.run(1500, lambda start: [make_pane(start, 10, cost=10**7)])
    log.run(500, lambda start: [make_pane(start, 10, cost=10**9, blocks=5)])
    assert log.alerts(rules) == []


def test_blocks_fire_by_their_improbability_given_the_groups_own_baseline(
    make_log: Any, make_pane: Any, default_rules: list
) -> None:
    rules = [rule for rule in default_rules if rule.name == "SafetyBlocksUnusual"]

    def usual(start: int) -> list:
        often = start // 10_000 % 2
        return [make_pane(start, 10, service="strict", blocks=often), make_pane(start, 10, service="mild")]

    log = make_log()
    log.run(3600, usual)
    log.run(400, lambda start: [make_pane(start, 10, service=name, blocks=1) for name in ("strict", "mild")])
    fired = [alert for alert in log.alerts(rules) if alert["state"] == "firing"]
    assert [dict(label.values() for label in alert["group"]) for alert in fired] == [
        {"environment": "prod", "service": "mild"}
    ]


def test_a_block_on_the_request_and_on_the_span_below_it_counts_once(make_log: Any, make_pane: Any) -> None:
    from spanloom_processors.core.alerts.rules import parse

    rules = parse("rules: [{name: R, metric: block_rate, above: 45%, minimum: 10, severity: info}]")
    log = make_log()
    both = {"spans": 4, "blocks": 4, "kind": "safety", "request": False}
    log.run(90, lambda start: [make_pane(start, 10, blocks=4), make_pane(start, **both)])
    assert log.alerts(rules) == []
    log.run(90, lambda start: [make_pane(start, 10, blocks=5), make_pane(start, **(both | {"blocks": 4}))])
    assert [alert["value"] for alert in log.alerts(rules)] == [pytest.approx(28 / 60)]
