"""What tests read of llm.spans, and the ledger in it."""

import uuid
from contextlib import suppress
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from spanloom_schemas import codec


def messages(bootstrap: str, service: str) -> list[tuple[int, dict[str, Any]]]:
    """All messages of a process that calls itself `service`: partition and batch, by epoch and sequence."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": uuid.uuid4().hex})
    numbers = consumer.list_topics("llm.spans").topics["llm.spans"].partitions
    parts = [TopicPartition("llm.spans", number, 0) for number in numbers]
    ends = {part.partition: consumer.get_watermark_offsets(part)[1] for part in parts}
    consumer.assign(parts)
    found = []
    while any(position.offset < ends[position.partition] for position in _positions(consumer, parts, ends)):
        if (message := consumer.poll(1.0)) is not None and message.error() is None:
            with suppress(codec.CodecError):  # of another test, on the same broker
                datum = codec.decode(message.value())[2]
                if datum["producer"].endswith(f":{service}"):
                    found.append((message.partition(), datum))
    consumer.close()
    return sorted(found, key=lambda item: (item[1]["epoch"], item[1]["sequence"]))


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
    assert life[-1]["last"]
    stored = sum(len(batch["spans"]) for batch in life)
    assert life[-1]["made"] == made == stored + sum(drop["spans"] for drop in life[-1]["dropped"])
