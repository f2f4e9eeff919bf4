"""From verdicts to records: a group is quiet, pending, firing or resolved, and its last record is all of its state."""

from collections.abc import Callable
from typing import NamedTuple

from spanloom_processors.core.alerts.metrics import render
from spanloom_processors.core.alerts.records import Alert, Group, identity
from spanloom_processors.core.alerts.rules import Rule, spell
from spanloom_processors.core.alerts.verdicts import Verdict


class Moment(NamedTuple):
    """When a verdict is given: log time `at`; its window; `since` the condition would count as true; partial or not."""

    at: int
    start: int
    end: int
    since: int
    partial: bool


def active(state: Alert | None) -> bool:
    """Pending or firing."""
    return state is not None and state["state"] != "resolved"


def step(
    rule: Rule, group: Group, state: Alert | None, verdict: Verdict, now: Moment, worst: Callable[[], list[str]]
) -> Alert | None:
    """The record that a verdict leads to; None: the group stays what it is."""
    if state is None or not active(state):
        return fire(rule, group, verdict, now, worst()) if verdict.true else None
    if not verdict.true:
        return resolve(state, now, verdict.value)
    if state["state"] == "pending" and now.end - state["since"] >= rule.hold:
        return fire(rule, group, verdict, now._replace(since=state["since"]), worst())
    return None


def fire(rule: Rule, group: Group, verdict: Verdict, now: Moment, trace_ids: list[str]) -> Alert:
    """The record of a group whose condition is true: firing once it held for `hold`, pending before."""
    firing = now.end - now.since >= rule.hold
    words = {
        "metric": rule.metric.phrase,
        "value": render(verdict.value, rule.metric.unit),
        "threshold": render(verdict.threshold, rule.metric.unit),
        "window": spell(now.end - now.start),
        **dict(group),
    }
    return Alert(
        rule=rule.name,
        group=[{"key": key, "value": value} for key, value in group],
        identity=identity(rule.name, group, now.since),
        state="firing" if firing else "pending",
        severity=rule.severity,
        value=verdict.value,
        threshold=verdict.threshold,
        unit=rule.metric.unit,
        window_start=now.start,
        window_end=now.end,
        since=now.since,
        fired=now.at if firing else 0,
        resolved=0,
        at=now.at,
        partial=now.partial,
        trace_ids=trace_ids,
        summary=rule.summary.format_map(words),
        description=rule.description.format_map(words),
    )


def resolve(state: Alert, now: Moment, value: float | None) -> Alert:
    """The record that ends a pending or firing one; what it said stays, except the value."""
    return {
        **state,
        "state": "resolved",
        "value": value,
        "window_start": now.start,
        "window_end": now.end,
        "resolved": now.at,
        "at": now.at,
        "partial": now.partial,
    }
