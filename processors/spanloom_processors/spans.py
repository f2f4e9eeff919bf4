"""This worker's partitions of llm.spans: polls in; panes, traces and progress out."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import polars as pl
from faust.types import TP
from spanloom_schemas.frames.derive import derive
from spanloom_schemas.frames.spans import flatten
from spanloom_schemas.frames.splice import Decoded, decode
from spanloom_schemas.prices.book import Book

from spanloom_processors import emit
from spanloom_processors.assignment import Assigned
from spanloom_processors.commits import Point
from spanloom_processors.consumer import Poll
from spanloom_processors.core import offsets
from spanloom_processors.core.bounds import DEFAULT, Bounds
from spanloom_processors.core.drops import Drops
from spanloom_processors.core.offsets import Pricing, SafePoint
from spanloom_processors.core.partition import Emission, Partition
from spanloom_processors.core.revisions import Revision
from spanloom_processors.emit import Outgoing, Source

log = logging.getLogger(__name__)

TOPIC = "llm.spans"
REVISIONS = (Revision(1, 0),)


@dataclass(slots=True)
class Held:
    """A partition that this worker has.

    `announcement`: what must be committed before anything is told, of a new price book; None: nothing must. `passed`:
    the progress it last reported.
    """

    source: Source
    partition: Partition
    drops: Drops
    pricing: Pricing
    announcement: Point | None
    passed: int = 0


class Report(NamedTuple):
    """What a partition had to say, as messages, and what may be committed once they are stored.

    `dropped`: spans by reason that producers newly said they dropped; `drops`: what the commit says of all of them.
    """

    tp: TP
    held: Held
    emission: Emission
    messages: list[Outgoing]
    dropped: Counter[str]
    drops: str

    @property
    def point(self) -> Point | None:
        """What to commit; None: nothing new."""
        safe = self.emission.safe
        return Point(safe.offset, offsets.encode(safe, self.held.pricing, self.drops)) if safe else None


class Spans:
    """The partitions of llm.spans that this worker has. It neither waits nor reads a clock."""

    def __init__(self, book: Book, revisions: Sequence[Revision] = REVISIONS, bounds: Bounds = DEFAULT) -> None:
        self._book, self._revisions, self._bounds = book, revisions, bounds
        self._none = _nothing(book)
        self._held: dict[TP, Held] = {}

    def assign(self, tp: TP, assigned: Assigned) -> int:
        """Take a partition; returns the offset from which to read it."""
        committed = assigned.committed
        resume = offsets.decode(committed.offset, committed.metadata) if committed else None
        log_start = assigned.log_start
        if committed and resume is None:
            log.warning("partition=%s.%d has a commit without readable metadata, reading on from it", *tp)
            log_start = max(log_start, committed.offset)
        heard = offsets.drops(committed.metadata) if committed else ""
        pricing, announcement = self._priced(assigned, resume, heard)
        revisions = [each._replace(number=each.number + pricing.changes) for each in self._revisions]
        at = assigned.topic_id, tp.partition
        partition = Partition(*at, revisions, self._bounds, resume=resume, log_start=log_start)
        source = Source(tp.topic, *at, assigned.partitions, revisions[-1].number, pricing.version)
        self._held[tp] = Held(source, partition, Drops(tp.partition, assigned.partitions, heard), pricing, announcement)
        if committed and partition.next_offset != committed.offset:
            why = "commit=%d cannot be resumed (retention, or a new topic), reading from offset=%d"
            log.warning("partition=%s.%d " + why, *tp, committed.offset, partition.next_offset)
        return partition.next_offset

    def _priced(self, assigned: Assigned, resume: SafePoint | None, drops: str) -> tuple[Pricing, Point | None]:
        """The pricing of a partition from here on, and the commit that must announce it where it is another."""
        committed = assigned.committed
        if committed is None or resume is None or resume.topic_id != assigned.topic_id:
            return Pricing(self._book.version), None
        before = offsets.pricing(committed.metadata)
        now = before.under(self._book.version) if before else Pricing(self._book.version)
        if before is None or now == before:
            return now, None
        return now, Point(committed.offset, offsets.encode(resume, now, drops))

    def announcements(self) -> Iterator[tuple[TP, Point]]:
        """What is to be committed before anything is told of these partitions: whoever follows must know."""
        yield from ((tp, held.announcement) for tp, held in self._held.items() if held.announcement is not None)

    def holds(self, held: Held, tp: TP) -> bool:
        """Whether this state is still this worker's; after a rebalance even the same partition has another."""
        return self._held.get(tp) is held

    def clear(self) -> None:
        """All partitions are taken away."""
        self._held.clear()

    def derive(self, decoded: Decoded) -> pl.DataFrame:
        """The derived spans of decoded messages."""
        return _derived(decoded, self._book)

    def skips(self, poll: Poll) -> bool:
        """Whether offsets before a poll were not read: retention took them, or there is no message under them."""
        held = self._held.get(poll.tp)
        return held is not None and poll.messages[0][0] > held.partition.next_offset

    def fold(self, poll: Poll, spans: Sequence[pl.DataFrame], log_start: int = 0) -> None:
        """Fold the derived spans of a poll into its partition.

        `log_start`, of a poll that skips: the log's beginning. Before it messages are lost; offsets after it that
        nothing was read of are a transaction's marks, or messages that it gave up.
        """
        held = self._held.get(poll.tp)
        if held is None:
            return
        lost_until, expected = min(log_start, poll.messages[0][0]), held.partition.next_offset
        if lost_until > expected:
            log.warning("partition=%s.%d retention took offsets %d to %d unread", *poll.tp, expected, lost_until - 1)
            held.partition.trim(lost_until)
        held.partition.fold(pl.concat([self._none, *spans]), _clock(poll))

    def hear(self, tp: TP, headers: pl.DataFrame) -> None:
        """Read what the headers of messages of a partition say about their producers."""
        if (held := self._held.get(tp)) is not None:
            held.drops.hear(headers)

    def report(
        self,
        idle_since: Callable[[TP, int], int | None],
        now_ns: int,
        committed: Callable[[TP], Point | None] = lambda tp: None,
    ) -> Iterator[Report]:
        """What every partition has to say now, unless its announcement is still to be committed.

        `idle_since(tp, offset)`: epoch ms at which a fetch was sent that found nothing from this offset on, or None.
        `committed`: a partition's commit.
        """
        for tp, held in self._held.items():
            if held.announcement is not None:
                if committed(tp) != held.announcement:
                    continue
                held.announcement = None
            idle = idle_since(tp, held.partition.next_offset)
            if idle is not None:
                held.partition.idle(idle)
            emission = held.partition.emit()
            messages = [
                *emit.traces(held.source, emission, now_ns),
                *emit.panes(held.source, emission, held.passed, now_ns),
            ]
            held.passed = emission.progress
            yield Report(tp, held, emission, messages, held.drops.grown(), held.drops.encode())


def _derived(decoded: Decoded, book: Book) -> pl.DataFrame:
    spans: pl.DataFrame = derive(flatten(decoded), book)
    return spans


@cache
def _nothing(book: Book) -> pl.DataFrame:
    """No derived spans, but their columns."""
    return _derived(decode("span_batch", []), book)


def _clock(poll: Poll) -> pl.DataFrame:
    """Offset and log time of every message of a poll, readable or not."""
    numbers, times, _ = zip(*poll.messages, strict=True)
    return pl.DataFrame({"offset": numbers, "log_time": times}, schema={"offset": pl.Int64, "log_time": pl.Int64})
