"""Reads a compacted topic from its beginning to its present end."""

from collections.abc import Iterator, Mapping

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

POLL_S = 30.0
READ_AT_ONCE = 10_000


def read_whole(librdkafka: Mapping[str, str], topic: str) -> list[bytes]:
    """The values of all records of partition 0, in log order; blocks. Raises KafkaException when it cannot be read.

    The values of tombstones are left out.
    """
    consumer = Consumer({
        **librdkafka,
        "group.id": "spanloom-restore",  # librdkafka wants one; nothing is committed under it
        "enable.auto.commit": False,
        "enable.partition.eof": True,
    })  # fmt: skip
    try:
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        return list(_values(consumer))
    finally:
        consumer.close()


def _values(consumer: Consumer) -> Iterator[bytes]:
    while True:
        messages = consumer.consume(READ_AT_ONCE, POLL_S)
        for message in messages:
            error = message.error()
            if error is None:
                if (value := message.value()) is not None:
                    yield value
            elif error.name() == "_PARTITION_EOF":
                return
            elif error.fatal() or not error.retriable():
                raise KafkaException(error)
