"""Panes → `panes_1m` → `panes_1h`: what has changed is summed up again from what the tables hold (docs/adr/0072).

A materialized view would count a pane again each time it grows. So a minute that a block touched is recomputed whole, a
moment later; the commit of llm.panes waits until its hours are recomputed too, so a crash only makes it happen again.
"""

from collections.abc import Callable
from datetime import UTC, datetime

import polars as pl

from spanloom_sinks.database import Database, RollUp
from spanloom_sinks.lane import Lane

MINUTE_SECONDS = 2.0
HOUR_SECONDS = 30.0
_AT_ONCE = 2_000  # windows a statement
_A_TURN = 4_000  # spans of ten thousand different days must not keep the others waiting
LAST = datetime.fromtimestamp(2**32 - 1, UTC)
"""ClickHouse's DateTime ends there; what is dated later counts in its last hour."""

Key = tuple[str, int]


class Rollups:
    """Which minutes and hours are to be summed up again.

    `stored(topic_id, partition, offset)` says whether the spans of that message are in `spans`, or never will be.
    """

    def __init__(self, store: Database, stored: Callable[[str, int, int], bool]) -> None:
        self._store, self._stored = store, stored
        self._minute_at = self._hour_at = 0.0
        self.clear()

    def clear(self) -> None:
        """Forget everything: whoever reads the panes again will note it again."""
        self._minutes: set[datetime] = set()
        self._hours: set[datetime] = set()
        self._late = pl.DataFrame()
        self._since: dict[Key, int] = {}

    def note(self, lane: Lane, first: int, panes: pl.DataFrame) -> None:
        """Note a block of rows of `panes` that was written; `first` is its first offset in llm.panes."""
        touched = panes.select(
            "topic_id",
            "partition",
            "late_offset",
            minute=pl.col("start").dt.truncate("1m"),
            lane=pl.lit(lane.source.topic),
        )
        self._minutes.update(touched.filter(pl.col("late_offset") < 0)["minute"])
        late = touched.filter(pl.col("late_offset") >= 0).unique()
        self._late = pl.concat([self._late, late]) if self._late.height else late
        self._since.setdefault((lane.source.topic, lane.source.partition), first)

    def hold(self, lane: Lane) -> int | None:
        """The first offset of `lane` that is still needed here; None: all is summed up."""
        return self._since.get((lane.source.topic, lane.source.partition))

    def turn(self, now: float) -> None:
        """Sum up what is due. Raises StoreError; what was not done is done at the next turn."""
        if now - self._minute_at >= MINUTE_SECONDS:
            self._take_late()
            done = self._run("panes_1m", self._minutes)
            self._hours.update(min(minute, LAST).replace(minute=0, second=0) for minute in done)
            self._minute_at = now
            if now - self._hour_at >= HOUR_SECONDS and not self._minutes:
                self._run("panes_1h", self._hours)
                self._hour_at = now
                if self._late.is_empty() and not self._hours:
                    self._since.clear()

    def _take_late(self) -> None:
        """A late row says that its minute changed; the spans themselves come by another way, maybe later."""
        if self._late.is_empty():
            return
        messages = self._late.select("topic_id", "partition", "late_offset").unique()
        there = messages.filter(
            pl.Series([self._stored(*message) for message in messages.iter_rows()], dtype=pl.Boolean)
        )
        keys = there.columns
        self._minutes.update(self._late.join(there, on=keys, how="semi")["minute"])
        self._late = self._late.join(there, on=keys, how="anti")

    def _run(self, table: RollUp, windows: set[datetime]) -> list[datetime]:
        """Sum up windows, the newest first, and take them out; the rest of very many waits for the next turn."""
        due = sorted(windows, reverse=True)[:_A_TURN]
        for begin in range(0, len(due), _AT_ONCE):
            self._store.sum_up(table, due[begin : begin + _AT_ONCE])
        windows.difference_update(due)
        return due
