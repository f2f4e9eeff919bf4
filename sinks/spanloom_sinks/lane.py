"""One partition on its way into the tables: what was fetched, and the one block that is being written. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl
from spanloom_schemas.frames.splice import Message

from spanloom_sinks import pending
from spanloom_sinks.pending import Mark
from spanloom_sinks.source import Source

BLOCK_BYTES = 16 << 20
BUFFER_BYTES = 2 * BLOCK_BYTES
MESSAGE_BYTES = 256
"""What a message takes beside its value: a flood of empty ones fills a buffer too."""


@dataclass(slots=True)
class Block:
    """Messages `first` to `last`, written as one: its boundaries never change once they are marked as pending."""

    source: Source
    first: int
    """The offset that was to be read next; that of its first message unless the log has lost some."""
    messages: Sequence[Message]
    repeated: bool
    """A crash came between its mark and its commit, or an insert failed: its rows may be in the tables already."""
    rows: list[tuple[str, pl.DataFrame]] | None = None
    """Table and its rows, in the order of writing; None: still to be made."""
    written: int = 0
    """How many of them are in their tables."""

    @property
    def last(self) -> int:
        """Offset of its last message."""
        return self.messages[-1][0]

    @property
    def log_clock(self) -> int:
        """The log clock (epoch ms) behind it."""
        return max(self.source.log_clock, *(log_time for _, log_time, _ in self.messages))


@dataclass(slots=True)
class Lane:
    """A partition from where its commit stands: `offset` is the first message that is not in the tables."""

    source: Source
    offset: int
    pending: int | None = None
    """Last offset of the block to be repeated."""
    buffer: list[Message] = field(default_factory=list)
    bytes: int = 0
    since: float = 0.0
    """When the oldest message of the buffer was fetched."""
    block: Block | None = None
    passed: int = 0
    """What was to be fetched before this offset is no more, or a dead letter unread."""
    committed: tuple[int, int | None] | None = None
    """Offset and pending last that this process committed; None: nothing yet."""
    paused: bool = False

    @property
    def next(self) -> int:
        """The offset that is fetched next, unless the log lost some."""
        if self.buffer:
            return max(self.buffer[-1][0] + 1, self.passed)
        return max(self.offset if self.block is None else self.block.last + 1, self.passed)

    @property
    def full(self) -> bool:
        """Nothing more should be fetched for now."""
        return self.bytes >= BUFFER_BYTES

    @property
    def large(self) -> bool:
        """There is enough for a block."""
        return self.bytes >= BLOCK_BYTES

    def add(self, messages: Sequence[Message], now: float) -> None:
        """Take what was fetched, in order of offsets. Messages before `offset` are ignored."""
        fresh = [message for message in messages if message[0] >= self.offset]
        if fresh and not self.buffer:
            self.since = now
        self.buffer.extend(fresh)
        self.bytes += sum(map(_size, fresh))

    def cut(self, now: float, linger: float) -> Block | None:
        """Take the next block from the buffer when it is large or old enough, and none is being written."""
        if self.block is not None or not self.buffer:
            return None
        repeated = self.pending is not None
        if self.pending is not None and self.pending >= self.buffer[0][0]:
            if self.buffer[-1][0] < self.pending:
                return None
            count = sum(offset <= self.pending for offset, _, _ in self.buffer)
        elif self.large or now - self.since >= linger:
            repeated, count = False, _fitting(self.buffer)
        else:
            return None
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        self.bytes -= sum(map(_size, taken))
        self.pending = None
        self.block = Block(self.source, self.offset, taken, repeated)
        return self.block

    def finish(self) -> None:
        """Note that the block is in the tables."""
        assert self.block is not None
        self.offset = self.block.last + 1
        self.source = self.source._replace(log_clock=self.block.log_clock)
        self.block = None

    def mark(self) -> Mark:
        """What to write beside `offset` when it is committed."""
        last = self.block.last if self.block is not None else self.pending
        return Mark(self.source.topic_id, self.source.log_clock, last)


def resumed(source: Source, committed: int, metadata: str | None, low: int, high: int) -> Lane:
    """The lane of a partition whose log has the offsets `low` to `high` (exclusive), from the group's commit.

    `source`: its log clock is not known yet. `committed`: below 0 there is no commit. A commit of another topic of that
    name is none either.
    """
    mark = pending.mark(metadata)
    if committed < 0 or (mark is not None and mark.topic_id != source.topic_id):
        return Lane(source, low)
    source = source._replace(log_clock=mark.log_clock if mark is not None else 0)
    if mark is not None and mark.last is not None and low <= mark.last < high:
        return Lane(source, committed, pending=mark.last)
    return Lane(source, max(committed, low))


def _size(message: Message) -> int:
    return MESSAGE_BYTES + len(message[2])


def _fitting(buffer: Sequence[Message]) -> int:
    """How many messages make a block of about BLOCK_BYTES; at least one."""
    total = 0
    for count, message in enumerate(buffer):
        total += _size(message)
        if total > BLOCK_BYTES and count:
            return count
    return len(buffer)
