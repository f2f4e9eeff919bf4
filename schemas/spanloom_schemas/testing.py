"""For tests of whatever reads or writes the topics: a log and a clock in memory, with no Kafka.

The log does what exactness leans on: offsets, log times that the broker gives, commits with metadata, generations that
fence who lost its place, retention, topics that are made anew under another id.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Clock:
    """A clock that moves when it is told to; epoch ms."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self.now_ms = now_ms

    def advance(self, ms: int) -> None:
        """Let time pass; a negative number is a clock that steps back."""
        self.now_ms += ms


class Record(NamedTuple):
    """A message in a log."""

    offset: int
    log_time: int
    key: bytes | None
    value: bytes


class Committed(NamedTuple):
    """What a group remembers of a partition."""

    offset: int
    metadata: str


class Fenced(Exception):
    """A commit by a member whose place another one has taken."""


@dataclass
class _Partition:
    records: list[Record] = field(default_factory=list)
    start: int = 0


@dataclass
class _Topic:
    id: str
    partitions: list[_Partition]


class Log:
    """Topics, and the commits of groups. Log times are those of `clock`."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._topics: dict[str, _Topic] = {}
        self._made = 0
        self._committed: dict[tuple[str, str, int], Committed] = {}
        self._generations: dict[str, int] = {}

    def create(self, topic: str, partitions: int) -> str:
        """Make a topic, in the place of one of that name if there is one; returns its id."""
        self._made += 1
        self._topics[topic] = _Topic(f"{topic}-{self._made}", [_Partition() for _ in range(partitions)])
        return self._topics[topic].id

    def topic_id(self, topic: str) -> str:
        """The id of a topic."""
        return self._topics[topic].id

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has."""
        return len(self._topics[topic].partitions)

    def append(self, topic: str, partition: int, value: bytes, key: bytes | None = None) -> Record:
        """Add a message; returns it with its offset and log time."""
        of = self._topics[topic].partitions[partition]
        record = Record(self.end(topic, partition), self.clock.now_ms, key, value)
        of.records.append(record)
        return record

    def read(self, topic: str, partition: int, offset: int, most: int = 10**9) -> list[Record]:
        """At most so many messages from `offset` on, or from the log's start where retention has passed `offset`."""
        of = self._topics[topic].partitions[partition]
        begin = max(offset - of.start, 0)
        return of.records[begin : begin + most]

    def start(self, topic: str, partition: int) -> int:
        """The first offset that can be read."""
        return self._topics[topic].partitions[partition].start

    def end(self, topic: str, partition: int) -> int:
        """The offset that the next message will get."""
        of = self._topics[topic].partitions[partition]
        return of.start + len(of.records)

    def trim(self, topic: str, partition: int, offset: int) -> list[Record]:
        """Retention takes what is before `offset`; returns what it took."""
        of = self._topics[topic].partitions[partition]
        count = max(0, min(offset - of.start, len(of.records)))
        taken, of.records = of.records[:count], of.records[count:]
        of.start += count
        return taken

    def generation(self, group: str) -> int:
        """The group's generation: who joined under an earlier one has lost its place."""
        return self._generations.get(group, 0)

    def rebalance(self, group: str) -> int:
        """Begin a new generation; returns it."""
        self._generations[group] = self.generation(group) + 1
        return self._generations[group]

    def commit(self, group: str, generation: int, points: Mapping[tuple[str, int], Committed]) -> None:
        """Remember points by topic and partition. Raises Fenced for a member of an earlier generation."""
        if generation != self.generation(group):
            raise Fenced(f"{group}: generation {generation} is over, it is {self.generation(group)}")
        for (topic, partition), point in points.items():
            self._committed[group, topic, partition] = point

    def committed(self, group: str, topic: str, partition: int) -> Committed | None:
        """What the group remembers of a partition; None: nothing."""
        return self._committed.get((group, topic, partition))
