"""Traces → `traces_1h`: an hour that is over is summed up from what `traces` holds, and again when it changes.

Until it is over, readers take its traces themselves (the view `traces_by_hour`), so nothing is read over and over while
it grows. Which hours are over says the log of traces; which are summed up, the table `traces_1h_closed`: of an hour
that is not, nothing need be remembered. What comes later than that holds the commit of llm.traces until it is in
(docs/adr/0072).
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import polars as pl

from spanloom_sinks.database import Database
from spanloom_sinks.lane import Lane

TRACES = "llm.traces"
TURN_SECONDS = 1.0
HOUR_SECONDS = 30.0
_PAUSES = 20
"""How many times as long as it took is waited at least: a twentieth of the time is for hours of traces."""
GRACE = timedelta(minutes=10)
"""How long after its end an hour is over: a trace that is told again may begin elsewhere than it was told to."""
_AT_ONCE = 500  # hours a statement
_CLOSED_A_TURN = 50  # one by one
_HOUR = timedelta(hours=1)


class TraceHours:
    """Which hours of traces are to be summed up. `clock`: seconds that only grow; `grace`: when an hour is over."""

    def __init__(self, store: Database, clock: Callable[[], float], grace: timedelta = GRACE) -> None:
        self._store, self._clock, self._grace = store, clock, grace
        self._at = self._due_at = 0.0
        self.clear()

    def clear(self) -> None:
        """Forget everything: whoever reads the traces again will note it again."""
        # By hour and partition of llm.traces the first offset that is still needed for it.
        self._noted: dict[tuple[datetime, int], int] = {}

    def note(self, lane: Lane, first: int, traces: pl.DataFrame) -> None:
        """Note rows of `traces` that were written: `start` and `end`. `first`: the first offset of `lane` behind them.

        A row may stand for one that began later, so every hour up to its end has changed (of very long ones, of a day).
        """
        from_, to = (pl.col(name).dt.truncate("1h").cast(pl.Datetime("us", "UTC")) for name in ("start", "end"))
        spans = traces.select(since=from_, until=pl.max_horizontal(from_, pl.min_horizontal(to, from_ + _HOUR * 24)))
        hours = spans.unique().select(pl.datetime_ranges("since", "until", "1h")).to_series().explode()
        for hour in hours.unique():
            key = hour, lane.source.partition
            self._noted[key] = min(first, self._noted.get(key, first))

    def hold(self, lane: Lane) -> int | None:
        """The first offset of `lane` that is still needed here; None: all is summed up, or will be in its time."""
        if lane.source.topic != TRACES:
            return None
        of_lane = (first for (_, partition), first in self._noted.items() if partition == lane.source.partition)
        return min(of_lane, default=None)

    def turn(self, now: float) -> None:
        """Sum up what is due. Raises StoreError; what was not done is done at the next turn."""
        if now - self._at < TURN_SECONDS:
            return
        self._at = now
        due = now >= self._due_at
        if not due and not self._noted:
            return
        over = self._over()
        # Whoever finds that an hour is over does so after this, and then sums up what is in the table now.
        self._noted = {key: first for key, first in self._noted.items() if _EPOCH <= key[0] < over}
        if due:
            begun = self._clock()
            self._sum_up_again()
            self._close(over)
            self._due_at = now + max(HOUR_SECONDS, _PAUSES * (self._clock() - begun))

    def _over(self) -> datetime:
        """Hours that begin before this are over."""
        return (self._store.told_until() - self._grace).replace(minute=0, second=0, microsecond=0)

    def _sum_up_again(self) -> None:
        while noted := sorted({hour for hour, _ in self._noted}, reverse=True)[:_AT_ONCE]:
            self._store.sum_up("traces_1h", noted)
            done = set(noted)
            self._noted = {key: first for key, first in self._noted.items() if key[0] not in done}

    def _close(self, over: datetime) -> None:
        """In order of time: what lies before a closed hour is closed."""
        for hour in self._store.unclosed(over, _CLOSED_A_TURN):
            self._store.sum_up("traces_1h", [hour])
            self._store.insert(
                "traces_1h_closed", pl.DataFrame({"start": [hour]}, schema={"start": pl.Datetime("ms", "UTC")})
            )


_EPOCH = datetime.fromtimestamp(0, UTC)
