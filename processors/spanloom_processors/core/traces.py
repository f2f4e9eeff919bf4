"""Trace assembly: which spans of a partition's log make up a trace, decided by the log clock alone.

A trace_id's spans are cut into *segments*: a segment ends when its root has ended and the trace was quiet, when it was idle,
or at a bound. A span that comes later opens the next segment. Closed segments are not remembered; who meets a trace_id with
two rows reads the whole trace from the raw spans. A segment's row is a function of the spans it holds, whatever closed it, so
two versions of one length are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from spanloom_processors.core.bounds import Bounds
from spanloom_processors.core.revisions import Revision, revision_at

QUIET_MS = 2_000
IDLE_MS = 30_000
AGE_MS = 30_000

_JOIN_BELOW = 20_000
_PAUSES = pl.col("clock").diff()
_ARRIVALS = {
    "offset": pl.col("offset").first(),
    "before": pl.col("before").first(),
    "opened": pl.col("clock").first(),
    "position": pl.col("position").first(),
    "last": pl.col("clock").last(),
    "last_offset": pl.col("offset").last(),
    "last_position": pl.col("position").last(),
    "arrivals": pl.len(),
    "rooted": pl.col("root").any(),
    "pause": _PAUSES.max().fill_null(0),
    "pause_rooted": _PAUSES.filter(pl.col("root").cum_max().shift(1, fill_value=False)).max().fill_null(0),
}
"""What a trace's arrivals in one poll say about whether a segment ends among them; pauses between them in log time."""


@dataclass(slots=True)
class Segment:
    """An open trace. Clocks are log clocks (ms); `position` counts the partition's spans; `told`: spans when last emitted."""

    number: int
    offset: int
    before: int
    opened: int
    last: int
    position: int
    last_offset: int
    arrivals: int = 0
    rooted: bool = False
    told: int = 0

    def closes(self) -> int:
        """The log clock at which it closes if no span comes."""
        return min(self.opened + AGE_MS, self.last + (QUIET_MS if self.rooted else IDLE_MS))


class _Held(NamedTuple):
    """Spans with their `segment`; `live` of them are in open segments."""

    spans: pl.DataFrame
    live: int


class Traces:
    """The open traces of a partition. `overflow` counts spans since it was made."""

    def __init__(self, bounds: Bounds, revisions: Sequence[Revision]) -> None:
        self.overflow = {"trace_spans": 0, "held_spans": 0}
        self._bounds = bounds
        self._revisions = revisions
        self._numbered = 0
        self._position = 0
        self._open: dict[str, Segment] = {}
        self._closed: list[Segment] = []
        self._held: list[_Held] = []

    def fold(self, spans: pl.DataFrame) -> None:
        """Fold derived spans in log order; each has the log `clock` of its message and the one `before` it."""
        spans = spans.with_row_index("position", offset=self._position)
        self._position += spans.height
        arrivals = spans.select(
            "trace_id", "offset", "before", "clock", "position", pl.col("parent_id").is_null().alias("root")
        )
        by_trace = arrivals.group_by("trace_id", maintain_order=True).agg(**_ARRIVALS)
        numbers, torn = [], []
        for arrived in by_trace.iter_rows():
            segment = self._whole(*arrived)
            numbers.append(segment.number if segment else None)
            if segment is None:
                torn.append(arrived[0])
        lookup = by_trace.select("trace_id", pl.Series("segment", numbers, dtype=pl.Int64))
        held = spans.join(lookup, on="trace_id", how="left", maintain_order="left")
        if torn:
            held = held.update(self._walked(arrivals.filter(pl.col("trace_id").is_in(torn))), on="position")
        self._held.append(_Held(held, held.height))

    def emit(self, log_clock: int, progress: int) -> pl.DataFrame:
        """Rows of the segments closed at this log clock, and of those that would be if it stood at `progress`."""
        still_open = {}
        for trace_id, segment in self._open.items():
            if self._is_over(segment, log_clock, self._position):
                self._close(segment, log_clock)
            else:
                still_open[trace_id] = segment
        self._open = still_open
        closed, self._closed = self._closed, []
        early = [each for each in still_open.values() if each.closes() <= progress and each.told < each.arrivals]
        spans = self._taken(closed, early)
        for segment in early:
            segment.told = segment.arrivals
        return pl.DataFrame() if spans.is_empty() else self._rows(spans)

    def needed(self) -> tuple[int, int] | None:
        """The first offset that an open trace needs, and the log clock before it."""
        return min(((each.offset, each.before) for each in self._open.values()), default=None)

    def _is_over(self, segment: Segment, clock: int, position: int, offset: int | None = None) -> bool:
        """Whether the segment ends before what comes at this log clock, position and offset; never within a message."""
        if offset == segment.last_offset:
            return False
        return (
            clock >= segment.closes()
            or segment.arrivals >= self._bounds.trace_spans
            or position >= segment.position + self._bounds.held_spans
        )

    def _close(self, segment: Segment, clock: int) -> None:
        if segment.arrivals >= self._bounds.trace_spans:
            self.overflow["trace_spans"] += segment.arrivals
        elif clock < segment.closes():
            self.overflow["held_spans"] += segment.arrivals
        self._closed.append(segment)

    def _whole(
        self,
        trace_id: str,
        offset: int,
        before: int,
        opened: int,
        position: int,
        last: int,
        last_offset: int,
        last_position: int,
        arrivals: int,
        rooted: bool,
        pause: int,
        pause_rooted: int,
    ) -> Segment | None:
        """The one segment that takes all of a trace's arrivals; None if they may have to be cut."""
        segment = self._open.get(trace_id)
        if segment and self._is_over(segment, opened, position, offset):
            return None
        was_rooted = bool(segment and segment.rooted)
        first, first_position, held = (
            (segment.opened, segment.position, segment.arrivals) if segment else (opened, position, 0)
        )
        if (
            pause >= (QUIET_MS if was_rooted else IDLE_MS)
            or pause_rooted >= QUIET_MS
            or last >= first + AGE_MS
            or held + arrivals > self._bounds.trace_spans
            or last_position >= first_position + self._bounds.held_spans
        ):
            return None
        if segment is None:
            segment = self._opened(trace_id, offset, before, opened, position)
        segment.last, segment.last_offset = last, last_offset
        segment.arrivals += arrivals
        segment.rooted |= rooted
        return segment

    def _opened(self, trace_id: str, offset: int, before: int, clock: int, position: int) -> Segment:
        self._numbered += 1
        segment = Segment(self._numbered, offset, before, clock, clock, position, offset)
        self._open[trace_id] = segment
        return segment

    def _walked(self, arrivals: pl.DataFrame) -> pl.DataFrame:
        """The segment of each arrival (`position`, `segment`) of traces that may have to be cut, one by one."""
        numbers = []
        for trace_id, offset, before, clock, position, root in arrivals.iter_rows():
            segment = self._open.get(trace_id)
            if segment and self._is_over(segment, clock, position, offset):
                self._close(segment, clock)
                segment = None
            if segment is None:
                segment = self._opened(trace_id, offset, before, clock, position)
            segment.last, segment.last_offset = clock, offset
            segment.arrivals += 1
            segment.rooted |= root
            numbers.append(segment.number)
        return arrivals.select("position", pl.Series("segment", numbers, dtype=pl.Int64))

    def _taken(self, closed: list[Segment], early: list[Segment]) -> pl.DataFrame:
        """The spans of segments, with `first_offset`; those of closed ones are held no longer."""
        asked = [(each.number, each.offset, True, each.told < each.arrivals) for each in closed]
        asked += [(each.number, each.offset, False, True) for each in early]
        schema = {"segment": pl.Int64, "first_offset": pl.Int64, "closed": pl.Boolean, "news": pl.Boolean}
        segments = pl.DataFrame(asked, schema=schema, orient="row")
        found, kept = [], []
        for held in self._held:
            spans = held.spans.join(segments, on="segment", how="inner", maintain_order="left")
            found.append(spans.filter("news"))
            live = held.live - spans["closed"].sum()
            kept.append(_Held(held.spans, live))
        self._held = self._compact(kept)
        return pl.concat(found) if found else pl.DataFrame()

    def _compact(self, held: list[_Held]) -> list[_Held]:
        """Without frames that are mostly closed traces, and with small ones joined: each span is copied a few times at most."""
        numbers = pl.DataFrame({"segment": [each.number for each in self._open.values()]}, schema={"segment": pl.Int64})
        dense = []
        for each in held:
            if each.live * 2 < each.spans.height:
                each = _Held(each.spans.join(numbers, on="segment", how="semi", maintain_order="left"), each.live)
            dense.append(each)
        small = [each for each in dense if each.spans.height < _JOIN_BELOW]
        large = [each for each in dense if each.spans.height >= _JOIN_BELOW]
        if small:
            large.append(_Held(pl.concat([each.spans for each in small]), sum(each.live for each in small)))
        return [each for each in large if each.live]

    def _rows(self, spans: pl.DataFrame) -> pl.DataFrame:
        from spanloom_schemas.frames import traces  # type: ignore[attr-defined]  # until it is written

        once = spans.unique(["segment", "span_id"], keep="first", maintain_order=True)
        rows = traces.summarise(once, ["trace_id", "first_offset"])
        bounds = once.group_by("trace_id", "first_offset").agg(
            pl.col("clock").first().alias("opened"),
            pl.col("clock").max().alias("last"),
            pl.col("parent_id").is_null().any().alias("rooted"),
        )
        aged = pl.col("rooted") & (pl.col("last") + QUIET_MS > pl.col("opened") + AGE_MS)
        full = pl.col("spans") >= self._bounds.trace_spans
        return (
            rows.join(bounds, on=["trace_id", "first_offset"], how="left", maintain_order="left")
            .with_columns(
                state=pl.when(full | aged).then(pl.lit("partial")).otherwise("state"),
                reason=pl.when(full)
                .then(pl.lit("bound_spans"))
                .when(aged)
                .then(pl.lit("bound_age"))
                .otherwise("reason"),
                revision=revision_at(pl.col("opened"), self._revisions),
            )
            .drop("opened", "last", "rooted")
        )
