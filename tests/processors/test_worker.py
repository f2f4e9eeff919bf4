"""Workers after one another, over one log and without Kafka: what each counts."""

import asyncio
from types import SimpleNamespace
from typing import Any

from faust.types import TP
from prometheus_client import generate_latest
from spanloom_processors.assignment import Assigned
from spanloom_processors.commits import Commits, Point
from spanloom_processors.consumer import Poll
from spanloom_processors.metrics import Metrics
from spanloom_processors.settings import ProcessorSettings
from spanloom_processors.worker import Worker
from spanloom_schemas import codec, topics
from spanloom_schemas.prices.book import Book

BOOK = Book.load()
PARTITION = TP("llm.spans", 2)
PARTITIONS = 4
LIFE = 4 * 10**9 + 2
"""A producer that is counted in PARTITION."""
T0 = 1_700_000_000_000
BATCH = next(batch for batch in topics.examples("llm.spans") if batch["spans"])
CALL = next(span for batch in topics.examples("llm.spans") for span in batch["spans"] if span["kind"] == "llm")


class Member(Worker):
    """A worker of one partition of llm.spans, whose consumer commits when it is told to."""

    def __init__(self) -> None:
        self.commits = Commits()
        consumer = SimpleNamespace(
            commits=self.commits, positions=dict, idle_since=lambda tp, offset: None, vitals=dict,
        )  # fmt: skip
        super().__init__(
            ProcessorSettings(), BOOK, [], lambda: None, Metrics(),  # type: ignore[arg-type, return-value]
            build=lambda settings, owner: SimpleNamespace(consumer=consumer), clock=lambda: T0 * 1_000_000,
        )  # fmt: skip

    async def store(self, messages: Any) -> None:
        list(messages)

    async def _whole(self, topic: str) -> list[Any]:
        return []

    def take(self, committed: Point | None = None) -> int:
        """Get the partition; returns where it is read from."""
        if committed:
            self.commits.known({PARTITION: committed})
        facts = Assigned("id", PARTITIONS, committed, 0, 100)
        return asyncio.run(self.assigned({PARTITION: facts}))[PARTITION]

    def read(self, *messages: tuple[int, int, bytes]) -> "Member":
        """Fold a poll of messages from where it is read, and say what changed."""
        records = [SimpleNamespace(offset=at, timestamp=time, value=value, key=None) for at, time, value in messages]
        asyncio.run(self.fold_spans(Poll(PARTITION, records, messages[-1][0] + 1)))
        asyncio.run(self.beat())
        return self

    def commit(self) -> Point:
        """The broker takes what was declared."""
        point = self.commits.declared(PARTITION)
        assert point is not None
        self.commits.done({PARTITION: point})
        return point

    def lose(self) -> None:
        """The partition is taken away; a session that was lost commits nothing more."""
        self.revoked()
        self.commits.forget([PARTITION])

    def counted(self, name: str) -> float:
        """The sum of a family's series that match."""
        asyncio.run(self.beat())
        lines = generate_latest(self.metrics.registry).decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def full(spans: int) -> list[dict[str, Any]]:
    """What a header says that so many spans found no room."""
    return [{"reason": "queue_full", "spans": spans}]


def message(offset: int, second: int, calls: int = 0, **header: Any) -> tuple[int, int, bytes]:
    """A message of this second, with so many calls of a model that ended in it."""
    time = T0 + second * 1000
    spans = [
        {**CALL, "span_id": f"{offset:08x}{n:08x}", "start": (time - 90) * 10**6, "end": time * 10**6}
        for n in range(calls)
    ]
    return offset, time, codec.encode("span_batch", {**BATCH, "epoch": LIFE, "spans": spans, **header})


LOG = [message(0, 0, calls=3), message(1, 20, calls=2), message(2, 40)]
REQUESTS = "llm_requests_total"


def test_what_closed_is_counted_once_its_commit_is_made():
    worker = Member()
    worker.take()
    worker.read(*LOG)
    assert worker.counted(REQUESTS) == 0
    worker.commit()
    assert worker.counted(REQUESTS) == 5
    assert worker.counted(REQUESTS) == 5


def test_what_a_lost_session_told_is_counted_by_its_successor_alone():
    first, second = Member(), Member()
    first.take()
    first.read(*LOG)
    first.lose()
    assert second.take() == 0
    second.read(*LOG)
    second.commit()
    assert (first.counted(REQUESTS), second.counted(REQUESTS)) == (0, 5)


def test_a_rebalance_after_a_commit_counts_nothing_twice_and_loses_nothing():
    first, second = Member(), Member()
    first.take()
    first.read(*LOG[:2])
    point = first.commit()
    first.lose()
    at = second.take(point)
    second.read(*LOG[at:])
    second.commit()
    assert (first.counted(REQUESTS), second.counted(REQUESTS)) == (3, 2)


def test_a_commit_that_overtakes_others_settles_them_too():
    worker = Member()
    worker.take()
    for each in LOG:
        worker.read(each)
    worker.commit()
    assert worker.counted(REQUESTS) == 5


DROPS = [message(n, n, dropped=full(so_far)) for n, so_far in enumerate((3, 3, 5, 9))]
DROPPED = 'spanloom_dropped_spans_total{reason="queue_full"}'


def test_drops_are_counted_once_their_commit_is_made():
    worker = Member()
    worker.take()
    worker.read(*DROPS)
    assert worker.counted(DROPPED) == 0
    worker.commit()
    assert worker.counted(DROPPED) == 9


def test_drops_are_counted_once_over_workers_restarts_and_replays():
    first, second, third = Member(), Member(), Member()
    first.take()
    point = first.read(*DROPS[:2]).commit()
    first.read(DROPS[2])  # and loses its session before it commits that
    first.lose()
    at = second.take(point)
    point = second.read(*DROPS[at:3]).commit()
    at = third.take(point)
    third.read(*DROPS[at:]).commit()
    assert [worker.counted(DROPPED) for worker in (first, second, third)] == [3, 2, 4]


def test_what_a_producer_tells_in_other_partitions_is_counted_in_its_own():
    worker = Member()
    worker.take()
    worker.read(message(0, 0, dropped=full(7), epoch=LIFE + 1)).commit()
    assert worker.counted(DROPPED) == 0


def test_drops_are_known_whatever_became_of_the_topic():
    first, second = Member(), Member()
    first.take()
    point = first.read(*DROPS).commit()
    second.take(point._replace(metadata=point.metadata.replace(" id ", " another-id ")))
    second.read(*DROPS).commit()
    assert second.counted(DROPPED) == 0
