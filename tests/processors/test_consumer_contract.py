"""What the splicing consumer promises, on a real broker. A new version of Faust or aiokafka has to pass these."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import SimpleNamespace

from aiokafka.admin import AIOKafkaAdminClient
from confluent_kafka import TopicPartition as KafkaTopicPartition
from confluent_kafka.admin import NewTopic
from faust.types import TP
from spanloom_processors import app as faust_app
from spanloom_processors.commits import Point
from spanloom_processors.consumer import MadeAnew
from spanloom_processors.settings import ProcessorSettings

WORKER = Path(__file__).with_name("declaring_worker.py")


class Owner:
    def __init__(self) -> None:
        self.assignments = []
        self.last_words = lambda: None

    async def assigned(self, partitions):
        self.assignments.append(partitions)
        return {tp: found.committed.offset if found.committed else found.log_start for tp, found in partitions.items()}

    async def revoking(self) -> None:
        self.last_words()

    def revoked(self) -> None:
        pass


@asynccontextmanager
async def running(kafka: str, topic: str, group: str) -> AsyncIterator[SimpleNamespace]:
    owner, events = Owner(), []
    app = faust_app.build(ProcessorSettings(kafka_bootstrap=kafka, processor_group=group), owner)

    @app.agent(app.topic(topic, acks=False))
    async def polls(stream):
        async for event in stream.events():
            events.append((event.message.offset, event.value))

    await app.start()
    try:
        yield SimpleNamespace(app=app, owner=owner, events=events, consumer=app.consumer)
    finally:
        await app.stop()


async def until(condition, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not become true"
        await asyncio.sleep(0.02)


async def committed(kafka: str, group: str) -> dict[int, Point]:
    client = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await client.start()
    try:
        found = await client.list_consumer_group_offsets(group)
    finally:
        await client.close()
    return {tp.partition: Point(at.offset, at.metadata) for tp, at in found.items()}


def test_a_partition_s_poll_is_one_message_that_carries_the_first_offset(kafka, make_topic, produce):
    topic = make_topic(2)
    for partition in (0, 1):
        produce(topic, partition, [b"%d" % n for n in range(500)])

    async def scenario():
        async with running(kafka, topic, f"g-{topic}") as worker:
            await until(lambda: sum(len(poll.messages) for _, poll in worker.events) == 1000)
            return worker.events

    events = asyncio.run(scenario())
    assert len(events) <= 10
    for partition in (0, 1):
        messages = []
        for offset, poll in events:
            if poll.tp.partition == partition:
                assert offset == poll.messages[0][0] == len(messages)
                messages += poll.messages
                assert poll.position == len(messages)
        assert [value for _, _, value in messages] == [b"%d" % n for n in range(500)]


def test_in_a_backlog_partitions_take_turns(kafka, make_topic, produce):
    topic = make_topic(3)
    for partition in range(3):
        produce(topic, partition, [b"x"] * 2000)

    async def scenario():
        async with running(kafka, topic, f"g-{topic}") as worker:
            await until(lambda: sum(len(poll.messages) for _, poll in worker.events) == 6000)
            return [poll.tp.partition for _, poll in worker.events]

    order = asyncio.run(scenario())
    for partition in range(3):
        turns = [index for index, served in enumerate(order) if served == partition]
        assert turns[0] < len(order) / 2
        assert turns[-1] > len(order) / 2


def test_exactly_the_declared_offset_is_committed_with_its_metadata(kafka, make_topic, produce):
    topic = make_topic(3)
    group = f"g-{topic}"
    for partition in range(3):
        produce(topic, partition, [b"x"] * 10)

    async def scenario():
        async with running(kafka, topic, group) as worker:
            await until(lambda: sum(len(poll.messages) for _, poll in worker.events) == 30)
            assert await worker.consumer.commit() is False
            worker.consumer.commits.declare(TP(topic, 0), Point(7, "frontier=70"))
            worker.consumer.commits.declare(TP(topic, 1), Point(0, "frontier=10"))
            assert await worker.consumer.commit() is True
            first = await committed(kafka, group)
            worker.consumer.commits.declare(TP(topic, 0), Point(7, "frontier=80"))
            await worker.consumer.commit()
            worker.consumer.commits.declare(TP(topic, 1), Point(9, "leaving"))
            return first

    assert asyncio.run(scenario()) == {0: Point(7, "frontier=70"), 1: Point(0, "frontier=10")}
    assert asyncio.run(committed(kafka, group)) == {0: Point(7, "frontier=80"), 1: Point(9, "leaving")}


def test_an_assignment_tells_the_commit_the_bounds_and_the_topic_s_identity(kafka, make_topic, produce, admin):
    topic = make_topic(1)
    produce(topic, 0, [b"x"] * 10)
    admin.delete_records([KafkaTopicPartition(topic, 0, 4)])[KafkaTopicPartition(topic, 0)].result(20)

    async def scenario():
        async with running(kafka, topic, f"g-{topic}") as worker:
            await until(lambda: worker.events)
            worker.consumer.commits.declare(TP(topic, 0), Point(8, "note"))
        async with running(kafka, topic, f"g-{topic}") as again:
            assert await again.consumer.log_start(TP(topic, 0)) == 4
            return worker.owner.assignments, again.owner.assignments

    first, second = [found[-1][TP(topic, 0)] for found in asyncio.run(scenario())]
    assert (first.log_start, first.log_end, first.committed, first.partitions) == (4, 10, None, 1)
    assert second.committed == Point(8, "note")
    assert first.topic_id == second.topic_id != ""


def test_a_fetch_that_finds_nothing_shows_that_a_partition_is_idle(kafka, make_topic, produce):
    topic = make_topic(1)
    tp = TP(topic, 0)
    produce(topic, 0, [b"x"] * 5)

    async def scenario():
        async with running(kafka, topic, f"g-{topic}") as worker:
            idle_since = worker.consumer.idle_since
            await until(lambda: idle_since(tp, 5) is not None)
            assert abs(time.time() * 1000 - idle_since(tp, 5)) < 5_000
            assert idle_since(tp, 4) is None  # the application has not folded everything
            before = idle_since(tp, 5)
            await until(lambda: (idle_since(tp, 5) or 0) > before)
            await asyncio.to_thread(produce, topic, 0, [b"x"])
            await until(lambda: idle_since(tp, 6) is not None)
            assert idle_since(tp, 5) is None

    asyncio.run(scenario())


def test_a_zombie_s_commit_is_refused_and_harms_nobody(kafka, make_topic, produce):
    topic = make_topic(1)
    group = f"g-{topic}"
    produce(topic, 0, [b"x"] * 5)

    async def scenario():
        async with running(kafka, topic, group) as worker:
            await until(lambda: worker.events)
            worker.consumer._thread._consumer._coordinator.generation += 1
            worker.consumer.commits.declare(TP(topic, 0), Point(5, "zombie"))
            assert await worker.consumer.commit() is False
            assert not worker.app.crashed
            worker.consumer.commits.forget([TP(topic, 0)])

    asyncio.run(scenario())
    assert asyncio.run(committed(kafka, group)) == {}


@contextmanager
def worker_process(kafka: str, topic: str, group: str, member: str = "") -> Iterator[SimpleNamespace]:
    process = subprocess.Popen(
        [sys.executable, str(WORKER), kafka, topic, group, member],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield SimpleNamespace(process=process, said=[])
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def hear(worker: SimpleNamespace, condition) -> None:
    """Read what a worker says until `condition(all of it)` holds."""
    while not condition(worker.said):
        line = worker.process.stdout.readline()
        assert line, f"the worker ended after {worker.said}"
        worker.said.append(json.loads(line))


def read_until(partitions: dict[int, int]):
    """A condition: every partition was read up to (and with) its last offset."""

    def condition(said) -> bool:
        last = {}
        for line in said:
            if "partition" in line:
                last[line["partition"]] = line["last"]
        return all(last.get(partition, -1) >= offset for partition, offset in partitions.items())

    return condition


def first_read(said) -> dict[int, int]:
    """For each partition, the first offset read after its last assignment."""
    first: dict[int, int] = {}
    for line in said:
        if "assigned" in line:
            first = {}
        elif "partition" in line:
            first.setdefault(line["partition"], line["first"])
    return first


def test_after_kill_9_the_next_worker_resumes_at_the_declared_offset(kafka, make_topic, produce):
    topic = make_topic(2)
    group = f"g-{topic}"
    for partition in (0, 1):
        produce(topic, partition, [b"x"] * (100 + partition))
    with worker_process(kafka, topic, group, "one") as worker:
        hear(worker, read_until({0: 99, 1: 100}))
        expected = {0: Point(97, "safe=97"), 1: Point(98, "safe=98")}
        deadline = time.monotonic() + 10
        while asyncio.run(committed(kafka, group)) != expected:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        worker.process.kill()
    produce(topic, 0, [b"x"] * 5)
    with worker_process(kafka, topic, group, "one") as successor:
        hear(successor, read_until({0: 104, 1: 100}))
        assert first_read(successor.said) == {0: 97, 1: 98}


def test_workers_that_join_and_leave_hand_partitions_over_at_the_declared_offset(kafka, make_topic, produce):
    topic = make_topic(4)
    group = f"g-{topic}"
    for partition in range(4):
        produce(topic, partition, [b"x"] * 50)
    with worker_process(kafka, topic, group) as first, worker_process(kafka, topic, group) as second:
        hear(first, lambda said: {"ready": True} in said)
        hear(second, lambda said: {"ready": True} in said)
        hear(first, lambda said: [len(line["assigned"]) for line in said if "assigned" in line][-1:] == [2])
        hear(second, lambda said: [len(line["assigned"]) for line in said if "assigned" in line][-1:] == [2])
        moved = [line["assigned"] for line in second.said if "assigned" in line][-1]
        hear(second, read_until({int(partition): 49 for partition in moved}))
        second.process.send_signal(signal.SIGTERM)
        stopped = time.monotonic()
        assert second.process.wait(5) == 0
        assert time.monotonic() - stopped < 5
        hear(first, lambda said: [len(line["assigned"]) for line in said if "assigned" in line][-1] == 4)
        hear(first, lambda said: len(first_read(said)) == 4)
        assert first_read(first.said) == dict.fromkeys(range(4), 47)
        taken = [line["assigned"] for line in first.said if "assigned" in line][-1]
        assert {tuple(point) for point in taken.values()} == {(47, "safe=47")}


def test_a_topic_made_anew_is_never_read_on_as_the_old_one(kafka, admin, make_topic, produce, monkeypatch):
    """The group notices, and it is assigned anew under the new id; or the offsets do, and the process is to end."""
    monkeypatch.setattr(faust_app, "METADATA_MS", 1_000)  # it would be noticed within ten seconds
    topic = make_topic(1)
    produce(topic, 0, [b"old"] * 20)

    async def main() -> None:
        async with running(kafka, topic, f"g-{topic}") as worker:
            await until(lambda: worker.events)
            await asyncio.to_thread(make_anew, admin, topic)
            await asyncio.to_thread(produce, topic, 0, [b"new"] * 3)
            await until(lambda: worker.app.crash_reason or len(ids(worker)) == 2, 60)
            if worker.app.crash_reason:
                assert isinstance(worker.app.crash_reason, MadeAnew)
                assert len(worker.events) == 1

    asyncio.run(main())


def ids(worker) -> set[str]:
    return {found.topic_id for partitions in worker.owner.assignments for found in partitions.values()}


def make_anew(admin, topic: str) -> None:
    admin.delete_topics([topic])[topic].result(20)
    while topic in admin.list_topics(timeout=10).topics:
        time.sleep(0.05)
    admin.create_topics([NewTopic(topic, 1, 1, config={"message.timestamp.type": "LogAppendTime"})])[topic].result(20)
