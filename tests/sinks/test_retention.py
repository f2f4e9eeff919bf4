"""What retention takes before it is stored is lost, and said: counted by partition, in the log, and by `verify`."""

import os
import time
from types import SimpleNamespace

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from spanloom_sinks import lane as lane_module
from spanloom_sinks.consumer import Commit, Consumer, ConsumerError
from spanloom_sinks.metrics import Metrics
from spanloom_sinks.service import Sink
from spanloom_sinks.settings import SinkSettings
from spanloom_sinks.testing import MemoryDatabase

VALUE = bytes(1000)


class Running:
    """A sink's consumer on a topic of its own with two partitions; what it fetched is stored when the test says so."""

    def __init__(self, kafka: str, topic: str) -> None:
        self.topic, self.admin = topic, AdminClient({"bootstrap.servers": kafka})
        self.make()
        self.producer = Producer({"bootstrap.servers": kafka})
        self.settings = SinkSettings(kafka_bootstrap=kafka, sink_group=topic, sink_instance=topic)
        self.metrics = Metrics()
        self.begin()

    def begin(self) -> None:
        self.consumer = Consumer(self.settings, [self.topic])
        Sink(self.consumer, MemoryDatabase(), SimpleNamespace(bury=None), self.metrics, 0.1)

    def make(self) -> None:
        self.admin.create_topics([NewTopic(self.topic, 2, 1)])[self.topic].result(20)

    def produce(self, partition: int, messages: int) -> None:
        for _ in range(messages):
            self.producer.produce(self.topic, VALUE, partition=partition)
        assert self.producer.flush(20) == 0

    def take_away(self, partition: int, before: int) -> None:
        """What retention does: the log begins at `before`."""
        (done,) = self.admin.delete_records([TopicPartition(self.topic, partition, before)]).values()
        assert done.result(20).low_watermark == before

    def poll(self, until, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < deadline, {key: lane.next for key, lane in self.lanes.items()}
            self.consumer.poll(0.1)

    @property
    def lanes(self):
        return self.consumer.lanes

    def fetched(self, partition: int) -> list[int]:
        lane = self.lanes.get((self.topic, partition))
        return [offset for offset, _, _ in lane.buffer] if lane else []

    def store(self, partition: int) -> list[int]:
        """Store what was fetched; returns its offsets."""
        lane, stored = self.lanes[self.topic, partition], []
        while block := lane.cut(now=1e9, linger=0.0):
            stored += [offset for offset, _, _ in block.messages]
            lane.finish()
        return stored

    def commit(self) -> None:
        assert self.consumer.commit([Commit(lane, lane.offset, lane.mark()) for lane in self.lanes.values()])

    def lost(self, partition: int) -> float:
        return self.metrics.lost.labels(self.topic, partition)._value.get()


@pytest.fixture
def running(kafka, request, monkeypatch):
    monkeypatch.setattr(lane_module, "BUFFER_BYTES", 50_000)  # some forty messages: then it fetches no more
    found = Running(kafka, f"retention-{os.getpid()}-{abs(hash(request.node.name))}")
    yield found
    found.consumer.close()


def test_what_retention_takes_while_a_running_sink_is_held_up_is_counted_and_said(running, caplog):
    running.produce(0, 60)
    running.produce(1, 5)
    running.poll(lambda: len(running.fetched(0)) >= 45 and len(running.fetched(1)) == 5)
    assert running.lanes[running.topic, 0].paused  # ClickHouse is away, say
    running.produce(0, 200)
    running.take_away(0, 240)
    running.produce(1, 3)
    stored, other = running.store(0), running.store(1)
    running.poll(lambda: running.fetched(0)[-1:] == [259] and running.fetched(1)[-1:] == [7])
    stored, other = stored + running.store(0), other + running.store(1)
    assert stored == sorted(set(stored))
    assert stored[-20:] == list(range(240, 260))
    assert running.lost(0) == 260 - len(stored) > 100  # to the message
    assert (other, running.lost(1)) == ([0, 1, 2, 3, 4, 5, 6, 7], 0)
    (said,) = [record.getMessage() for record in caplog.records if "retention" in record.getMessage()]
    assert said.startswith(f"{running.topic}[0]: retention removed up to {260 - len(stored)} messages")
    running.produce(0, 10)  # and it goes on as ever
    running.poll(lambda: running.fetched(0)[-1:] == [269])
    running.commit()
    assert running.lost(0) == 260 - len(stored)


def test_what_retention_took_from_a_sink_that_was_down_is_counted_too(running):
    running.produce(0, 30)
    running.poll(lambda: len(running.fetched(0)) == 30)
    running.store(0)
    running.commit()
    running.consumer.close()
    running.produce(0, 30)
    running.take_away(0, 50)
    running.begin()
    running.poll(lambda: running.fetched(0) == list(range(50, 60)))
    assert running.lost(0) == 20


def test_a_topic_made_anew_under_a_running_sink_is_no_loss_but_a_new_beginning(running):
    running.produce(0, 30)
    running.poll(lambda: len(running.fetched(0)) == 30)
    running.store(0)
    running.admin.delete_topics([running.topic])[running.topic].result(20)
    while running.topic in running.admin.list_topics(timeout=10).topics:
        time.sleep(0.05)
    running.make()
    running.produce(0, 5)
    with pytest.raises(ConsumerError, match="begins again at 0: it was made anew"):
        running.poll(lambda: False, seconds=90)
    assert running.lost(0) == 0
