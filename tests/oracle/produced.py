"""The whole of llm.spans from a broker, as the oracle reads it."""

import time

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from spanloom_schemas import codec
from spanloom_schemas.codec import CodecError, Registry

from tests.oracle.spans import Batch, Logged
from tests.oracle.truth import Place

TOPIC = "llm.spans"
TRIES = 20


def logs(bootstrap: str, registry: Registry | None = None) -> dict[Place, list[Logged]]:
    """Every message of llm.spans that the broker has, up to the ends that the partitions have now."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    described = admin.describe_topics(TopicCollection([TOPIC]), request_timeout=20)[TOPIC].result()
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "oracle", "enable.auto.commit": False})
    try:
        return {
            Place(str(described.topic_id), info.id): _partition(consumer, info.id, registry)
            for info in described.partitions
        }
    finally:
        consumer.close()


def batch(value: bytes | None, registry: Registry | None = None) -> Batch | None:
    """The SpanBatch in a message; None: it must be a dead letter."""
    try:
        name, _, datum = codec.decode(value or b"", registry)
    except CodecError:
        return None
    return datum if name == "span_batch" else None


def _partition(consumer: Consumer, partition: int, registry: Registry | None) -> list[Logged]:
    low, high = _bounds(consumer, partition)
    consumer.assign([TopicPartition(TOPIC, partition, low)])
    found: list[Logged] = []
    position = low
    while position < high:
        for message in consumer.consume(1000, 1.0):
            if (error := message.error()) is not None:
                if error.code() == KafkaError._BAD_COMPRESSION:  # a batch of one, which librdkafka never gets past
                    found.append(Logged(message.offset(), 0, None))
                    consumer.seek(TopicPartition(TOPIC, partition, message.offset() + 1))
                continue
            value = batch(message.value(), registry)
            found.append(Logged(message.offset(), message.timestamp()[1], value))
        position = max(position, consumer.position([TopicPartition(TOPIC, partition)])[0].offset)
        position = max(position, found[-1].offset + 1) if found else position
    return [message for message in found if message.offset < high]


def _bounds(consumer: Consumer, partition: int) -> tuple[int, int]:
    """First offset and end of a partition; a broker just started may not lead it yet."""
    place = TopicPartition(TOPIC, partition)
    for _ in range(TRIES):
        try:
            return consumer.get_watermark_offsets(place, timeout=20)
        except KafkaException:
            time.sleep(0.5)
    return consumer.get_watermark_offsets(place, timeout=20)
