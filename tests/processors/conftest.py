"""What the tests of the processors' shell need of a broker."""

from collections.abc import Callable, Sequence
from itertools import count

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

_names = count()

MakeTopic = Callable[[int], str]
Produce = Callable[[str, int, Sequence[bytes]], None]


@pytest.fixture(scope="session")
def admin(kafka: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": kafka})


@pytest.fixture
def make_topic(admin: AdminClient) -> MakeTopic:
    """Make a topic of some partitions, under a new name."""

    def make(partitions: int) -> str:
        name = f"processors-{next(_names)}"
        topic = NewTopic(name, partitions, 1, config={"message.timestamp.type": "LogAppendTime"})
        admin.create_topics([topic])[name].result(20)
        return name

    return make


@pytest.fixture(scope="session")
def produce(kafka: str) -> Produce:
    """Store values in a partition, before it returns."""
    producer = Producer({"bootstrap.servers": kafka, "linger.ms": 1})

    def store(topic: str, partition: int, values: Sequence[bytes]) -> None:
        for value in values:
            producer.produce(topic, value, partition=partition)
        assert producer.flush(20) == 0

    return store
