"""What cannot be fetched, or is too much of nothing, stops no partition and fills no memory."""

import pytest
from confluent_kafka import Producer
from spanloom_schemas import topics
from spanloom_schemas.frames.splice import Dead
from spanloom_schemas.partitioning import partition
from spanloom_schemas.settings import KafkaSettings
from spanloom_sinks import unreadable
from spanloom_sinks.dead_letters import DeadLetters
from spanloom_sinks.lane import BLOCK_BYTES, Lane
from spanloom_sinks.settings import SinkSettings
from spanloom_sinks.source import Source

PARTITIONS = topics.load()["llm.spans"].partitions


@pytest.fixture
def detonate(kafka, produce):
    """Store a batch of messages that unfolds to 240 MB. Other tests could not read past it: the topic is made anew."""

    def store_batch(topic: str, number: int, messages: int) -> None:
        producer = Producer({
            "bootstrap.servers": kafka, "compression.type": "zstd", "linger.ms": 60_000, "batch.size": 2_000_000_000,
            "message.max.bytes": 1_000_000_000, "queue.buffering.max.kbytes": 2_000_000,
        })  # fmt: skip
        for _ in range(messages):
            producer.produce(topic, bytes(240_000_000 // messages), partition=number)
        assert producer.flush(60) == 0

    yield store_batch
    produce.make_anew("llm.spans")


@pytest.mark.parametrize("messages", [1, 3, 300])
def test_a_batch_that_cannot_be_unfolded_is_one_dead_letter_and_its_partition_moves_on(
    messages, kafka, detonate, start_sink, store, produce, traffic, eventually
):
    producer, trace = traffic.id(4), traffic.id(16)
    number = partition(trace, PARTITIONS)
    produce("llm.spans", [traffic.encoded([traffic.span(trace_id=trace)], producer=producer)], trace)
    detonate("llm.spans", number, messages)
    produce("llm.spans", [traffic.encoded([traffic.span(trace_id=trace)], producer=producer, sequence=2)], trace)
    sink = start_sink()

    def offsets() -> list[int]:
        found = store.query(
            "SELECT offset FROM spans WHERE producer = {p:String} ORDER BY offset", p=producer
        )  # two, with the bombs between them
        return found["offset"].to_list() if found.height else []

    eventually(lambda: len(offsets()) == 2, sink.log.read_text)
    first, last = offsets()
    assert last - first - 1 == messages

    def letters() -> list[tuple[int, str]]:
        found = store.query(
            "SELECT offset, reason, error FROM dead_letters FINAL WHERE stage = 'sink' AND partition = {n:Int32}"
            " AND offset BETWEEN {a:Int64} AND {b:Int64} AND topic_id IN"
            " (SELECT topic_id FROM spans WHERE producer = {p:String}) ORDER BY offset",
            n=number, a=first, b=last, p=producer,
        )  # fmt: skip
        return found.rows()

    eventually(lambda: letters() and letters()[-1][0] == last - 1, letters)
    assert {reason for _, reason, _ in letters()} == {"too_large"}
    assert f"offsets {first + 1} to " in letters()[0][2]
    assert "sink: " not in sink.log.read_text()
    assert sink.stop() == 0


def test_where_a_batch_that_cannot_be_unfolded_ends_is_found_also_at_the_end_of_the_log(kafka, detonate, produce):
    connection = KafkaSettings(kafka_bootstrap=kafka).librdkafka()
    produce("llm.spans", [b"x"] * 3, "a trace")  # makes the topics
    number = partition("a trace", PARTITIONS)
    producer = Producer({"bootstrap.servers": kafka})
    placed: list[int] = []
    producer.produce(
        "llm.spans", b"x", partition=number, on_delivery=lambda _, message: placed.append(message.offset())
    )
    assert producer.flush(20) == 0
    detonate("llm.spans", number, 1)
    assert unreadable.behind(connection, "llm.spans", number, placed[0] + 1) == placed[0] + 2


def test_a_flood_of_empty_messages_fills_a_buffer_too():
    lane = Lane(Source("llm.spans", "id", 0, 0), 0)
    for first in range(0, 400_000, 512):
        lane.add([(offset, 0, b"") for offset in range(first, first + 512)], now=0.0)
        if lane.full:
            break
    assert lane.full
    block = lane.cut(now=0.0, linger=9.0)
    assert len(block.messages) * 256 <= BLOCK_BYTES
    before = lane.bytes
    block, lane.block = lane.block, None
    lane.offset = block.last + 1
    lane.cut(now=0.0, linger=0.0)
    assert lane.bytes < before


def test_more_letters_than_the_producer_queues_are_all_sent(kafka, produce, start_sink, store, eventually):
    produce("llm.spans", [b"x"], "a trace")  # makes the topics
    letters = DeadLetters(SinkSettings(kafka_bootstrap=kafka))
    count = 120_000  # librdkafka queues 100 000
    source = Source("llm.spans", "flood", 0, 0)
    letters.send(source, [Dead(offset, 0, "not_framed", "none of ours", b"") for offset in range(count)])
    start_sink()
    eventually(
        lambda: store.query("SELECT uniqExact(offset) FROM dead_letters WHERE topic_id = 'flood'").item() == count
    )
