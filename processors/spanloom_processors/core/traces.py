"""Trace assembly: which spans of a partition's log make up a trace, decided by the log clock alone.

A trace_id's spans are cut into *segments*: a segment ends when its root has ended and the trace was quiet, when it was
idle, or at a bound. A span that comes later opens the next segment. Closed segments are not remembered; who meets a
trace_id with two rows reads the whole trace from the raw spans. A segment's row is a function of the spans it holds,
whatever closed it, so two versions of one length are equal (ADR 0051).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

import polars as pl
from spanloom_schemas.frames import traces

from spanloom_processors.core.bounds import Bounds
from spanloom_processors.core.columns import COLUMNS
from spanloom_processors.core.revisions import Revision, revision_at

QUIET_MS = 2_000
IDLE_MS = 30_000
AGE_MS = 30_000

_FRAMES = 8
_SMALL = 1_000
"""Held spans that are copied in less time than polars takes to be asked once more."""
_ROOT = (pl.col("parent_id").is_null() & (pl.col("kind") != "feedback")).alias("root")
_TRACE = pl.col("ordinal").first().over("trace_id").alias("trace")

# Of arrivals sorted by trace: the pause before each in its trace, and whether a root came before it.
_FRESH = pl.col("trace").ne_missing(pl.col("trace").shift(1))
_ROOTS = pl.col("root").cum_sum() - pl.col("root")
_PAUSE = pl.when(~_FRESH).then(pl.col("clock") - pl.col("clock").shift(1)).otherwise(0).alias("pause")
_AFTER_ROOT = _ROOTS.gt(pl.when(_FRESH).then(_ROOTS).forward_fill()).alias("after_root")

_ARRIVALS = {
    "trace_id": pl.col("trace_id").first(),
    "offset": pl.col("offset").first(),
    "before": pl.col("before").first(),
    "opened": pl.col("clock").first(),
    "ordinal": pl.col("ordinal").first(),
    "last": pl.col("clock").last(),
    "last_offset": pl.col("offset").last(),
    "last_ordinal": pl.col("ordinal").last(),
    "arrivals": pl.len(),
    "rooted": pl.col("root").any(),
    "pause": pl.col("pause").max(),
    "pause_rooted": pl.col("pause").filter("after_root").max().fill_null(0),
}
"""What a trace's arrivals in one poll say about whether a segment ends among them; pauses between them in log time."""


@dataclass(slots=True)
class Segment:
    """An open trace. `opened`, `last`: log clocks (ms) of its first and last span; `ordinal`: spans before it.

    `before`: the log clock before `offset`, its first; `arrivals` count copies too; `told`: arrivals when last told.
    """

    number: int
    offset: int
    before: int
    opened: int
    last: int
    ordinal: int
    last_offset: int
    arrivals: int = 0
    rooted: bool = False
    told: int = 0
    closes: int = 0

    def take(self, last: int, last_offset: int, arrivals: int, rooted: bool) -> None:
        """More spans arrived, the last one at that log clock and offset. `closes`: the log clock that ends it now."""
        self.last, self.last_offset = last, last_offset
        self.arrivals += arrivals
        self.rooted |= rooted
        self.closes = min(self.opened + AGE_MS, last + (QUIET_MS if self.rooted else IDLE_MS))


SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {**traces.columns(), "revision": pl.Int32}
"""Columns of trace rows: llm.traces' Trace and the `revision` that a message carries in its header."""


class Traces:
    """The open traces of a partition. `overflow` counts spans since it was made."""

    def __init__(self, bounds: Bounds, revisions: Sequence[Revision]) -> None:
        self.overflow = {"trace_spans": 0, "held_spans": 0}
        self._bounds = bounds
        self._revisions = revisions
        self._numbered = 0
        self._ordinal = 0
        self._open: dict[str, Segment] = {}
        self._closed: list[Segment] = []
        self._held: list[pl.DataFrame] = []  # spans with their `segment`
        self._dead = 0  # how many of them are in closed segments

    def fold(self, spans: pl.DataFrame) -> None:
        """Fold derived spans in log order; each has the log `clock` of its message and the one `before` it."""
        arrivals = spans.select("trace_id", "offset", "before", "clock", _ROOT).with_row_index("ordinal", self._ordinal)
        arrivals = arrivals.with_columns(_TRACE)
        self._ordinal += spans.height
        paused = arrivals.sort("trace", maintain_order=True).with_columns(_PAUSE, _AFTER_ROOT)
        by_trace = paused.group_by("trace", maintain_order=True).agg(**_ARRIVALS)
        numbers = [self._whole(*arrived) for arrived in by_trace.iter_rows()]
        by_trace = by_trace.select("trace", pl.Series("segment", numbers, dtype=pl.Int64))
        segments = arrivals.select("ordinal", "trace").join(by_trace, on="trace", how="left", maintain_order="left")
        if None in numbers:
            torn = arrivals.filter(segments["segment"].is_null())
            segments = segments.update(self._walked(torn), on="ordinal")
        self._held.append(spans.select(*COLUMNS, "clock", segments["segment"]))

    def emit(self, log_clock: int, progress: int) -> pl.DataFrame:
        """Rows of the segments closed at this log clock, and of those that would be if it stood at `progress`."""
        still_open = {}
        for trace_id, segment in self._open.items():
            if self._is_over(segment, log_clock, self._ordinal):
                self._close(segment, log_clock)
            else:
                still_open[trace_id] = segment
        self._open = still_open
        closed, self._closed = self._closed, []
        early = []
        if progress > log_clock:
            early = [each for each in still_open.values() if each.closes <= progress and each.told < each.arrivals]
        news = [each for each in closed if each.told < each.arrivals] + early
        rows = self._rows(news)
        for segment in early:
            segment.told = segment.arrivals
        self._forget(closed)
        return rows

    def needed(self) -> tuple[int, int] | None:
        """The first offset that an open trace needs, and the log clock before it."""
        first = min(self._open.values(), key=attrgetter("offset"), default=None)
        return (first.offset, first.before) if first else None

    def _is_over(self, segment: Segment, clock: int, ordinal: int, offset: int | None = None) -> bool:
        """Whether the segment ends before what comes at this log clock, ordinal and offset; never within a message."""
        if offset == segment.last_offset:
            return False
        return (
            clock >= segment.closes
            or segment.arrivals >= self._bounds.trace_spans
            or ordinal >= segment.ordinal + self._bounds.held_spans
        )

    def _close(self, segment: Segment, clock: int) -> None:
        if segment.arrivals >= self._bounds.trace_spans:
            self.overflow["trace_spans"] += segment.arrivals
        elif clock < segment.closes:
            self.overflow["held_spans"] += segment.arrivals
        self._closed.append(segment)

    def _whole(
        self,
        trace: int,
        trace_id: str,
        offset: int,
        before: int,
        opened: int,
        ordinal: int,
        last: int,
        last_offset: int,
        last_ordinal: int,
        arrivals: int,
        rooted: bool,
        pause: int,
        pause_rooted: int,
    ) -> int | None:
        """The number of the one segment that takes all of a trace's arrivals; None if they may have to be cut."""
        segment = self._open.get(trace_id)
        if segment and self._is_over(segment, opened, ordinal, offset):
            return None
        was_rooted = bool(segment and segment.rooted)
        first, first_ordinal, held = (
            (segment.opened, segment.ordinal, segment.arrivals) if segment else (opened, ordinal, 0)
        )
        if (
            pause >= (QUIET_MS if was_rooted else IDLE_MS)
            or pause_rooted >= QUIET_MS
            or last >= first + AGE_MS
            or held + arrivals > self._bounds.trace_spans
            or last_ordinal >= first_ordinal + self._bounds.held_spans
        ):
            return None
        if segment is None:
            segment = self._opened(trace_id, offset, before, opened, ordinal)
        segment.take(last, last_offset, arrivals, rooted)
        return segment.number

    def _opened(self, trace_id: str, offset: int, before: int, clock: int, ordinal: int) -> Segment:
        self._numbered += 1
        segment = Segment(self._numbered, offset, before, clock, clock, ordinal, offset)
        self._open[trace_id] = segment
        return segment

    def _walked(self, arrivals: pl.DataFrame) -> pl.DataFrame:
        """The segment of each arrival (`ordinal`, `segment`) of traces that may have to be cut, one by one."""
        numbers = []
        columns = arrivals.select("trace_id", "offset", "before", "clock", "ordinal", "root")
        for trace_id, offset, before, clock, ordinal, root in columns.iter_rows():
            segment = self._open.get(trace_id)
            if segment and self._is_over(segment, clock, ordinal, offset):
                self._close(segment, clock)
                segment = None
            if segment is None:
                segment = self._opened(trace_id, offset, before, clock, ordinal)
            segment.take(clock, offset, 1, root)
            numbers.append(segment.number)
        return arrivals.select("ordinal", pl.Series("segment", numbers, dtype=pl.Int64))

    def _rows(self, segments: list[Segment]) -> pl.DataFrame:
        if not segments:
            return pl.DataFrame(schema=SCHEMA)
        numbers = _numbers(segments)
        spans = self._of(numbers)
        bounds = self._bounds_met(segments, spans)
        opened = [each.opened for each in segments]
        bound = pl.Series([bounds.get(each.number) for each in segments], dtype=pl.String)
        facts = numbers.with_columns(opened=pl.Series(opened, dtype=pl.Int64), bound=bound)
        rows = traces.summarise(spans, ["trace_id", "segment"])
        rows = rows.join(facts, on="segment", how="left", maintain_order="left")
        return rows.with_columns(
            state=pl.when(pl.col("bound").is_null()).then("state").otherwise(pl.lit("partial")),
            reason=pl.coalesce("bound", "reason"),
            revision=revision_at(pl.col("opened"), self._revisions),
        ).select(SCHEMA.keys())

    def _of(self, numbers: pl.DataFrame) -> pl.DataFrame:
        """The held spans of some segments, in the order of the log."""
        held = self._held
        if sum(each.height for each in held) <= _SMALL:
            held = [pl.concat(held, rechunk=True)]
        parts = [each.join(numbers, on="segment", how="semi", maintain_order="left") for each in held]
        # Sorting and joining frames of many chunks is up to ten times slower.
        return pl.concat(parts, rechunk=True)

    def _bounds_met(self, segments: list[Segment], spans: pl.DataFrame) -> dict[int, str]:
        """The bound that cut a segment short, from the spans it holds: copies of a span decide nothing."""
        limit = self._bounds.trace_spans
        suspects = {each.number: each for each in segments if each.arrivals >= limit or _is_aged(each, each.last)}
        if not suspects:
            return {}
        own = spans.filter(pl.col("segment").is_in(list(suspects)))
        once = own.unique(["segment", "span_id"], keep="first", maintain_order=True)
        held = once.group_by("segment").agg(pl.len(), pl.col("clock").last())
        full = {number: "bound_spans" for number, size, _ in held.iter_rows() if size >= limit}
        aged = {number: "bound_age" for number, _, last in held.iter_rows() if _is_aged(suspects[number], last)}
        return aged | full

    def _forget(self, closed: list[Segment]) -> None:
        """Let go of closed segments' spans; what is held is rewritten only now and then, so a span is copied seldom."""
        self._dead += sum(each.arrivals for each in closed)
        height = sum(each.height for each in self._held)
        if self._dead * 2 > height or len(self._held) > _FRAMES:
            self._held = [self._of(_numbers(self._open.values()))]
            self._dead = 0


def _numbers(segments: Iterable[Segment]) -> pl.DataFrame:
    return pl.DataFrame({"segment": [each.number for each in segments]}, schema={"segment": pl.Int64})


def _is_aged(segment: Segment, last: int) -> bool:
    """Whether age ends a segment whose last span came at this log clock before quiet does."""
    return segment.rooted and last + QUIET_MS > segment.opened + AGE_MS
