"""What the tests of the processors' shell need of a broker."""

import time
from collections.abc import Callable, Sequence
from itertools import count

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from spanloom_schemas import topics

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


@pytest.fixture
def bare(kafka: str, admin: AdminClient) -> str:
    """A broker without the topics of the line."""
    if old := list(set(topics.load()) & set(admin.list_topics(timeout=20).topics)):
        for future in admin.delete_topics(old).values():
            future.result(20)
        while set(old) & set(admin.list_topics(timeout=20).topics):
            time.sleep(0.1)
    return kafka


@pytest.fixture
def line(bare: str, admin: AdminClient) -> str:
    """A broker on which the topics of the line are new."""
    new = [NewTopic(topic.name, topic.partitions, 1, config=topic.config()) for topic in topics.load().values()]
    for future in admin.create_topics(new).values():
        future.result(20)
    told = {topic.name: topic.partitions for topic in topics.load().values()}
    while _partitions(admin).items() & told.items() != told.items():  # the broker's metadata come a moment later
        time.sleep(0.05)
    return bare


def _partitions(admin: AdminClient) -> dict[str, int]:
    return {name: len(topic.partitions) for name, topic in admin.list_topics(timeout=20).topics.items()}
