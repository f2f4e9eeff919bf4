"""Faust's consumer, changed in two ways: it hands over a poll at a time, and commits what it is told.

Stock Faust spends ~150 µs a message, and its commit algorithm loses messages when they are acknowledged out of order
(faust#606). Here each partition's poll travels through Faust as one message whose value is the list of
`(offset, log time, value)`, carrying the first offset; and what is committed is exactly what the application declared
safe (`commits.py`), with metadata. The rest of Faust is untouched. tests/processors/test_consumer_contract.py guards.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import aiokafka
import stamina
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, AppT, ConsumerMessage
from spanloom_schemas.fault import reach

from spanloom_processors import batches
from spanloom_processors.assignment import Assigned, Owner, TopicFacts
from spanloom_processors.batches import Packed
from spanloom_processors.commits import Commits, Point
from spanloom_processors.watchdog import Vital

log = logging.getLogger(__name__)

FETCH_WAIT_MS = 250  # how long the broker holds an empty fetch; an idle partition's progress is at most this old
REVOKE_TIMEOUT_S = 5.0

Message = tuple[int, int, bytes]  # offset, log time in ms, value
Polled = list[Message]
Describe = Callable[[set[str]], Mapping[str, TopicFacts]]


class MadeAnew(Exception):
    """Offsets begin again: the topic was deleted and made anew. Whoever starts the process again begins with it."""


class Poll:
    """One partition's share of a poll."""

    __slots__ = ("keys", "messages", "packed", "position", "tp")

    def __init__(self, tp: TP, records: list[Any], position: int) -> None:
        self.tp = tp
        self.position = position  # the offset after the last of its messages
        self.messages: Polled = [(record.offset, record.timestamp, record.value or b"") for record in records]
        self.keys = {record.offset: record.key for record in records}
        self.packed = [message for message in self.messages if isinstance(message[2], Packed)]
        """Batches that were not unfolded, in place of their messages."""

    @property
    def unfolded(self) -> Polled:
        """The messages that can be decoded, or at least tried."""
        return [message for message in self.messages if not isinstance(message[2], Packed)]


class ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """The thread that talks to Kafka."""

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        batches.guard()
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # Faust's is a constant of 1.5 s
        return consumer

    async def on_start(self) -> None:
        """Start the consumer and watch its fetches, to know when a partition has nothing more to read."""
        self.empty_fetches: dict[TP, tuple[int, int]] = {}  # position, ms at which its empty fetch was sent
        await super().on_start()
        fetcher = self._ensure_consumer()._fetcher
        fetch = fetcher._proc_fetch_request

        async def watched(assignment: Any, node_id: int, request: Any) -> bool:
            sent = int(time.time() * 1000)
            woken: bool = await fetch(assignment, node_id, request)
            if assignment.active:
                self._note_empty(fetcher, assignment, request, sent)
            return woken

        fetcher._proc_fetch_request = watched

    def _note_empty(self, fetcher: Any, assignment: Any, request: Any, sent: int) -> None:
        for topic, partitions in request.topics:
            for partition, offset, _ in partitions:
                tp = TopicPartition(topic, partition)
                state = assignment.state_value(tp)
                answered = state.timestamp is not None and state.timestamp >= sent and tp not in fetcher._records
                if answered and state.has_valid_position and state.position == offset == state.highwater:
                    self.empty_fetches[TP(topic, partition)] = offset, sent

    async def _fetch_records(self, consumer: Any, active_partitions: Any, **kwargs: Any) -> dict[TP, Poll]:
        polled = await super()._fetch_records(consumer, active_partitions, **kwargs)
        buffered = consumer._fetcher._records
        for tp in polled:
            if tp in buffered:  # a partition served goes to the end of the queue, so that a backlog is read in turns
                buffered.move_to_end(tp)
        return {TP(*tp): Poll(TP(*tp), records, records[-1].offset + 1) for tp, records in polled.items()}

    async def describe(self, tps: set[TP]) -> dict[TP, tuple[Point | None, int, int]]:
        """For each partition, the group's committed point, the log's start and its end."""
        return await self.call_thread(self._describe, tps)  # type: ignore[no-any-return]

    async def _describe(self, tps: set[TP]) -> dict[TP, tuple[Point | None, int, int]]:
        consumer = self._ensure_consumer()
        wanted = driver.ensure_aiokafka_TPset(tps)
        committed = await consumer._coordinator.fetch_committed_offsets(wanted)
        starts = await consumer.beginning_offsets(wanted)
        ends = await consumer.end_offsets(wanted)
        points = {tp: Point(found.offset, found.metadata or "") for tp, found in committed.items()}
        return {TP(*tp): (points.get(tp), starts[tp], ends[tp]) for tp in wanted}

    async def log_start(self, tp: TP) -> int:
        """The first offset that the broker still has of a partition; raises KafkaError when it cannot say."""
        return await self.call_thread(self._log_start, tp)  # type: ignore[no-any-return]

    async def _log_start(self, tp: TP) -> int:
        starts = await self._ensure_consumer().beginning_offsets([TopicPartition(*tp)])
        return int(starts[TopicPartition(*tp)])

    async def seek_all(self, positions: Mapping[TP, int]) -> None:
        """Read each partition from its offset on."""
        await self.call_thread(self._seek_all, positions)

    async def _seek_all(self, positions: Mapping[TP, int]) -> None:
        consumer = self._ensure_consumer()
        for tp, offset in positions.items():
            if TopicPartition(*tp) in consumer.assignment():
                consumer.seek(TopicPartition(*tp), offset)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit; what is refused is logged, and waits for the next turn: it may be another worker's partition now."""
        commits: Commits = self.consumer.commits
        points = {tp: point for tp in offsets if (point := commits.declared(tp)) is not None}
        try:
            await self._ensure_consumer().commit(
                {TopicPartition(*tp): OffsetAndMetadata(*point) for tp, point in points.items()}
            )
        except (KafkaError, IllegalStateError) as error:
            log.warning("the broker refused a commit, which will be tried again: %s", type(error).__name__)
            commits.refused += 1
            return False
        reach("processor.after_commit")
        commits.done(points)
        return True

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Nothing: `watchdog.py` watches instead, and acts."""


class Consumer(driver.Consumer):  # type: ignore[misc]
    """Faust's consumer over aiokafka, one message a partition and poll, committing declared points."""

    _thread: ConsumerThread

    def __init__(self, transport: "Transport", *args: Any, **kwargs: Any) -> None:
        self.owner = transport.owner
        self.describe_topics = transport.describe
        self.commits = Commits()
        self._positions: dict[TP, int] = {}
        self._handed: dict[TP, int] = {}  # where the last poll handed over of a partition ended
        super().__init__(transport, *args, **kwargs)

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> dict[TP, list[Poll]]:
        polls: dict[TP, Poll] = await self._thread.getmany(active_partitions, timeout)
        for tp, poll in polls.items():
            if poll.messages[0][0] < self._handed.get(tp, 0):
                await self.app.crash(MadeAnew(f"{tp.topic}[{tp.partition}] begins again at {poll.messages[0][0]}"))
                return {}
        self._handed.update({tp: poll.position for tp, poll in polls.items()})
        return {tp: [poll] for tp, poll in polls.items()}

    def _to_message(self, tp: TP, poll: Poll) -> ConsumerMessage:
        offset, log_time, _ = poll.messages[0]
        return ConsumerMessage(
            tp.topic, tp.partition, offset, log_time / 1000, 1, None, None, poll, None, 0, len(poll.messages), tp,
            generation_id=self.app.consumer_generation_id,
        )  # fmt: skip

    def on_buffer_full(self, tp: TP) -> None:
        """Nothing: a full queue makes the fetcher wait, where Faust would stop fetching and sleep for a second."""

    async def log_start(self, tp: TP) -> int:
        """The first offset that the broker still has of a partition; asks for as long as it takes."""
        async for attempt in stamina.retry_context(on=KafkaError, attempts=None, timeout=None, wait_max=5.0):
            with attempt:
                found = await self._thread.log_start(tp)
        return found

    def idle_since(self, tp: TP, folded: int) -> int | None:
        """Epoch ms at which a fetch was sent that found nothing after `folded`; None where there is or may be more."""
        position, sent = self._thread.empty_fetches.get(tp, (-1, 0))
        return sent if position == self._handed.get(tp) == folded else None

    def positions(self) -> dict[TP, int]:
        """Of each assigned partition, the offset after the last message handed over."""
        return dict(self._handed)

    def vitals(self) -> dict[TP, Vital]:
        """Signs of life of each assigned partition, for the watchdog; may be called from any thread."""
        assignment = self._thread._ensure_consumer()._subscription.subscription.assignment
        found = {}
        for tp, position in self.positions().items():
            state = assignment.state_value(TopicPartition(*tp))
            declared, committed = self.commits.declared(tp), self.commits.committed(tp)
            unsaved = None if declared == committed else declared
            found[tp] = Vital(position, state.highwater or position, state.timestamp or 0, unsaved, committed)
        return found

    def suspend(self) -> None:
        """Hand over nothing more, and drop what waits to be handed over."""
        self.stop_flow()
        self.app.flow_control.suspend()
        self.app.flow_control.clear()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Send, declare and commit what was done, then let go of everything."""
        self.suspend()
        if revoked:
            await self._last_words()
        self.owner.revoked()
        self.commits.forget(list(self._handed))
        self._positions.clear()
        self._handed.clear()
        self._thread.empty_fetches.clear()
        await super().on_partitions_revoked(revoked)

    async def _last_words(self) -> None:
        try:
            async with asyncio.timeout(REVOKE_TIMEOUT_S):
                await self.owner.revoking()
                await self.commit()
        except Exception as error:
            log.warning("leaving partitions without a last commit, the next worker replays more: %r", error)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Ask for each partition's commit and bounds, and let the application say where to read from."""
        if assigned and not self.should_stop:
            try:
                await self._take(assigned)
            except Exception as error:  # without a place to read from there is nothing to do but to start afresh
                await self.app.crash(error)
                return
        await super().on_partitions_assigned(assigned, generation_id)

    async def _take(self, assigned: set[TP]) -> None:
        facts, points = await asyncio.gather(
            asyncio.to_thread(self.describe_topics, {tp.topic for tp in assigned}), self._thread.describe(assigned)
        )
        partitions = {tp: Assigned(*facts[tp.topic], *points[tp]) for tp in assigned}
        self.commits.known({tp: found.committed for tp, found in partitions.items() if found.committed})
        self._positions = dict(await self.owner.assigned(partitions))
        self._handed = dict(self._positions)

    async def perform_seek(self) -> None:
        """Go to where the application wants to read from; Faust asks for the group's commit instead."""
        await self._thread.seek_all(self._positions)
        self._handed.update(self._positions)
        self._read_offset.update(self._positions)

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (tp for tp in self.commits.pending() if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        point = self.commits.declared(tp)
        return None if point is None else point.offset

    def _should_commit(self, tp: TP, offset: int) -> bool:
        return True  # only pending points come here; the metadata may be new though the offset is not


class Transport(driver.Transport):  # type: ignore[misc]
    """Faust's aiokafka transport with the consumer above."""

    Consumer: ClassVar[Any] = Consumer

    def __init__(self, url: list[Any], app: AppT, *, owner: Owner, describe: Describe) -> None:
        super().__init__(url, app)
        self.owner = owner
        self.describe = describe
