"""Budgets: sums since the start of the UTC day or month."""

from datetime import UTC, datetime
from typing import Literal

from spanloom_processors.core.alerts.records import Group
from spanloom_processors.core.alerts.windows import Series

LONGEST_MS = 31 * 86_400_000


def period_start(at: int, period: Literal["day", "month"]) -> int:
    """The start (epoch ms) of the UTC day or month that `at` (epoch ms) is in."""
    day = datetime.fromtimestamp(at / 1000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return int((day if period == "day" else day.replace(day=1)).timestamp()) * 1000


def spent(series: Series, of: int, start: int, end: int) -> dict[Group, tuple[int, int]]:
    """By group the sum of the count number `of`, and of spans, in the hours of [start, end)."""
    found: dict[Group, tuple[int, int]] = {}
    for hour, groups in series.hours.items():
        if start <= hour < end:
            for group, total in groups.items():
                amount, spans = found.get(group, (0, 0))
                found[group] = amount + total.counts[of], spans + total.counts[0]
    return found


def spent_by(series: Series, group: Group, of: int, start: int, end: int) -> tuple[int, int]:
    """The same of one group."""
    found = [groups[group].counts for hour, groups in series.hours.items() if start <= hour < end and group in groups]
    return sum(counts[of] for counts in found), sum(counts[0] for counts in found)
