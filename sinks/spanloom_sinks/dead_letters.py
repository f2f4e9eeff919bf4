"""Messages that cannot be read, on their way to llm.dead_letters."""

from confluent_kafka import KafkaException, Producer
from spanloom_schemas import codec
from spanloom_schemas.frames.splice import Dead

from spanloom_sinks.settings import SinkSettings
from spanloom_sinks.source import Source

TOPIC = "llm.dead_letters"
STAGE = "sink"


class DeadLetters:
    """A producer of dead letters. They arrive at least once; the table holds one a message and stage."""

    def __init__(self, settings: SinkSettings) -> None:
        self._producer = Producer({**settings.librdkafka(), "acks": "all", "linger.ms": 5, "compression.type": "zstd"})

    def send(self, source: Source, dead: list[Dead]) -> None:
        """Send and wait. Raises KafkaException when they did not all arrive: send them again."""
        failed: list[object] = []
        for letter in dead:
            key = f"{source.topic_id}:{source.partition}:{letter.offset}"
            self._producer.produce(
                TOPIC, encode(source, letter), key, on_delivery=lambda error, _: error and failed.append(error)
            )
        if self._producer.flush(30) or failed:
            raise KafkaException(*failed[:1])


def encode(source: Source, letter: Dead) -> bytes:
    """The message of llm.dead_letters about a message of `source`."""
    return codec.encode(
        "dead_letter",
        {
            "topic": source.topic,
            "topic_id": source.topic_id,
            "partition": source.partition,
            "offset": letter.offset,
            "log_time": letter.log_time,
            "stage": STAGE,
            "reason": letter.reason,
            "error": letter.error,
            "key": None,
            "value": letter.value,
        },
    )
