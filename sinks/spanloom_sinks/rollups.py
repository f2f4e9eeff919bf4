"""Panes → `panes_1m` → `panes_1h`: what has changed is summed up again from what the tables hold (docs/adr/0072).

A materialized view would count a pane again each time it grows. So a minute that a block touched is recomputed whole, a
moment later, once `spans` has all that its panes count: what came late is taken from there. The commit of llm.panes
waits until its hours are recomputed too, so a crash only makes it happen again. Before raw spans expire, late
ones are folded by minutes (`late_1m`), so that a minute can be recomputed as long as its panes are there.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import polars as pl

from spanloom_sinks.consumer import Consumer
from spanloom_sinks.database import Database
from spanloom_sinks.lane import Lane

MINUTE_SECONDS = 2.0
HOUR_SECONDS = 30.0
FOLD_SECONDS = 600.0
SPANS, PANES = "llm.spans", "llm.panes"
_AT_ONCE = 2_000  # windows a statement
_A_TURN = 4_000  # spans of ten thousand different days must not keep the others waiting
LAST = datetime.fromtimestamp(2**32 - 1, UTC)
"""ClickHouse's DateTime ends there; what is dated later counts in its last hour."""


class Rollups:
    """Which minutes and hours are to be summed up again."""

    def __init__(self, store: Database, consumer: Consumer) -> None:
        self._store, self._consumer = store, consumer
        self._minute_at = self._hour_at = self._fold_at = 0.0
        self.clear()

    def clear(self) -> None:
        """Forget everything: whoever reads the panes again will note it again."""
        # By window the first offset of llm.panes that is still needed for it.
        self._minutes: dict[datetime, int] = {}
        self._hours: dict[datetime, int] = {}

    def note(self, first: int, panes: pl.DataFrame) -> None:
        """Note a block of rows of `panes` that was written; `first` is its first offset in llm.panes."""
        for minute in panes["start"].dt.truncate("1m").unique():
            self._minutes.setdefault(minute, first)

    def hold(self, lane: Lane) -> int | None:
        """The first offset of `lane` that is still needed here; None: all is summed up."""
        if lane.source.topic != PANES:
            return None
        return min([*self._minutes.values(), *self._hours.values()], default=None)

    def turn(self, now: float) -> None:
        """Sum up what is due. Raises StoreError or KafkaException; what was not done is done at the next turn."""
        if now - self._minute_at < MINUTE_SECONDS:
            return
        self._minute_at = now
        if now - self._fold_at >= FOLD_SECONDS:
            self._fold_at = now
            self._fold()
        for minutes in _turns(self._minutes):
            self._sum_up_minutes(self._settled(minutes))
        if now - self._hour_at >= HOUR_SECONDS:
            self._hour_at = now
            for hours in _turns(self._hours):
                self._store.sum_up("panes_1h", hours)
                for hour in hours:
                    del self._hours[hour]

    def _fold(self) -> None:
        """Fold late spans that are about to expire, a day of log time after the other, once `spans` has all of it."""
        for day in self._store.unfolded():
            if not self._consumer.stored_until(SPANS, day + timedelta(days=1)):
                return
            self._store.fold_late(day)

    def _settled(self, minutes: list[datetime]) -> list[datetime]:
        """Those minutes of whose panes every span is in `spans`, or never will be: its topic is no more.

        A span that is in its pane, but in `spans` still only as its future-dated copy, would count twice.
        """
        reach = self._store.reach(minutes)
        if reach.is_empty():
            return minutes
        reach = reach.filter(pl.col("topic_id") == self._consumer.topic_id(SPANS))
        stored = self._consumer.progress(SPANS, reach["partition"].unique())
        behind = [stored[partition] < end for partition, end in reach.select("partition", "next_offset").iter_rows()]
        early = set(reach.filter(pl.Series(behind, dtype=pl.Boolean))["minute"])
        return [minute for minute in minutes if int(minute.timestamp()) not in early]

    def _sum_up_minutes(self, minutes: list[datetime]) -> None:
        if not minutes:
            return
        self._store.sum_up("panes_1m", minutes)
        for minute in minutes:
            hour = min(minute, LAST).replace(minute=0, second=0)
            first = self._minutes.pop(minute)
            self._hours[hour] = min(first, self._hours.get(hour, first))


def _turns(windows: Iterable[datetime]) -> list[list[datetime]]:
    """The newest windows, a list a statement; the rest of very many waits for the next turn."""
    due = sorted(windows, reverse=True)[:_A_TURN]
    return [due[begin : begin + _AT_ONCE] for begin in range(0, len(due), _AT_ONCE)]
