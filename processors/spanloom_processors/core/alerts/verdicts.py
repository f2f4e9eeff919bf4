"""Verdicts: whether a rule's condition is true of a group in a window."""

from typing import NamedTuple

from spanloom_processors.core.alerts import baseline, budget
from spanloom_processors.core.alerts.metrics import Fold, Metric
from spanloom_processors.core.alerts.records import Group
from spanloom_processors.core.alerts.rows import COUNTS
from spanloom_processors.core.alerts.rules import PANE_MS, Above, Absent, Band, Below, Budget, Rule
from spanloom_processors.core.alerts.windows import (
    HOUR_MS,
    MINUTE_MS,
    NANO,
    Series,
    Sum,
    amount,
    measure,
    rate,
)


class Verdict(NamedTuple):
    """What a window says: condition, value and threshold (for the band of a rate: the usual rate)."""

    true: bool
    value: float | None
    threshold: float | None


class History(NamedTuple):
    """A group's past before a window: sums, costs (nano-dollars) of its minutes with spans, how many those are."""

    counts: list[int]
    costs: list[int]
    minutes: int


def judge(rule: Rule, series: Series, group: Group, total: Sum, end: int, firing: bool) -> Verdict:
    """Judge a rule of a group whose window that ends at `end` adds up to `total`; `firing`: it was true before."""
    value, count = measure(rule.metric, total, rule.window)
    enough = count >= rule.minimum and value is not None
    match rule.condition:
        case Above(limit):
            return Verdict(enough and _known(value) > limit, value, limit)
        case Below(limit):
            return Verdict(enough and _known(value) < limit, value, limit)
        case Budget(period, limit):
            start = budget.period_start(end - PANE_MS, period)
            spent, spans = budget.spent_by(series, group, COUNTS.index(rule.metric.of), start, end)
            value = amount(rule.metric, spent)
            return Verdict(spans >= rule.minimum and value > limit, value, limit)
        case Absent():
            before = series.window_of(group, end - rule.window - PANE_MS, end - rule.window).counts[0]
            return Verdict(total.counts[0] == 0 and (firing or before > 0), float(total.counts[0]), 0.0)
        case Band() as learnt:
            if not enough:
                return Verdict(False, value, None)
            past = history(series, group, end - rule.window)
            if past.minutes < baseline.WARM_UP_MINUTES:
                return Verdict(False, value, None)
            if rule.metric.fold is Fold.PER_MINUTE:
                return _cost(learnt, _known(value), past)
            return _rate(learnt, rule.metric, total, past)


def _known(value: float | None) -> float:
    return 0.0 if value is None else value


def _rate(band: Band, metric: Metric, total: Sum, past: History) -> Verdict:
    events, trials = rate(metric, total.counts)
    base_events, base_trials = rate(metric, past.counts)
    usual = (base_events + 0.5) / (base_trials + 1)
    chance = baseline.tail(events, trials, base_events, base_trials)
    return Verdict(chance < band.p_value, events / trials, usual)


def _cost(band: Band, value: float, past: History) -> Verdict:
    low, high = (bound / NANO for bound in baseline.band(past.costs, band.width))
    if band.side == "both" and value < low:
        return Verdict(True, value, low)
    return Verdict(value > high, value, high)


def history(series: Series, group: Group, before: int) -> History:
    """The 24 h of a group before a time: whole hours, and of the current one what lies before."""
    current = before // HOUR_MS * HOUR_MS
    # The hour that the window begins in also holds panes that are not past yet.
    ahead = series.window_of(group, before, current + HOUR_MS).counts
    counts = [-count for count in ahead]
    costs: list[int] = []
    minutes = 0
    for start in range(current - baseline.HISTORY_MS, current + HOUR_MS, HOUR_MS):
        hour = series.hours.get(start, {}).get(group)
        if hour is None:
            continue
        mask = hour.minutes & (1 << (before - current) // MINUTE_MS) - 1 if start == current else hour.minutes
        counts = [mine + other for mine, other in zip(counts, hour.counts, strict=True)]
        minutes += mask.bit_count()
        costs += [cost for minute, cost in enumerate(hour.costs) if mask >> minute & 1]
    return History([max(0, count) for count in counts], costs, minutes)
