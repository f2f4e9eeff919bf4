"""Messages of a Collector that cannot be published, on their way to llm.dead_letters, whole."""

from typing import Any

from confluent_kafka import KafkaException, Message, Producer
from spanloom_schemas import codec, registry, topics

from spanloom.cluster import Ear
from spanloom.delivery import LIBRDKAFKA
from spanloom.settings import ProducerSettings

TOPIC = "llm.dead_letters"
LIMIT_BYTES = topics.load()[TOPIC].max_message_bytes - 8192
"""What a letter may hold of its message; a larger one can still be found by its offset."""
WAIT_SECONDS = 10.0


class DeadLetters:
    """Sends letters, one at a time; connects with the first."""

    def __init__(self, settings: ProducerSettings) -> None:
        self._settings = settings
        self._kafka: Producer | None = None

    def send(self, message: Message, reason: str, why: str) -> bool:
        """Send a letter about a message; say whether Kafka has it."""
        told: list[object] = []
        if self._kafka is None:
            limit = {"message.max.bytes": topics.load()[TOPIC].max_message_bytes}
            quiet = {"logger": Ear(self._settings)}
            self._kafka = Producer({**LIBRDKAFKA, **self._settings.librdkafka(), **limit, **quiet})
        try:
            value = codec.encode("dead_letter", letter(message, reason, why), registry.of(self._settings, WAIT_SECONDS))
            self._kafka.produce(TOPIC, value, _key(message), on_delivery=lambda error, _: told.append(error))
        except (KafkaException, BufferError, OSError):  # OSError: of a schema registry that is away
            return False
        self._kafka.flush(WAIT_SECONDS)
        return told == [None]


def letter(message: Message, reason: str, why: str) -> dict[str, Any]:
    """Return the letter about a message of a foreign topic, of which the name stands for its id."""
    value = message.value() or b""
    return {
        "topic": message.topic(),
        "topic_id": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "log_time": max(0, message.timestamp()[1]),
        "stage": "gateway",
        "reason": reason,
        "error": why,
        "key": message.key(),
        "value": value if len(value) <= LIMIT_BYTES else None,
    }


def _key(message: Message) -> bytes:
    return f"{message.topic()}:{message.partition()}:{message.offset()}".encode()
