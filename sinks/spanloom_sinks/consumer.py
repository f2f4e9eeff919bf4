"""The sink's member of its consumer group: partitions come and go as lanes, commits carry marks."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple, TypeVar

from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from spanloom.cluster import ClusterError, connect
from spanloom_schemas.frames.splice import Dead, Message

from spanloom_sinks import pending, unreadable
from spanloom_sinks.lane import Lane, resumed
from spanloom_sinks.pending import Mark
from spanloom_sinks.settings import SinkSettings
from spanloom_sinks.source import Source

log = logging.getLogger(__name__)

SESSION_SECONDS = 10
_MESSAGES = 512  # a poll at most
_WAIT = 10.0  # seconds for an answer of the broker
_TRIES = 5
_FINAL = (KafkaError._FATAL, KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED)

T = TypeVar("T")


class ConsumerError(Exception):
    """The consumer cannot go on; the message is one line that says what to do."""


class Commit(NamedTuple):
    """Where a lane stands, for the group to remember."""

    lane: Lane
    offset: int
    mark: Mark


class Consumer:
    """Fetches into `lanes`, which it adds when a partition is assigned and drops when it is taken away.

    `leaving`, `bury` and `lost` are its user's to set. `leaving` is called before partitions are given back: the last
    chance to commit. `bury` takes what cannot even be fetched; what it raises KafkaException for is offered again.
    `lost` is told how many messages retention took of a partition before they were fetched. Everything happens in the
    thread that calls `poll`. Raises ConsumerError when another process took its place, or the broker or a topic is not
    there.
    """

    def __init__(self, settings: SinkSettings, topics: Sequence[str]) -> None:
        self.lanes: dict[tuple[str, int], Lane] = {}
        self.assigned = False
        self.leaving: Callable[[], None] = lambda: None
        self.bury: Callable[[Source, list[Dead]], None] = lambda source, dead: None
        self.lost: Callable[[Source, int], None] = lambda source, messages: None
        self._overtaken: set[tuple[str, int]] = set()  # partitions that stand still where the log has nothing any more
        self._connection = settings.librdkafka()
        try:
            self._describe = partial(_topic_ids, connect(settings), topics)
            self._topic_ids = self._describe()
        except ClusterError as error:
            raise ConsumerError(str(error)) from None
        except KafkaException as error:
            raise ConsumerError(
                f"{settings.kafka_bootstrap}: {error.args[0].str()}; were the topics made by `spanloom topics create`?"
            ) from None
        self._consumer = KafkaConsumer(_configuration(settings))
        self._consumer.subscribe(list(topics), on_assign=self._assign, on_revoke=self._revoke, on_lost=self._lose)

    def poll(self, timeout: float) -> None:
        """Fetch what is there into the lanes; wait for the first message `timeout` seconds at most.

        Of a backlog, as much as makes a large block: those cost a third of small ones.
        """
        while self._fetch(timeout) == _MESSAGES and not any(lane.large for lane in self.lanes.values()):
            pass
        self._catch_up()
        self._hold_back()

    def _fetch(self, timeout: float) -> int:
        messages = self._consumer.consume(_MESSAGES, timeout)
        fetched: dict[tuple[str, int], list[Message]] = defaultdict(list)
        refused: list[tuple[tuple[str, int], int]] = []
        for message in messages:
            key, offset = (str(message.topic()), int(message.partition() or 0)), int(message.offset() or 0)
            if (error := message.error()) is None:
                fetched[key].append((offset, message.timestamp()[1], message.value() or b""))
            elif unreadable.is_unreadable(error):
                refused.append((key, offset))
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                self._overtaken.add(key)
            else:
                _judge(error)
        now = time.monotonic()
        for key, found in fetched.items():
            if (lane := self.lanes.get(key)) is not None:
                if found[0][0] < lane.next:
                    raise _made_anew(lane, found[0][0])
                lane.add(found, now)
        for key, first in refused:  # behind what was fetched before it
            self._pass_by(*key, first)
        return len(messages)

    def _catch_up(self) -> None:
        """Read on where the log begins now, in partitions of which retention took what was to be fetched next."""
        lanes = [lane for key in self._overtaken if (lane := self.lanes.get(key)) is not None]
        try:
            lows = [self._low(lane) for lane in lanes]
        except KafkaException as error:  # they stand still, so the next poll asks again
            _judge(error.args[0])
            return
        self._overtaken.clear()
        for lane, low in zip(lanes, lows, strict=True):
            if low <= lane.next:
                raise _made_anew(lane, low)
            self._tell_lost(lane.source, low - lane.next)
            lane.passed = low
        if lanes:  # a partition that stopped begins again only with a whole assignment
            self._consumer.assign([TopicPartition(*key, lane.next) for key, lane in self.lanes.items()])
            self._consumer.resume([TopicPartition(*key) for key in self.lanes])
            for lane in self.lanes.values():
                lane.paused = False

    def _low(self, lane: Lane) -> int:
        place = TopicPartition(lane.source.topic, lane.source.partition)
        low, _ = self._consumer.get_watermark_offsets(place, timeout=_WAIT, cached=False)
        return int(low)

    def _tell_lost(self, source: Source, messages: int) -> None:
        """A message that a crash left between its table and its commit may be among them."""
        log.error(
            "%s[%d]: retention removed up to %d messages before they were stored: they are lost. ClickHouse, or this"
            " sink, was away for longer than the topic keeps messages",
            *(source.topic, source.partition, messages),
        )
        self.lost(source, messages)

    def _pass_by(self, topic: str, partition: int, first: int) -> None:
        """Bury a batch that cannot be unfolded, as one message at its last offset, and read on behind it."""
        lane = self.lanes.get((topic, partition))
        if lane is None:
            return
        try:
            end = unreadable.behind(self._connection, topic, partition, first)
            error = f"a compressed batch, offsets {first} to {end - 1}, unfolds to more than librdkafka takes"
            self.bury(lane.source, [Dead(end - 1, lane.source.log_clock, "too_large", error, b"")])
            lane.passed = end
            self._consumer.seek(TopicPartition(topic, partition, end))
        except KafkaException as exception:  # it will be reported again
            _judge(exception.args[0])

    def commit(self, commits: Iterable[Commit]) -> bool:
        """Commit and wait for the answer. False: not now (try again, or a rebalance is coming)."""
        commits = list(commits)
        offsets = [
            TopicPartition(c.lane.source.topic, c.lane.source.partition, c.offset, metadata=pending.metadata(c.mark))
            for c in commits
        ]
        if not offsets:
            return True
        try:
            answers = self._consumer.commit(offsets=offsets, asynchronous=False)
            failed = [answer.error for answer in answers or () if answer.error is not None]
        except KafkaException as exception:
            failed = [exception.args[0]]
        for failure in failed:
            if failure.code() != KafkaError._FATAL:  # why, only the next poll says
                _judge(failure)
        if failed:
            return False
        for c in commits:
            c.lane.committed = (c.offset, c.mark.last)
        return True

    def progress(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """By partition the first offset that may not be in the tables yet; another member's as it committed it."""
        lanes = {partition: self.lanes.get((topic, partition)) for partition in partitions}
        others = [TopicPartition(topic, partition) for partition, lane in lanes.items() if lane is None]
        committed = self._consumer.committed(others, timeout=_WAIT) if others else []
        return {
            **{partition: lane.offset for partition, lane in lanes.items() if lane is not None},
            **{found.partition: max(0, found.offset) for found in committed},
        }

    def stored_until(self, topic: str, moment: datetime) -> bool:
        """Whether all that the partitions of a topic got before a moment is in the tables."""
        numbers = self._consumer.list_topics(topic, timeout=_WAIT).topics[topic].partitions
        asked = [TopicPartition(topic, number, int(moment.timestamp() * 1000)) for number in numbers]
        found = self._consumer.offsets_for_times(asked, timeout=_WAIT)
        ends = {each.partition: each.offset if each.offset >= 0 else self.end(topic, each.partition) for each in found}
        stored = self.progress(topic, ends)
        return all(stored[number] >= end for number, end in ends.items())

    def end(self, topic: str, partition: int) -> int:
        """The offset that the next message of a partition will get."""
        _, high = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_WAIT, cached=False)
        return int(high)

    def lag(self, lane: Lane) -> int:
        """Messages of a lane's partition that are not in the tables yet, as the last fetch saw it."""
        place = TopicPartition(lane.source.topic, lane.source.partition)
        _, high = self._consumer.get_watermark_offsets(place, cached=True)
        return max(0, int(high) - lane.offset)

    def topic_id(self, topic: str) -> str:
        """The id of a topic that is consumed here."""
        return self._topic_ids[topic]

    def close(self) -> None:
        """Leave; the group keeps this member's place for a session."""
        self._consumer.close()

    def _assign(self, consumer: KafkaConsumer, partitions: list[TopicPartition]) -> None:
        self._overtaken.clear()
        self._topic_ids = _patiently(self._describe)  # a topic made anew brings a rebalance, and has another id
        positions = _patiently(lambda: consumer.committed(partitions, timeout=_WAIT))
        for position in positions:
            lane = _patiently(partial(self._lane, consumer, position))
            self.lanes[position.topic, position.partition] = lane
            position.offset = lane.offset
        consumer.assign(positions)
        self.assigned = True

    def _lane(self, consumer: KafkaConsumer, position: TopicPartition) -> Lane:
        topic_id = self._topic_ids[position.topic]
        low, high = consumer.get_watermark_offsets(position, timeout=_WAIT, cached=False)
        source = Source(position.topic, topic_id, position.partition, 0)
        lane = resumed(source, position.offset, position.metadata, low, high)
        self.lost(source, 0)  # a series of Prometheus must begin at 0, or its first increase is seen by nobody
        mark = pending.mark(position.metadata)
        if 0 <= position.offset < low and (mark is None or mark.topic_id == topic_id):
            self._tell_lost(source, low - position.offset)
        return lane

    def _revoke(self, consumer: KafkaConsumer, partitions: list[TopicPartition]) -> None:
        self.leaving()
        self._lose(consumer, partitions)

    def _lose(self, consumer: KafkaConsumer, partitions: list[TopicPartition]) -> None:
        for partition in partitions:
            self.lanes.pop((partition.topic, partition.partition), None)

    def _hold_back(self) -> None:
        """Stop fetching for lanes that are full: what cannot be stored stays in Kafka."""
        for paused, change in ((True, self._consumer.pause), (False, self._consumer.resume)):
            lanes = [lane for lane in self.lanes.values() if lane.full == paused and lane.paused != paused]
            if lanes:
                change([TopicPartition(lane.source.topic, lane.source.partition) for lane in lanes])
            for lane in lanes:
                lane.paused = paused


def _configuration(settings: SinkSettings) -> dict[str, str | int | bool]:
    return {
        **settings.librdkafka(),
        "group.id": settings.sink_group,
        "group.instance.id": settings.sink_instance,
        "client.id": settings.sink_instance,
        "log_level": 4,  # warnings: what passes by itself is not worth a line
        "session.timeout.ms": SESSION_SECONDS * 1000,
        "heartbeat.interval.ms": 2000,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # Every lane says where it begins. What the log has no more is said, not jumped over.
        "auto.offset.reset": "error",
        # Eager: at every change all lanes start again from their commits, which is the one path that is tested.
        "partition.assignment.strategy": "roundrobin",
        # Partitions that are added, and topics made anew, are noticed within seconds.
        "topic.metadata.refresh.interval.ms": 10_000,
        # What waits unread stays in Kafka, not in this process.
        "queued.max.messages.kbytes": 16 * 1024,
        "fetch.max.bytes": 8 << 20,
        "fetch.queue.backoff.ms": 20,
        "fetch.wait.max.ms": 100,
    }


def _topic_ids(admin: AdminClient, topics: Sequence[str]) -> dict[str, str]:
    found = admin.describe_topics(TopicCollection(list(topics)), request_timeout=_WAIT)
    return {topic: str(answer.result().topic_id) for topic, answer in found.items()}


def _patiently(ask: Callable[[], T]) -> T:
    """The broker's answer; a broker that is away for a moment must not end the process."""
    for _ in range(_TRIES - 1):
        try:
            return ask()
        except KafkaException as error:
            _judge(error.args[0])
            time.sleep(1)
    return ask()


def _made_anew(lane: Lane, first: int) -> ConsumerError:
    place = f"{lane.source.topic}[{lane.source.partition}]"
    return ConsumerError(f"{place} begins again at {first}: it was made anew, so do we")


def _judge(error: KafkaError) -> None:
    """Raise for what will not pass by itself."""
    # librdkafka reports it as a fatal error, of which it keeps the cause in the text and not in the code.
    if error.code() == KafkaError.FENCED_INSTANCE_ID or (error.code() == KafkaError._FATAL and "fenced" in error.str()):
        raise ConsumerError("another sink of the same SPANLOOM_SINK_INSTANCE took over: give each its own")
    if error.fatal() or error.code() in _FINAL:
        raise ConsumerError(f"Kafka refuses: {error.str()}")
    log.warning("Kafka: %s", error.str())
