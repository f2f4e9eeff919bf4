"""Past a batch that librdkafka will not unfold: it would report it for ever and never read on.

A batch of 12 kB can hold 400 MB of zeros; librdkafka gives up at 100 MB and names the offset of the batch's first
message, not of its last. So where reading goes on is found by trying: offsets within the batch give that error again.
"""

import time
from collections.abc import Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

_ALONE = {
    "group.id": "spanloom-sink-probe",  # librdkafka wants one; it is never joined
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "latest",
    "fetch.error.backoff.ms": 10,
    "fetch.wait.max.ms": 10,
    "log_level": 3,
}
_PATIENCE = 20.0  # seconds for one answer


def is_unreadable(error: KafkaError) -> bool:
    """Whether this is about a batch that cannot be unfolded."""
    return error.code() == KafkaError._BAD_COMPRESSION


def behind(connection: Mapping[str, str], topic: str, partition: int, first: int) -> int:
    """The offset behind the batch at `first` that cannot be unfolded; blocks. Raises KafkaException: try again."""
    consumer = Consumer({**connection, **_ALONE})
    try:
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_PATIENCE, cached=False)
        within, step = first, 1
        while within + step < end and _is_within(consumer, topic, partition, within + step, first):
            within, step = within + step, step * 2
        out = min(within + step, int(end))
        while out - within > 1:
            middle = (within + out) // 2
            if _is_within(consumer, topic, partition, middle, first):
                within = middle
            else:
                out = middle
        return out
    finally:
        consumer.close()


def _is_within(consumer: Consumer, topic: str, partition: int, offset: int, first: int) -> bool:
    consumer.assign([TopicPartition(topic, partition, offset)])
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        for message in consumer.consume(1, 1.0):
            error = message.error()
            if error is None or error.code() == KafkaError._PARTITION_EOF:
                return False
            if is_unreadable(error):
                return message.offset() == first  # else the next one of its kind
    raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"no answer about offset {offset} of {topic}[{partition}]"))
