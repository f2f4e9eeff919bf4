"""What the cluster says: where topics begin and end, how far the groups have come, what the processors last told."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import polars as pl
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from spanloom_schemas import registry
from spanloom_schemas.frames import bounded
from spanloom_schemas.frames.splice import Message

from spanloom_sinks import pending
from spanloom_sinks.settings import VerifySettings
from spanloom_sinks.verify.settled import FOREVER, Place, Told, told

SPANS, PANES, TRACES, DEAD_LETTERS = TOPICS = ("llm.spans", "llm.panes", "llm.traces", "llm.dead_letters")
_WAIT = 10.0  # seconds for an answer of the broker
_PAUSE = 0.2
# What a broker answers while partitions, its groups' own among them, are on their way to it.
_SETTLING = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
)
_TAILS = (64, 256, 1024, 4096)  # messages of llm.panes to look back; each is up to a megabyte
_WRITTEN_MS = 5_000  # a block of llm.panes is in the tables, and its minutes are summed up, so long after its last rows

T = TypeVar("T")


class TopicsError(Exception):
    """The cluster does not answer, or refuses; the message is one line."""


class Log(NamedTuple):
    """A partition of a topic: its first offset, the next one, and what each group committed (-1: nothing)."""

    low: int
    high: int
    sink: int
    processors: int
    metadata: str
    """Of the sink's commit."""


class Cluster(NamedTuple):
    """What the topics and groups say at one moment."""

    topic_id: str
    """Of llm.spans."""
    logs: Mapping[tuple[str, int], Log]
    places: tuple[Place, ...]
    overflow: Mapping[str, int]
    """Spans that bounds moved elsewhere, since each source partition was assigned, by bound."""
    reached: Mapping[int, int]
    """By partition of llm.spans, the offset that the processors will read next."""


class Topics:
    """A reader of the topics that joins no group and commits nothing. Raises TopicsError."""

    def __init__(self, settings: VerifySettings) -> None:
        self._settings = settings
        self.registry = registry.of(settings)
        self._groups = {
            name: Consumer(
                {
                    **settings.librdkafka(),
                    "group.id": name,
                    "enable.auto.commit": False,
                    "enable.partition.eof": True,
                    "auto.offset.reset": "earliest",
                    "log_level": 2,
                    "fetch.max.bytes": 8 << 20,
                    "queued.max.messages.kbytes": 16 * 1024,
                }
            )
            for name in (settings.sink_group, settings.processor_group)
        }
        self._consumer = self._groups[settings.sink_group]

    def close(self) -> None:
        """Close the connections."""
        for consumer in self._groups.values():
            consumer.close()

    def look(self, since: int, until: int, written: int) -> Cluster:
        """Everything about the range (epoch ms); rows of panes up to the log time `written` are in the tables."""
        with self._errors():
            topic_id, partitions = self._describe()
            committed = {name: self._committed(consumer, partitions) for name, consumer in self._groups.items()}
            logs = {at: self._log(at, committed) for at in partitions}
            headers = self._tail(logs[PANES, 0], {p for topic, p in partitions if topic == SPANS}, topic_id)
            spans = [(partition, log) for (topic, partition), log in logs.items() if topic == SPANS]
            starts, stops = self._at(since, spans, last=False), self._at(until, spans, last=True)
            newest = headers["log_time"].max() if headers.height else None
            told_now = headers.filter(
                (pl.col("offset") < logs[PANES, 0].sink)
                | (pl.col("log_time") <= min(written, (newest or 0) - _WRITTEN_MS))  # type: ignore[operator]
            )
            by_tables = told(told_now, topic_id)
            by_hours = told(headers.filter(pl.col("offset") < logs[PANES, 0].sink), topic_id)
            places = []
            for partition, log in spans:
                mark = pending.mark(log.metadata)
                own = mark is not None and mark.topic_id == topic_id
                places.append(
                    Place(
                        partition=partition,
                        low=log.low,
                        high=log.high,
                        first=starts[partition],
                        stop=stops[partition],
                        stored=max(log.sink, 0) if own else 0,
                        stored_clock=mark.log_clock if own and mark is not None else 0,
                        told=by_tables.get(partition, Told()),
                        summed=by_hours.get(partition, Told()),
                        traces_stored=self._traces_stored(logs.get((TRACES, partition)), partition),
                    )
                )
            own_headers = headers.filter(pl.col("topic_id") == topic_id)
            reached = dict(own_headers.group_by("partition").agg(pl.col("next_offset").max()).iter_rows())
            return Cluster(topic_id, logs, tuple(places), overflow(headers, topic_id), reached)

    def read(self, partition: int, offsets: Iterable[int]) -> Iterator[tuple[int, Message | None]]:
        """Messages of llm.spans at these offsets; None where there is nothing under one."""
        with self._errors():
            for offset in offsets:
                yield offset, self._read(SPANS, partition, offset)

    def run(self, partition: int, first: int, stop: int) -> list[Message]:
        """The messages of llm.spans at `first` to before `stop` that there are."""
        with self._errors():
            return self._run(SPANS, partition, first, stop)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except KafkaException as error:
            raise TopicsError(
                f"Kafka at {self._settings.kafka_bootstrap}: {error.args[0].str()}; set SPANLOOM_KAFKA_BOOTSTRAP, or "
                "leave the topics out with --no-topics"
            ) from None
        except OSError as error:  # the schema registry
            raise TopicsError(str(error)) from None

    def _describe(self) -> tuple[str, list[tuple[str, int]]]:
        admin = AdminClient({**self._settings.librdkafka(), "log_level": 2})
        found = {
            name: answer.result()
            for name, answer in admin.describe_topics(TopicCollection(list(TOPICS)), request_timeout=_WAIT).items()
        }
        partitions = [(name, partition.id) for name, topic in found.items() for partition in topic.partitions]
        return str(found[SPANS].topic_id), sorted(partitions)

    def _committed(
        self, consumer: Consumer, partitions: list[tuple[str, int]]
    ) -> dict[tuple[str, int], TopicPartition]:
        asked = [TopicPartition(*at) for at in partitions]
        found = patiently(lambda: consumer.committed(asked, timeout=_WAIT))
        return {(each.topic, each.partition): each for each in found}

    def _log(self, at: tuple[str, int], committed: Mapping[str, Mapping[tuple[str, int], TopicPartition]]) -> Log:
        place = TopicPartition(*at)
        low, high = patiently(lambda: self._consumer.get_watermark_offsets(place, timeout=_WAIT, cached=False))
        sink, processors = (
            committed[group][at] for group in (self._settings.sink_group, self._settings.processor_group)
        )
        return Log(int(low), int(high), sink.offset, processors.offset, str(sink.metadata or ""))

    def _at(self, time: int, spans: list[tuple[int, Log]], *, last: bool) -> dict[int, int]:
        """By partition the first offset with this log time or a later one; where there is none, the end."""
        asked = [TopicPartition(SPANS, partition, max(0, time)) for partition, _ in spans]
        answer = patiently(lambda: self._consumer.offsets_for_times(asked, timeout=_WAIT))
        found = {each.partition: each.offset for each in answer}
        ends = {partition: log.high for partition, log in spans}
        return {
            p: offset if offset >= 0 and not (last and offset > ends[p]) else ends[p] for p, offset in found.items()
        }

    def _tail(self, log: Log, sources: set[int], topic_id: str) -> pl.DataFrame:
        """Headers of the last messages of llm.panes, far enough back to have two emissions of each source partition."""
        begin, stop = max(log.low, 0), log.high
        headers = bounded.decode("pane_batch", []).headers
        for size in _TAILS:
            first = max(begin, min(stop, max(log.sink, begin)) - size)
            messages = self._run(PANES, 0, first, stop)
            headers = bounded.decode("pane_batch", messages, self.registry).headers
            safe = told(headers.filter(pl.col("offset") < log.sink), topic_id)
            if first == begin or safe.keys() >= sources:
                break
        return headers

    def _traces_stored(self, log: Log | None, partition: int) -> int:
        if log is None or log.sink >= log.high:
            return FOREVER
        message = self._read(TRACES, partition, max(log.sink, log.low))
        return message[1] if message else FOREVER

    def _read(self, topic: str, partition: int, offset: int) -> Message | None:
        found = self._run(topic, partition, offset, offset + 1)
        return found[0] if found else None

    def _run(self, topic: str, partition: int, first: int, stop: int) -> list[Message]:
        """The messages at `first` to before `stop`; fewer where there are none under some offsets."""
        messages: list[Message] = []
        if first >= stop:
            return messages
        self._consumer.assign([TopicPartition(topic, partition, first)])
        until = time.monotonic() + _WAIT
        try:
            while time.monotonic() < until:
                for message in self._consumer.consume(min(500, stop - first), 0.1):
                    until = time.monotonic() + _WAIT
                    error = message.error()
                    if error is not None and error.code() != KafkaError._PARTITION_EOF:
                        raise KafkaException(error)
                    offset = int(message.offset() or 0)
                    if error is not None or offset >= stop:
                        return messages
                    messages.append((offset, message.timestamp()[1], message.value() or b""))
                    if offset == stop - 1:
                        return messages
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"{topic}[{partition}] from offset {first}"))
        finally:
            self._consumer.unassign()


def patiently(ask: Callable[[], T], patience: float = _WAIT) -> T:
    """The broker's answer, asked for again while partitions are on their way to another broker, `patience` seconds."""
    until = time.monotonic() + patience
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in _SETTLING or time.monotonic() > until:
                raise
            time.sleep(_PAUSE)


def overflow(headers: pl.DataFrame, topic_id: str) -> dict[str, int]:
    """By bound what was moved so far: of each source partition, and of the alert stage, which ticks as partition -1."""
    said = headers.filter((pl.col("topic_id") == topic_id) | (pl.col("partition") < 0))
    last = said.sort("offset").group_by("partition").last()
    each = last.select("overflow").explode("overflow").drop_nulls().unnest("overflow")
    return {
        reason: spans
        for reason, spans in each.group_by("reason").agg(pl.col("spans").sum()).sort("reason").iter_rows()
        if spans
    }
