"""Reads a compacted topic from its beginning to its present end."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from spanloom_processors.assignment import QUIET

SILENCE_S = 30.0
READ_AT_ONCE, POLL_S = 10_000, 0.1  # `consume` waits out its time unless it has so many


class Record(NamedTuple):
    """A record of a compacted topic."""

    offset: int
    value: bytes


def read_whole(librdkafka: Mapping[str, str], topic: str) -> list[Record]:
    """All records of partition 0 but tombstones, in log order; blocks. Raises KafkaException when it cannot be read."""
    consumer = Consumer({
        **librdkafka,
        **QUIET,
        "group.id": "spanloom-restore",  # librdkafka wants one; nothing is committed under it
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "fetch.wait.max.ms": 10,  # the broker says where the end is only after this
    })  # fmt: skip
    try:
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        return list(_records(consumer))
    finally:
        consumer.close()


def _records(consumer: Consumer) -> Iterator[Record]:
    silent = 0.0
    while silent < SILENCE_S:
        messages = consumer.consume(READ_AT_ONCE, POLL_S)
        silent = 0.0 if messages else silent + POLL_S
        for message in messages:
            error = message.error()
            if error is None:
                offset, value = message.offset(), message.value()
                if offset is not None and value is not None:
                    yield Record(offset, value)
            elif error.code() == KafkaError._PARTITION_EOF:
                return
            elif error.fatal() or not error.retriable():
                raise KafkaException(error)
    raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"nothing came for {SILENCE_S:.0f} s"))
