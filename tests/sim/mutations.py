"""The product with one of its laws left out: each must make some story break, or the simulation proves nothing."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import polars as pl
from spanloom_processors import emit
from spanloom_processors import spans as worker_spans
from spanloom_processors.commits import Point
from spanloom_processors.core import offsets, panes, partition, traces
from spanloom_processors.core.alerts import engine, progress, verdicts
from spanloom_processors.core.offsets import SafePoint
from spanloom_processors.worker import Worker
from spanloom_sinks import amendments, lane, pending, rollups, trace_hours, writer
from spanloom_sinks.testing import MemoryDatabase

from tests.sim import by_hand
from tests.sim.story import Story, story

Patch = Callable[[Any, str, Any], None]


class Mutation(NamedTuple):
    """A law left out. `told`: a story that must break without it; else stories with `focus`, that of `seed` first."""

    apply: Callable[[Patch], None]
    focus: frozenset[str] = frozenset()
    seed: int = 0
    """the story that broke when it was last looked for"""
    told: Callable[[], Story] | None = None

    def stories(self, most: int) -> Iterator[Story]:
        """Stories of which one must break, the most promising first."""
        if self.told is not None:
            yield self.told()
            return
        yield from (story(seed, self.focus) for seed in (self.seed, *range(most)))


def _point_at(change: Callable[[SafePoint], SafePoint]) -> Callable[[Patch], None]:
    def apply(patch: Patch) -> None:
        honest = offsets.decode

        def decode(offset: int, metadata: str | None) -> SafePoint | None:
            found = honest(offset, metadata)
            return found and change(found)

        patch(worker_spans.offsets, "decode", decode)

    return apply


def _last_offset(patch: Patch) -> None:
    def point(report: worker_spans.Report) -> Point | None:
        emission = report.emission
        if emission.safe is None:
            return None
        last = emission.safe._replace(offset=emission.next_offset, log_clock=emission.log_clock)
        return Point(last.offset, offsets.encode(last))

    patch(worker_spans.Report, "point", property(point))


def _declared_first(patch: Patch) -> None:
    async def emit(self: Worker) -> None:
        now = self._clock()
        for tp, point in self.spans.announcements():
            self._declare(tp, point)
        reports = list(self.spans.report(self.consumer.idle_since, now, self.consumer.commits.committed))
        for report in reports:
            self._declare(report.tp, report.point)
        await self.consumer.commit()
        await self.store(message for report in reports for message in report.messages)

    patch(Worker, "emit", emit)


def _no_jump(patch: Patch) -> None:
    def fall_silent(self: partition.Partition, clock: int) -> None:
        self._trimmed = False

    patch(partition.Partition, "_fall_silent", fall_silent)


def _any_topic(patch: Patch) -> None:
    honest = partition.Partition.__init__

    def init(self: Any, topic_id: str, *others: Any, resume: SafePoint | None = None, log_start: int = 0) -> None:
        resume = resume and resume._replace(topic_id=topic_id)
        honest(self, topic_id, *others, resume=resume, log_start=log_start)

    patch(partition.Partition, "__init__", init)


def _wall_clock(patch: Patch) -> None:
    def idle(self: partition.Partition, now_ms: int) -> None:
        self._absorb()
        self._progress = self._log_clock = max(self._progress, self._log_clock, now_ms)

    patch(partition.Partition, "idle", idle)


def _never_idle(patch: Patch) -> None:
    patch(partition.Partition, "idle", lambda self, now_ms: None)


def _idle_closes(patch: Patch) -> None:
    def idle(self: partition.Partition, now_ms: int) -> None:
        self._absorb()
        self._progress = self._silent_until = max(self._progress, now_ms)

    patch(partition.Partition, "idle", idle)


def _labels_of_a_fold(patch: Patch) -> None:
    """The cap of labels is taken per emission, so it depends on where the log was cut."""
    honest = panes.Panes.emit

    def emit_(self: panes.Panes, closed_until: int) -> pl.DataFrame:
        found = honest(self, closed_until)
        self._labels.clear()
        return found

    patch(panes.Panes, "emit", emit_)


def _copies_in_panes(patch: Patch) -> None:
    honest = panes.Panes._first_copies

    def all_copies(self: panes.Panes, spans: pl.DataFrame) -> pl.DataFrame:
        honest(self, spans)
        return spans

    patch(panes.Panes, "_first_copies", all_copies)


def _late_in_panes(patch: Patch) -> None:
    honest = partition.Partition._judged

    def judged(self: partition.Partition, spans: pl.DataFrame) -> pl.DataFrame:
        return honest(self, spans).with_columns(late_offset=pl.lit(None, pl.Int64))

    patch(partition.Partition, "_judged", judged)


def _mixed_revisions(patch: Patch) -> None:
    def rows(self: MemoryDatabase) -> list[Any]:
        return [row for row in self.final("panes") if row["late_offset"] < 0]

    patch(MemoryDatabase, "whole_panes", rows)


def _one_number(patch: Patch) -> None:
    patch(panes, "revision_at", lambda start, revisions: pl.lit(1, pl.Int32))


def _unnumbered(patch: Patch) -> None:
    patch(offsets.Pricing, "under", lambda self, version: self._replace(version=version))


def _unannounced(patch: Patch) -> None:
    honest = worker_spans.Spans._priced
    patch(worker_spans.Spans, "_priced", lambda self, *place: (honest(self, *place)[0], None))


def _unsaid(patch: Patch) -> None:
    first: dict[str, str] = {}

    def source(*place: Any) -> emit.Source:
        return emit.Source(*place[:-1], first.setdefault("book", place[-1]))

    patch(worker_spans, "Source", source)


def _cap_from_memory(patch: Patch) -> None:
    def group(self: panes.Panes, start: int, key: Any, late_offset: int | None, size: int) -> int:
        if late_offset is not None:
            return self._new_group(start, key, late_offset)
        groups = self._groups.setdefault(start, {})
        if key not in groups and sum(map(len, self._groups.values())) >= self._bounds_at(start).pane_keys:
            key = tuple(panes.OTHER if isinstance(value, str) else value for value in key)
        if key not in groups:
            groups[key] = self._new_group(start, key, None)
        return groups[key]

    patch(panes.Panes, "_group", group)


def _one_row_a_segment(patch: Patch) -> None:
    patch(amendments.Amendments, "turn", lambda self, now: self.clear() or [])


def _newest_of_all(patch: Patch) -> None:
    honest = amendments.Amendments._ask

    def ask(self: amendments.Amendments, ids: pl.Series, since: int | None = None) -> pl.DataFrame:
        newest = int(self._store.told_until().timestamp() * 1000)
        return honest(self, ids, None if since is None else newest - amendments.LOOK_BACK_MS)

    patch(amendments.Amendments, "_ask", ask)


def _copies_in_traces(patch: Patch) -> None:
    patch(traces.traces, "_rows", _rows_with_copies)


def _rows_with_copies(spans: pl.DataFrame, keys: Any, found: pl.DataFrame) -> pl.DataFrame:
    numbers = spans.select(keys).join(found, on=keys, how="left", nulls_equal=True, maintain_order="left")["trace"]
    rows = spans.select(numbers, *traces.traces._USED).sort("trace", "start", "span_id")
    again = rows.select("trace", "span_id").is_duplicated()
    return rows.with_columns(
        span_id=pl.when(again).then(pl.col("span_id") + pl.col("offset").cast(pl.String)).otherwise("span_id")
    )


def _without_records(patch: Patch) -> None:
    honest = engine.Engine.restore
    patch(engine.Engine, "restore", lambda self, alerts, hours, *point: honest(self, [], hours, *point))


def _without_late(patch: Patch) -> None:
    honest = engine.Engine.restore
    patch(engine.Engine, "restore", lambda self, alerts, hours, judged, late: honest(self, alerts, hours, judged))


def _without_waiting(patch: Patch) -> None:
    def due(self: progress.Progress) -> tuple[int, bool] | None:
        end = self.judged + progress.PANE_MS
        return (end, False) if end <= self.clock else None

    patch(progress.Progress, "due", due)


def _token(patch: Patch) -> None:
    patch(writer, "token", lambda topic_id, *place: pending.token("", *place))


def _no_boundaries(patch: Patch) -> None:
    patch(lane.Lane, "mark", lambda self: pending.Mark(self.source.topic_id, self.source.log_clock))


def _unasked(patch: Patch) -> None:
    patch(writer.Writer, "_missing", lambda self, block, rows: rows)


def _trusting(patch: Patch) -> None:
    def complete(self: writer.Writer, block: lane.Block, rows: pl.DataFrame, first: str) -> None:
        self._insert("spans", self._missing(block, rows), first)

    patch(writer.Writer, "_complete", complete)


def _sink_clock(patch: Patch) -> None:
    honest = pending.mark

    def mark(metadata: str | None) -> pending.Mark | None:
        found = honest(metadata)
        return found and pending.Mark(found.topic_id, 0, found.last)

    patch(lane.pending, "mark", mark)


def _unsettled(patch: Patch) -> None:
    patch(rollups.Rollups, "_settled", lambda self, minutes: minutes)


def _trace_clock(patch: Patch) -> None:
    patch(engine.Engine, "resume_traces", lambda self, partition, metadata: None)


def _own_past(patch: Patch) -> None:
    honest = verdicts.history

    def history(series: Any, group: Any, before: int) -> verdicts.History:
        return honest(series, group, before + 30_000)

    patch(verdicts, "history", history)


def _closed_for_good(patch: Patch) -> None:
    patch(trace_hours.TraceHours, "note", lambda self, *written: None)


def _unheld(patch: Patch) -> None:
    patch(trace_hours.TraceHours, "hold", lambda self, lane: None)


def _about(*features: str) -> frozenset[str]:
    return frozenset(features)


MUTATIONS = {
    "the last offset of the poll is committed": Mutation(_last_offset, _about("kill"), 2),
    "1: a replay forgets the frontier": Mutation(
        _point_at(lambda point: point._replace(frontier=-10_000)), _about("kill", "keys", "quiet", "long"), 5
    ),
    "1: a replay forgets the log clock": Mutation(
        _point_at(lambda point: point._replace(log_clock=0)),
        told=by_hand.a_clock_that_steps_back_behind_the_safe_offset,
    ),
    "1: a commit is made before what it stands for is stored": Mutation(
        _declared_first, _about("bomb", "quiet", "long"), 4
    ),
    "1: a commit of another topic of that name counts": Mutation(_any_topic, _about("recreate"), 4),
    "1: retention does not move the frontier": Mutation(_no_jump, _about("trim"), 1),
    "2: the wall clock closes panes": Mutation(_wall_clock, _about("skew", "quiet"), 2),
    "2: an empty fetch closes panes for good": Mutation(_idle_closes, _about("quiet", "late"), 7),
    "2: an idle partition says nothing": Mutation(_never_idle, _about("quiet"), 2),
    "3: panes count copies": Mutation(_copies_in_panes, _about("resend"), 1),
    "3: traces count copies": Mutation(_copies_in_traces, _about("resend"), 2),
    "4: a late span goes to its pane": Mutation(_late_in_panes, _about("late"), 0),
    "5: a reader mixes revisions of a pane": Mutation(
        _mixed_revisions, _about("revise", "expel", "keys", "second"), 23
    ),
    "5: new caps come without a new number": Mutation(_one_number, _about("revise", "expel", "keys", "second"), 23),
    "5: new prices come without a new number": Mutation(_unnumbered, told=by_hand.a_zombie_with_the_old_prices),
    "5: a number of new prices is used before it is committed": Mutation(_unannounced, _about("reprice", "kill"), 49),
    "5: panes do not say by which book they are priced": Mutation(_unsaid, _about("reprice"), 0),
    "6: a cap is decided from memory": Mutation(_cap_from_memory, _about("kill", "keys"), 0),
    "6: a cap of labels begins anew with an emission": Mutation(_labels_of_a_fold, _about("keys"), 30),
    "a trace with two keys stays two": Mutation(_one_row_a_segment, _about("late"), 0),
    "a trace's segments are looked for by the newest of all traces": Mutation(
        _newest_of_all, told=by_hand.a_trace_sent_twice_in_a_backlog_behind_another_partition
    ),
    "alerts: a restart forgets the records": Mutation(_without_records, _about("kill"), 0),
    "alerts: a restart forgets which late rows were told": Mutation(_without_late, seed=132),
    "alerts: a restart forgets the clock of llm.traces": Mutation(_trace_clock, seed=78),
    "alerts: a window is part of the past that it is compared with": Mutation(_own_past, _about("usual"), 3),
    "alerts: nobody waits for a partition": Mutation(_without_waiting, _about("second"), 0),
    "sink: the topic id is left out of the token": Mutation(_token, _about("recreate"), 16),
    "sink: a block's boundaries are not recorded": Mutation(_no_boundaries, _about("bomb"), 0),
    "sink: nobody asks which rows of a block exist": Mutation(_unasked, told=by_hand.a_block_whose_token_was_forgotten),
    "sink: a token is trusted after an insert has failed": Mutation(
        _trusting, told=by_hand.a_full_disk_that_keeps_tokens_and_no_rows
    ),
    "sink: a minute does not wait for its spans": Mutation(_unsettled, seed=339),
    "sink: an hour of traces is summed up once": Mutation(_closed_for_good, _about("late"), 0),
    "sink: a commit is made before an hour of traces is right": Mutation(_unheld, _about("late", "kill"), 0),
    "sink: a restart forgets the log clock": Mutation(_sink_clock, _about("kill", "clock"), 3),
}
