"""The topic of a Collector's Kafka exporter (`otlp_spans`, encoding otlp_proto): each message is a request.

Its messages have any key; ours are keyed by trace id, so spans are published anew. An offset is committed when Kafka
has the spans before it: after a crash some are published again, as the same spans.
"""

import asyncio
import logging

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from spanloom_schemas.settings import KafkaSettings

from spanloom.cluster import Ear
from spanloom.gateway.dead_letters import DeadLetters
from spanloom.gateway.door import Door, Verdict

GROUP = "spanloom-gateway"
MESSAGES = 100
"""Read at once."""
PAUSE_SECONDS = 1.0

_REFUSALS = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED)

_UNREADABLE = {Verdict.BAD: "not_otlp", Verdict.TOO_LARGE: "too_large"}
"""What can never be published → the reason of its dead letter."""

_log = logging.getLogger("spanloom")


class Reader:
    """Reads the topic until `stop`."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._stopped = False
        self._told: object = None
        self._dead_letters = DeadLetters(door.settings)

    def stop(self) -> None:
        """Have `run` return after what it is at."""
        self._stopped = True

    async def run(self) -> None:
        """Publish what comes. Raises KafkaException where the cluster refuses."""
        topic = self._door.settings.gateway_collector_topic
        consumer = Consumer(_config(self._door.settings), logger=Ear(self._door.settings))
        consumer.subscribe([topic])
        try:
            while not self._stopped:
                messages = await asyncio.to_thread(consumer.consume, MESSAGES, 0.5)
                await self._take([message for message in messages if self._is_data(message)], consumer)
        finally:
            await asyncio.to_thread(consumer.close)

    async def _take(self, messages: list[Message], consumer: Consumer) -> None:
        """Publish messages, again and again until Kafka has their spans, and commit."""
        open_ = messages
        while open_ and not self._stopped:
            done = await asyncio.gather(*(self._published(message) for message in open_))
            open_ = [message for message, is_done in zip(open_, done, strict=True) if not is_done]
            if open_:
                await asyncio.sleep(PAUSE_SECONDS)
        if messages and not open_:
            ends = {message.partition(): message.offset() for message in messages}  # in order, a partition
            topic = self._door.settings.gateway_collector_topic
            offsets = [TopicPartition(topic, place or 0, (last or 0) + 1) for place, last in ends.items()]
            try:
                await asyncio.to_thread(consumer.commit, offsets=offsets, asynchronous=False)
            except KafkaException as error:  # another reader has the partition now, and publishes the same spans again
                _log.warning("the place in %s is not kept: %s", topic, error.args[0].str())

    async def _published(self, message: Message) -> bool:
        where = f"{message.topic()}:{message.partition()}:{message.offset()}"
        answer = await self._door.collected(message.value() or b"")
        done = answer.verdict is Verdict.DONE
        if reason := _UNREADABLE.get(answer.verdict):
            _log.error("the message %s goes to llm.dead_letters: %s", where, answer.message)
            done = await asyncio.to_thread(self._dead_letters.send, message, reason, answer.message)
        if answer.rejected:
            _log.warning("of the message %s are passed over %s", where, answer.message)
        if done:
            self._door.metrics.read(answer.verdict.value)
        return done

    def _is_data(self, message: Message) -> bool:
        """Say whether it is a message, and not trouble, of which one line is logged. Raises KafkaException."""
        error = message.error()
        if error is None:
            self._told = None
            return True
        if error.fatal() or error.code() in _REFUSALS:
            raise KafkaException(error)
        if self._told != error.code():
            self._told = error.code()
            _log.warning("%s cannot be read for now: %s", self._door.settings.gateway_collector_topic, error.str())
        return False


def _config(kafka: KafkaSettings) -> dict[str, object]:
    return {
        **kafka.librdkafka(),
        "group.id": GROUP,
        "client.id": "spanloom",
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "fetch.message.max.bytes": 8 * 1024 * 1024,
    }
