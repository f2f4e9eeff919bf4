"""What tests read of llm.spans, and the ledger in it."""

import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from spanloom_schemas import codec


def messages(bootstrap: str, service: str) -> list[tuple[int, dict[str, Any]]]:
    """All messages of a process that calls itself `service`: partition and batch, by epoch and sequence."""
    found = []
    for partition, value in values(bootstrap):
        if service.encode() in value:  # it need not be read to be known for another's
            with suppress(codec.CodecError):  # of another test, on the same broker
                datum = codec.decode(value)[2]
                if datum["producer"].endswith(f":{service}"):
                    found.append((partition, datum))
    return sorted(found, key=lambda item: (item[1]["epoch"], item[1]["sequence"]))


def values(bootstrap: str) -> Iterator[tuple[int, bytes]]:
    """All there is in the topic now, with its partition."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": uuid.uuid4().hex})
    numbers = consumer.list_topics("llm.spans").topics["llm.spans"].partitions
    parts = [TopicPartition("llm.spans", number, 0) for number in numbers]
    ends = {part.partition: consumer.get_watermark_offsets(part)[1] for part in parts}
    consumer.assign(parts)
    while any(position.offset < ends[position.partition] for position in _positions(consumer, parts, ends)):
        for message in consumer.consume(1000, 0.1):
            if message.error() is None:
                yield message.partition(), message.value() or b""
    consumer.close()


def _positions(consumer: Consumer, parts: list[TopicPartition], ends: dict[int, int]) -> list[TopicPartition]:
    waiting = [part for part in consumer.position(parts) if ends[part.partition] > 0]
    for part in waiting:
        part.offset = max(part.offset, 0)
    return waiting


def epochs(bootstrap: str, service: str) -> list[list[dict[str, Any]]]:
    """The batches of each life of these processes."""
    found: dict[int, list[dict[str, Any]]] = {}
    for _, datum in messages(bootstrap, service):
        found.setdefault(datum["epoch"], []).append(datum)
    return list(found.values())


def balanced(life: list[dict[str, Any]], made: int) -> None:
    """Assert that a life closed cleanly and that all it made is there or explained."""
    assert [batch["sequence"] for batch in life] == list(range(len(life)))
    assert life[0]["spans"] == []
    accounted(life, made)


def accounted(life: list[dict[str, Any]], made: int) -> None:
    """Assert that a life closed cleanly, with made = stored + dropped and every gap explained.

    What was given up and is stored all the same counts as stored, as in the ledger's view.
    """
    batches = {batch["sequence"]: batch for batch in life}
    given_up = {sequence for batch in life for sequence in batch["given_up"]}
    assert batches.keys() | given_up == set(range(life[-1]["sequence"] + 1))
    assert life[-1]["last"]
    stored = sum(len(batch["spans"]) for batch in batches.values())
    all_the_same = sum(len(batches[sequence]["spans"]) for sequence in given_up & batches.keys())
    dropped = sum(drop["spans"] for drop in life[-1]["dropped"])
    assert life[-1]["made"] == made == stored + dropped - all_the_same
