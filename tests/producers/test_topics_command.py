import socket
from uuid import uuid4

import click
import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from msgspec import structs
from spanloom.topics_command import apply, differences
from spanloom_schemas.settings import KafkaSettings
from spanloom_schemas.topics import Topic, load


@pytest.fixture
def own_topics(monkeypatch: pytest.MonkeyPatch) -> dict[str, Topic]:
    """The topics under names of this test's own, for the broker is shared."""
    mark = uuid4().hex[:8]
    named = {f"{mark}.{name}": structs.replace(topic, name=f"{mark}.{name}") for name, topic in load().items()}
    monkeypatch.setattr("spanloom.topics_command.load", lambda: named)
    return named


def test_topics_are_created_once_checked_and_never_changed(kafka: str, own_topics: dict[str, Topic]) -> None:
    settings = KafkaSettings(kafka_bootstrap=kafka)
    alerts = next(name for name in own_topics if name.endswith("llm.alerts"))
    wrong = NewTopic(alerts, num_partitions=2, config={"cleanup.policy": "delete"})
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([wrong])[alerts].result()
    assert f"{alerts.removesuffix('alerts')}spans does not exist (spanloom topics create)" in differences(settings)

    said = apply(settings)

    assert [line for line in said if line.startswith("created ")] == [f"created {n}" for n in own_topics if n != alerts]
    differing = [
        f"{alerts} has 2 partitions instead of 1",
        f"{alerts} has cleanup.policy=delete instead of compact",
        f"{alerts} has message.timestamp.type=CreateTime instead of LogAppendTime",
    ]
    assert set(differing) <= set(said)
    assert apply(settings) == differences(settings)
    assert set(differing) <= set(differences(settings))
    assert all(line.startswith(alerts) for line in differences(settings))


def test_a_cluster_that_does_not_answer_is_one_line_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spanloom.topics_command.TIMEOUT_S", 0.5)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(click.ClickException, match=f"Kafka at {where} does not answer.*SPANLOOM_KAFKA_BOOTSTRAP"):
            differences(KafkaSettings(kafka_bootstrap=where))
