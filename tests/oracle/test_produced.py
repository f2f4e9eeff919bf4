"""The oracle reads a topic as a real broker has it."""

from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from spanloom_schemas import codec, topics

from tests.oracle.produced import logs


def test_every_message_of_every_partition_is_read_with_its_place_and_time(kafka: str, made: Any) -> None:
    topic = topics.load()["llm.spans"]
    admin = AdminClient({"bootstrap.servers": kafka})
    if topic.name not in admin.list_topics(timeout=10).topics:
        new = NewTopic(topic.name, topic.partitions, 1, config=topic.config())
        admin.create_topics([new])[topic.name].result(20)
    before = {place: len(found) for place, found in logs(kafka).items()}
    assert len(before) == topic.partitions
    producer = Producer({"bootstrap.servers": kafka})
    batch = made.batch(made.span("t", "s"))
    for value in (codec.encode("span_batch", batch), b"nonsense", codec.encode("span_batch", batch)):
        producer.produce(topic.name, value, partition=1)
    assert producer.flush(20) == 0
    after = {place: found[before[place] :] for place, found in logs(kafka).items()}
    assert [len(found) for place, found in sorted(after.items()) if place.partition != 1] == [0] * (len(after) - 1)
    (one, garbage, again) = next(found for place, found in after.items() if place.partition == 1)
    assert (one.batch, garbage.batch) == (again.batch, None)
    assert one.batch is not None
    assert one.batch["spans"][0]["trace_id"] == "t"
    assert (garbage.offset, again.offset) == (one.offset + 1, one.offset + 2)
    assert one.log_time_ms <= again.log_time_ms
