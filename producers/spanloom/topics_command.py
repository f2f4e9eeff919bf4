"""`spanloom topics`: create the topics, check the broker's against their YAML files, list them."""

import time
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING

import click
from spanloom_schemas.settings import KafkaSettings, read
from spanloom_schemas.topics import Topic, load

from spanloom import cluster

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

TIMEOUT_S = 15.0


@click.group()
def topics() -> None:
    """Create, check and list the topics on the Kafka cluster."""


@topics.command()
def create() -> None:
    """Create the topics that are missing; what exists is never changed, its differences are reported."""
    with _showing("creating topics …"):
        done = apply(read(KafkaSettings))
    for line in done:
        click.echo(line)


@topics.command()
def check() -> None:
    """Compare the cluster's topics with their files; exit code 1 if one is missing or differs."""
    with _showing("comparing topics …"):
        found = differences(read(KafkaSettings))
    if found:
        raise click.ClickException("; ".join(found))
    click.echo(f"{len(load())} topics are as they should be")


@topics.command(name="list")
def list_topics() -> None:
    """List the topics as their files have them."""
    from rich.console import Console
    from rich.table import Table

    table = Table("topic", "schema", "partitions", "kept", "producers → consumers", box=None, header_style="bold")
    for topic in load().values():
        kept = "last of a key" if topic.cleanup == "compact" else f"{timedelta(milliseconds=topic.retention_ms).days} d"
        flow = f"{', '.join(topic.producers)} → {', '.join(topic.consumers)}"
        table.add_row(topic.name, topic.schema, str(topic.partitions), kept, flow)
    Console().print(table)


def _showing(step: str) -> AbstractContextManager[object]:
    """Show on a terminal that something is under way."""
    from rich.console import Console

    return Console(stderr=True).status(step)


def apply(kafka: KafkaSettings) -> list[str]:
    """Create the topics that are missing. A line for each created, and for each way in which one differs.

    Raises click.ClickException, one line, where the cluster does not answer or refuses.
    """
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

    admin = _admin(kafka)
    there = _partitions(admin)
    missing = [topic for name, topic in load().items() if name not in there]
    asked = [NewTopic(t.name, num_partitions=t.partitions, replication_factor=-1, config=t.config()) for t in missing]
    lines = []
    for name, done in (admin.create_topics(asked, request_timeout=TIMEOUT_S) if asked else {}).items():
        try:
            done.result()
            lines.append(f"created {name}")
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # someone else was quicker
                raise click.ClickException(f"the topic {name} cannot be created: {error.args[0].str()}") from None
    _await_visible(admin, {topic.name for topic in missing})
    existing = [topic for name, topic in load().items() if name in there]
    return lines + _differences(admin, existing, there)


def differences(kafka: KafkaSettings) -> list[str]:
    """Each way in which the cluster's topics are not as their files say; empty: all are. Raises as `apply` does."""
    admin = _admin(kafka)
    there = _partitions(admin)
    missing = [f"{name} does not exist (spanloom topics create)" for name in load() if name not in there]
    return missing + _differences(admin, [topic for name, topic in load().items() if name in there], there)


def _differences(admin: "AdminClient", existing: list[Topic], there: dict[str, int]) -> list[str]:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import ConfigResource, ResourceType  # type: ignore[attr-defined]

    asked = {ConfigResource(ResourceType.TOPIC, topic.name): topic for topic in existing}
    answers = admin.describe_configs(list(asked), request_timeout=TIMEOUT_S) if asked else {}
    lines = []
    for resource, answer in answers.items():
        topic = asked[resource]
        try:
            config = answer.result()
        except KafkaException as error:
            raise click.ClickException(f"the topic {topic.name} cannot be read: {error.args[0].str()}") from None
        if there[topic.name] != topic.partitions:
            lines.append(f"{topic.name} has {there[topic.name]} partitions instead of {topic.partitions}")
        for key, wanted in topic.config().items():
            if config[key].value != wanted:
                lines.append(f"{topic.name} has {key}={config[key].value} instead of {wanted}")
    return lines


def _await_visible(admin: "AdminClient", names: set[str]) -> None:
    """The controller answers before every broker has heard of a new topic."""
    deadline = time.monotonic() + TIMEOUT_S
    while not names <= _partitions(admin).keys() and time.monotonic() < deadline:
        time.sleep(0.05)


def _admin(kafka: KafkaSettings) -> "AdminClient":
    try:
        return cluster.connect(kafka, TIMEOUT_S)
    except cluster.ClusterError as error:
        raise click.ClickException(str(error)) from None


def _partitions(admin: "AdminClient") -> dict[str, int]:
    """Number of partitions of each topic of the cluster."""
    from confluent_kafka import KafkaException

    try:
        listed = admin.list_topics(timeout=TIMEOUT_S).topics
    except KafkaException as error:
        raise click.ClickException(f"the topics cannot be listed: {error.args[0].str()}") from None
    return {name: len(topic.partitions) for name, topic in listed.items()}
