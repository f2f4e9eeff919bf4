"""Up to where a partition has come to rest: before that a number that differs is wrong, after it in flight. Pure.

A healthy line always has something in flight. So a message counts as stored when the sink has committed past it; a
pane is judged when the processors' emission that closed it is in the tables, and the sink has all of its spans; a trace
when it can no longer be open and what was told since then is in the tables.
"""

from typing import NamedTuple

import polars as pl

from spanloom_sinks.rows.spans import LATENESS_MS, PANE_MS

# A trace is told when it was idle this long (a test compares with spanloom_processors.core.traces).
IDLE_MS = 30_000
MARGIN_MS = 10_000
"""How far the clocks of a broker and a processor may be apart, and how long an emission may be under way."""


FOREVER = 2**53
"""A time (epoch ms) that no pane reaches."""


class Told(NamedTuple):
    """How far the processors had come with a source partition, by what they said that is in the tables."""

    next_offset: int = 0
    log_clock: int = 0
    progress: int = 0
    """Epoch ms that the partition has passed; ahead of `log_clock` only when it is idle."""


class Place(NamedTuple):
    """A partition of llm.spans: offsets of the range, and how far sink and processors have come. Times: epoch ms."""

    partition: int
    low: int
    """First offset that the topic still holds."""
    high: int
    """The offset that the next message will get."""
    first: int
    """First offset of the range, whether the topic still holds it or not."""
    stop: int
    """Offset behind the range."""
    stored: int
    """First offset that may not be in the tables yet."""
    stored_clock: int
    """The log clock before it."""
    told: Told
    """By the panes that are in the tables."""
    summed: Told
    """By those whose minutes and hours are summed up as well."""
    traces_stored: int
    """Everything that was told of traces before this time is stored."""

    @property
    def end(self) -> int:
        """Offset behind what of the range must be in the tables."""
        return max(self.first, min(self.stop, self.stored))

    @property
    def quiet(self) -> bool:
        """Nothing is under way: all that the log holds is stored and told."""
        return self.stored >= self.high and self.told.next_offset >= self.high

    @property
    def panes(self) -> int:
        """Panes of this partition that end at or before this are whole in the tables, and so are their spans."""
        return FOREVER if self.quiet else _closed(self._passed(self.told))

    @property
    def hours(self) -> int:
        """As `panes`, with the roll-ups of hours."""
        whole = self.stored >= self.high and self.summed.next_offset >= self.high
        return FOREVER if whole else _closed(self._passed(self.summed))

    @property
    def traces(self) -> int:
        """Traces whose last span came at or before this log clock are told, and stored."""
        return min(self._passed(self.told), self.traces_stored) - IDLE_MS

    def _passed(self, told: Told) -> int:
        """The log clock that both the spans in the tables and what is told of them have passed."""
        progress = max(told.log_clock, told.progress - MARGIN_MS)
        return progress if self.stored >= told.next_offset else min(progress, self.stored_clock)


def _closed(clock: int) -> int:
    return (clock - LATENESS_MS) // PANE_MS * PANE_MS


def told(headers: pl.DataFrame, topic_id: str) -> dict[int, Told]:
    """By source partition, the last emission that is complete in a run of headers of llm.panes.

    Of a partition's last emission some messages may be missing from the run: the one before it is whole.
    """
    of_topic = headers.filter(pl.col("topic_id") == topic_id)
    emissions = of_topic.group_by("partition", "sent").agg(pl.col("next_offset", "log_clock", "progress").max())
    last_two = emissions.sort("partition", "sent").group_by("partition", maintain_order=True).tail(2)
    whole = last_two.group_by("partition", maintain_order=True).agg(pl.all().first(), emissions=pl.len())
    return {
        row["partition"]: Told(row["next_offset"], row["log_clock"], row["progress"])
        for row in whole.iter_rows(named=True)
        if row["emissions"] > 1
    }
