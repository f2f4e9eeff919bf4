"""Messages that cannot be read, on their way to llm.dead_letters."""

from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException, Producer
from spanloom_schemas import codec, topics
from spanloom_schemas.codec import Registry
from spanloom_schemas.frames.splice import Dead

from spanloom_sinks.settings import SinkSettings
from spanloom_sinks.source import Source

TOPIC = "llm.dead_letters"
STAGE = "sink"
_WAIT_SECONDS = 30


class DeadLetters:
    """A producer of dead letters. They arrive at least once; the table holds one a message and stage."""

    def __init__(self, settings: SinkSettings, registry: Registry | None = None) -> None:
        self._registry = registry
        limit = topics.load()[TOPIC].max_message_bytes
        self._producer = Producer(
            {**settings.librdkafka(), "acks": "all", "linger.ms": 5, "log_level": 4, "message.max.bytes": limit}
        )

    def send(self, source: Source, dead: list[Dead]) -> None:
        """Send and wait. Raises KafkaException when they did not all arrive: send them again."""
        failed: list[KafkaError] = []

        def delivered(error: KafkaError | None, _: object) -> None:
            if error is not None:
                failed.append(error)

        for letter in dead:
            while not self._produced(source, letter, delivered):
                self._producer.poll(0.1)
        if self._producer.flush(_WAIT_SECONDS) or failed:
            raise KafkaException(failed[0] if failed else KafkaError(KafkaError._MSG_TIMED_OUT))

    def _produced(self, source: Source, letter: Dead, delivered: Callable[[KafkaError | None, object], None]) -> bool:
        """Hand a letter to the producer; False: its queue is full, there may be more letters than it takes."""
        key = f"{source.topic_id}:{source.partition}:{letter.offset}".encode()
        try:
            self._send(key, encode(source, letter, letter.value, self._registry), delivered)
        except BufferError:
            return False
        except KafkaException as error:
            if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                raise
            # With the frame around it, it is larger than a message may be: it can still be found by its offset.
            self._send(key, encode(source, letter, None, self._registry), delivered)
        return True

    def _send(self, key: bytes, value: bytes, delivered: Callable[[KafkaError | None, object], None]) -> None:
        self._producer.produce(TOPIC, value, key, on_delivery=delivered)


def encode(source: Source, letter: Dead, value: bytes | None, registry: Registry | None = None) -> bytes:
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
            "value": value,
        },
        registry,
    )
