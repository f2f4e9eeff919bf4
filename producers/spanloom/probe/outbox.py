"""The way of panes to llm.samples: they wait for Kafka, within bounds; what is given up is counted."""

import logging
from collections import deque
from typing import Any

from confluent_kafka import KafkaError, Message, Producer
from spanloom_schemas import codec, registry
from spanloom_schemas.registry import RegistryError

from spanloom.cluster import Ear
from spanloom.probe.metrics import Metrics
from spanloom.probe.settings import ProbeSettings

TOPIC = "llm.samples"
WAITING = 1_000
"""Panes that wait at most, here and in librdkafka each: almost three hours."""

log = logging.getLogger(__name__)


class Outbox:
    """Sends panes in their order. Never raises for a broker or a registry that is away."""

    def __init__(self, settings: ProbeSettings, host: str, metrics: Metrics) -> None:
        self._key = f"{settings.environment}:{host}".encode()
        self._metrics = metrics
        self._registry = registry.of(settings)
        self._waiting: deque[dict[str, Any]] = deque()
        self._ear = Ear(settings)
        self._told = ""
        self._producer = Producer(
            {
                **settings.librdkafka(),
                "client.id": "spanloom-probe",
                "enable.idempotence": True,
                "compression.type": "zstd",
                "message.timeout.ms": 0,  # never: the queue is the bound
                "queue.buffering.max.messages": WAITING,
                "reconnect.backoff.max.ms": 5_000,
            },
            logger=self._ear,
        )

    def put(self, datum: dict[str, Any]) -> None:
        """Send a `sample_batch`, now or later."""
        self._waiting.append(datum)
        if len(self._waiting) > WAITING:
            self._waiting.popleft()
            self._lost("Kafka or the schema registry was away for too long")
        self.turn()

    def turn(self) -> None:
        """Hand on what waits, and hear what became of the rest."""
        while self._waiting and self._handed_on(self._waiting[0]):
            self._waiting.popleft()
        self._producer.poll(0)
        if self._ear.trouble:
            self._tell(self._ear.trouble)

    def close(self, seconds: float) -> None:
        """Send the rest, for so long at most."""
        self.turn()
        for _ in range(self._producer.flush(seconds) + len(self._waiting)):
            self._lost("the probe ended before Kafka had it")

    def _handed_on(self, datum: dict[str, Any]) -> bool:
        try:
            value = codec.encode("sample_batch", datum, self._registry)
            self._producer.produce(TOPIC, value, self._key, on_delivery=self._delivered)
        except BufferError:
            return False
        except RegistryError as error:
            self._tell(str(error))
            return False
        return True

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self._metrics.messages.labels("delivered").inc()
        else:
            self._lost(f"{TOPIC}: {error.str()}")

    def _lost(self, why: str) -> None:
        self._metrics.messages.labels("lost").inc()
        self._tell(f"samples are lost: {why}")

    def _tell(self, what: str) -> None:
        """Log a line when it is news."""
        if what != self._told:
            self._told = what
            log.warning("%s", what)
