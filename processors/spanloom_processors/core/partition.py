"""The state of one source partition: what its log says so far about panes and traces.

A `Partition` is a pure function of the log it is folded over. However the log is cut into polls, and however often a
worker dies and another resumes from a safe point, the rows with the highest span count are the same (ADR 0050).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from spanloom_processors.core.bounds import DEFAULT, Bounds
from spanloom_processors.core.clock import FUTURE_MS, LATENESS_MS, PANE_MS, frontier, pane_start, tick
from spanloom_processors.core.columns import COLUMNS
from spanloom_processors.core.offsets import SafePoint
from spanloom_processors.core.panes import Panes
from spanloom_processors.core.revisions import Revision
from spanloom_processors.core.traces import Traces

_AT_ONCE = 20_000
"""Spans folded together: fewer cost more a span, more would hold up the worker's other partitions."""


@dataclass(frozen=True, slots=True)
class Emission:
    """What one source partition has to say now: idempotent upserts and where it stands.

    `panes`: rows of llm.panes' Pane plus `revision`; changed open panes, panes closed for good (`final`, once) and late
    rows. `closed`: those of `panes` that closed for good, each once in the life of this object: advances /metrics.
    `traces`: rows of llm.traces' Trace plus `revision`. A message has one revision in its header: send one a revision.
    `overflow`: spans so far, by the bound that moved them elsewhere. `late`, `skewed` (future-dated), `duplicates`, and
    `silenced` (in panes that retention may have beheaded): spans so far. `lost`: messages gone before they were read.
    `safe`: what may be committed once this and every earlier emission is flushed; None: leave the commit as it is.
    """

    panes: pl.DataFrame
    closed: pl.DataFrame
    traces: pl.DataFrame
    log_clock: int
    progress: int
    next_offset: int
    overflow: dict[str, int]
    late: int
    skewed: int
    duplicates: int
    silenced: int
    lost: int
    safe: SafePoint | None


class Partition:
    """Panes and traces of one source partition, rebuilt from its log.

    `resume` is the decoded metadata of the group's commit, or None (none, unreadable). `log_start` is the first offset
    that can be read: the log's beginning, or, where a commit has no readable metadata, the committed offset. Read from
    `next_offset`: it is the resume point's offset unless the topic was recreated or retention has passed that point.
    """

    def __init__(
        self,
        topic_id: str,
        partition: int,
        revisions: Sequence[Revision] = (Revision(1, 0),),
        bounds: Bounds = DEFAULT,
        resume: SafePoint | None = None,
        log_start: int = 0,
    ) -> None:
        resume = resume if resume and resume.topic_id == topic_id else None
        self.topic_id = topic_id
        self.partition = partition
        self._resume = resume
        self._next_offset = resume.offset if resume else log_start
        self._log_clock = resume.log_clock if resume else 0
        self._told_until = self._silent_until = resume.frontier if resume else frontier(0)
        self._trimmed = resume is None and log_start > 0
        self._progress = 0
        self._late = self._skewed = self._lost = self._silenced = 0
        self._pending: list[pl.DataFrame] = []
        self._waiting = 0
        self._panes = Panes(bounds, revisions)
        self._traces = Traces(bounds, revisions)
        self._safe = resume
        self.trim(log_start)

    @property
    def next_offset(self) -> int:
        """The offset to read next."""
        return self._next_offset

    def fold(self, spans: pl.DataFrame, messages: pl.DataFrame) -> None:
        """Fold one poll: `messages` has a row (`offset`, `log_time`) for each message, readable or not.

        `spans` are the derived spans (`spanloom_schemas.frames.derive`, at least `COLUMNS`) of these messages in log
        order; both frames are ordered by offset. Messages before `next_offset` are ignored: they were folded already.
        """
        messages = messages.filter(pl.col("offset") >= self._next_offset)
        if messages.is_empty():
            return
        ticks = tick(messages, self._log_clock)
        if self._trimmed:
            self._fall_silent(ticks["clock"][0])
        self._next_offset = ticks["offset"][-1] + 1
        self._log_clock = ticks["clock"][-1]
        if spans.height and spans["offset"][0] < ticks["offset"][0]:
            spans = spans.filter(pl.col("offset") >= ticks["offset"][0])
        clocks = spans.select("offset").join(ticks, on="offset", how="left", maintain_order="left")
        self._pending.append(spans.select(*COLUMNS, clocks["clock"], clocks["before"]))
        self._waiting += spans.height
        if self._waiting >= _AT_ONCE:
            self._absorb()

    def idle(self, now_ms: int) -> None:
        """Note that a fetch sent at `now_ms` came back empty: all up to then is folded. It closes nothing for good."""
        self._progress = max(self._progress, now_ms)

    def trim(self, log_start: int) -> None:
        """Note that the log now begins at `log_start`: panes that may lack unread spans now gone fall silent."""
        if log_start > self._next_offset:
            self._lost += log_start - self._next_offset
            self._next_offset = log_start
            self._trimmed = True

    def emit(self) -> Emission:
        """Everything that changed since the last call; the state moves on, so send what is returned."""
        self._absorb()
        self._progress = max(self._progress, self._log_clock)
        closed_until = self._closed_until()
        panes = self._panes.emit(closed_until)
        traces = self._traces.emit(self._log_clock, self._progress)
        if not self._trimmed and self._next_offset > 0:
            self._safe = self._safe_point(closed_until)
        return Emission(
            panes=panes,
            closed=panes.filter("final"),
            traces=traces,
            log_clock=self._log_clock,
            progress=self._progress,
            next_offset=self._next_offset,
            overflow={**self._panes.overflow, **self._traces.overflow},
            late=self._late,
            skewed=self._skewed,
            duplicates=self._panes.duplicates,
            silenced=self._silenced,
            lost=self._lost,
            safe=self._safe,
        )

    def safe(self) -> SafePoint | None:
        """The safe point of the last emission; before the first one, the one resumed from."""
        return self._safe

    def _closed_until(self) -> int:
        return max(frontier(self._log_clock), self._silent_until)

    def _safe_point(self, closed_until: int) -> SafePoint:
        needed = [each for each in (self._panes.needed(), self._traces.needed()) if each]
        offset, before = min(needed, default=(self._next_offset, self._log_clock))
        return SafePoint(offset, closed_until, before, self.topic_id)

    def _fall_silent(self, clock: int) -> None:
        """Past every pane that a message before this log clock may have held a span of."""
        self._absorb()
        self._silent_until = max(self._silent_until, ((clock + FUTURE_MS) // PANE_MS + 1) * PANE_MS)
        self._silenced += self._panes.silence(self._silent_until)
        self._trimmed = False

    def _absorb(self) -> None:
        if not self._waiting:
            return
        spans = pl.concat(self._pending, rechunk=True)
        self._pending, self._waiting = [], 0
        self._traces.fold(spans)
        self._panes.fold(self._judged(spans))

    def _judged(self, spans: pl.DataFrame) -> pl.DataFrame:
        """The spans that count, with their pane's `start`, and `late_offset` where they are late or future-dated."""
        end = pl.col("start") + PANE_MS
        spans = spans.with_columns(
            pane_start(pl.col("end")).alias("start"),
            skewed=pl.col("end") > (pl.col("log_time") + FUTURE_MS) * 1_000_000,
        ).with_columns(late=~pl.col("skewed") & (pl.col("clock") >= end + LATENESS_MS))
        on_time = ~(pl.col("late") | pl.col("skewed"))
        silent = on_time & (end <= self._silent_until)
        late, skewed, silent_spans, silenced = spans.select(
            pl.col("late").sum(),
            pl.col("skewed").sum(),
            silent.sum().alias("silent"),
            (silent & (end > self._told_until)).sum().alias("silenced"),
        ).row(0)
        self._late += late
        self._skewed += skewed
        self._silenced += silenced
        spans = spans.filter(~silent) if silent_spans else spans
        return spans.with_columns(late_offset=pl.when(~on_time).then("offset"))
