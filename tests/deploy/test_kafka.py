import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from spanloom_stack import kafka, net, services
from spanloom_stack.settings import StackSettings
from spanloom_stack.supervise import Supervisor

PARENT = """
    import sys, time
    from pathlib import Path
    from spanloom_stack import kafka, services
    from spanloom_stack.settings import StackSettings
    from spanloom_stack.supervise import Supervisor
    folder = Path(sys.argv[1])
    service, bootstrap = services.broker(kafka.install(StackSettings().cache), folder / "data", port=0)
    supervisor = Supervisor(folder)
    supervisor.start(service)
    print(supervisor.pids()["kafka"], bootstrap, flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def installation() -> kafka.Installation:
    return kafka.install(StackSettings().cache)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent was killed")
def test_a_broker_ends_with_its_killed_parent_and_the_next_one_has_its_records(
    tmp_path: Path, installation: kafka.Installation
) -> None:
    command = [sys.executable, "-c", textwrap.dedent(PARENT), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        try:
            pid, bootstrap = parent.stdout.readline().split()
            create(bootstrap, "kept")
            produce(bootstrap, "kept", b"before the kill")
        finally:
            parent.kill()
    assert net.until(lambda: not Path("/proc", pid).exists(), 10)

    service, bootstrap = services.broker(installation, tmp_path / "data", port=0)
    with Supervisor(tmp_path) as supervisor:
        supervisor.start(service)
        produce(bootstrap, "kept", b"after it")
        assert consume(bootstrap, "kept", 2) == [b"before the kill", b"after it"]


def test_a_topic_nobody_created_is_not_made_by_writing_to_it(kafka: str) -> None:
    with pytest.raises(KafkaException):
        produce(kafka, "nobody.created.this", b"x", timeout_ms=1000)
    admin = AdminClient({"bootstrap.servers": kafka})
    assert "nobody.created.this" not in admin.list_topics(timeout=10).topics


def test_a_taken_port_is_named(tmp_path: Path, installation: kafka.Installation, kafka: str) -> None:
    port = int(kafka.rpartition(":")[2])
    with pytest.raises(net.PortTaken, match=f"port {port} on 127.0.0.1 is taken"):
        services.broker(installation, tmp_path, port)


def test_the_broker_listens_on_the_loopback_only(tmp_path: Path, installation: kafka.Installation) -> None:
    written = kafka.prepare(installation, tmp_path, port=0).read_text()
    listeners = next(line for line in written.splitlines() if line.startswith("listeners="))
    assert [part.split("://")[1].split(":")[0] for part in listeners.split(",")] == ["127.0.0.1", "127.0.0.1"]


def create(bootstrap: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, 1)])[topic].result(10)


def produce(bootstrap: str, topic: str, value: bytes, timeout_ms: int = 10_000) -> None:
    failures: list[KafkaException] = []
    producer = Producer({"bootstrap.servers": bootstrap, "message.timeout.ms": timeout_ms})
    producer.produce(
        topic, value, on_delivery=lambda error, _: failures.append(KafkaException(error)) if error else None
    )
    producer.flush(20)
    if failures:
        raise failures[0]


def consume(bootstrap: str, topic: str, count: int) -> list[bytes | None]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "test", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        return [message.value() for message in consumer.consume(count, timeout=10)]
    finally:
        consumer.close()
