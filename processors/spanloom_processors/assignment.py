"""What a worker is told about a partition when it gets it."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient
from faust.types import TP

from spanloom_processors.commits import Point

DESCRIBE_TIMEOUT_S = 10.0
QUIET = {"log_level": "2"}  # what fails is raised; librdkafka would log each attempt besides


class Assigned(NamedTuple):
    """A partition just assigned: its topic's id (a recreated one has another), the group's commit, the log's bounds."""

    topic_id: str
    partitions: int
    committed: Point | None
    log_start: int
    log_end: int


class Owner(Protocol):
    """The application's side of a rebalance; each call ends before the next step of the rebalance begins."""

    async def assigned(self, partitions: Mapping[TP, Assigned]) -> Mapping[TP, int]:
        """These and only these partitions are this worker's: returns the offset from which to read each."""
        ...

    async def revoking(self) -> None:
        """All partitions are about to be taken away: the last chance to send and to declare what is safe."""
        ...

    def revoked(self) -> None:
        """The partitions are gone, and what was committed of them is still known: forget their state."""
        ...


class TopicFacts(NamedTuple):
    """A topic's id as Kafka prints it, and how many partitions it has."""

    topic_id: str
    partitions: int


def describe_topics(librdkafka: Mapping[str, str], topics: Iterable[str]) -> dict[str, TopicFacts]:
    """Facts about topics, from the broker; blocks. Raises KafkaException when one does not exist or no broker answers.

    aiokafka 0.14 speaks no version of the metadata protocol that carries topic ids, so this asks by librdkafka.
    """
    admin = AdminClient({**librdkafka, **QUIET, "client.id": "spanloom-processor-describe"})
    described = admin.describe_topics(TopicCollection(list(topics)), request_timeout=DESCRIBE_TIMEOUT_S)
    facts = {name: future.result() for name, future in described.items()}
    return {name: TopicFacts(str(topic.topic_id), len(topic.partitions)) for name, topic in facts.items()}
