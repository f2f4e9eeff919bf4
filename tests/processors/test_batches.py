"""What a fetch unfolds to is bounded, on a real broker: a new version of aiokafka has to pass these."""

import asyncio
import gzip
import os
import re
import resource
import time

import cramjam
import pytest
from confluent_kafka import Producer
from faust.types import TP
from spanloom_processors import app as faust_app
from spanloom_processors import batches, dead_letters
from spanloom_processors.batches import TooLarge
from spanloom_processors.settings import ProcessorSettings
from spanloom_schemas import codec

RAW = os.urandom(700) * 1000
BATCH_HEADER = 61  # bytes in front of a batch's records
BOMB = bytes(batches.BATCH_BYTES + 1)
PACKERS = {
    "zstd_decode": cramjam.zstd.compress,
    "lz4_decode": cramjam.lz4.compress,
    "snappy_decode": cramjam.snappy.compress_raw,
    "gzip_decode": gzip.compress,
}


class Owner:
    async def assigned(self, partitions):
        return {tp: found.log_start for tp, found in partitions.items()}

    async def revoking(self) -> None:
        pass

    def revoked(self) -> None:
        pass


def read(kafka: str, topic: str, end: int) -> list:
    """The polls of a topic's one partition up to an offset."""

    async def story():
        polls = []
        app = faust_app.build(ProcessorSettings(kafka_bootstrap=kafka, processor_group=f"g-{topic}"), Owner())

        @app.agent(app.topic(topic, acks=False))
        async def take(stream):
            async for poll in stream:
                polls.append(poll)

        await app.start()
        try:
            deadline = time.monotonic() + 30
            while not (polls and polls[-1].position == end):
                assert time.monotonic() < deadline, [poll.position for poll in polls]
                await asyncio.sleep(0.02)
            while app.consumer.idle_since(TP(topic, 0), end) is None:  # what was refused is no gap
                assert time.monotonic() < deadline
                await asyncio.sleep(0.02)
        finally:
            await app.stop()
        return polls

    return asyncio.run(story())


def produce_at_once(kafka: str, topic: str, values: list[bytes], compression: str) -> None:
    """Store values as one batch."""
    producer = Producer({
        "bootstrap.servers": kafka, "compression.type": compression, "linger.ms": 60_000, "batch.size": 2_000_000_000,
        "message.max.bytes": 1_000_000_000, "queue.buffering.max.kbytes": 2_000_000,
    })  # fmt: skip
    for value in values:
        producer.produce(topic, value, partition=0)
    assert producer.flush(60) == 0


@pytest.mark.parametrize("decoder", PACKERS)
@pytest.mark.parametrize("module", [batches.plain, batches.compiled], ids=["python", "cython"])
def test_a_batch_unfolds_to_what_went_in_or_is_refused_at_the_bound(module, decoder):
    batches.guard()
    unfold = getattr(module, decoder)
    assert unfold(bytes(PACKERS[decoder](RAW))) == RAW
    assert unfold(bytes(PACKERS[decoder](BOMB[:-1]))) == BOMB[:-1]
    with pytest.raises(TooLarge):
        unfold(bytes(PACKERS[decoder](BOMB)))
    with pytest.raises(TooLarge):
        unfold(b"\x7fno such thing")


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_what_producers_compress_is_read_as_it_was(kafka, make_topic, compression):
    topic = make_topic(1)
    values = [RAW[:50_000] + b"%d" % n for n in range(12)]
    produce_at_once(kafka, topic, values, compression)
    assert [message[2] for poll in read(kafka, topic, 12) for message in poll.messages] == values


def test_a_bomb_is_one_dead_letter_as_the_log_holds_it_and_costs_no_memory(kafka, make_topic):
    topic = make_topic(1)
    produce_at_once(kafka, topic, [b"before"], "zstd")
    produce_at_once(kafka, topic, [bytes(800_000)] * 300, "zstd")
    produce_at_once(kafka, topic, [b"behind"], "zstd")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    polls = read(kafka, topic, 302)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150 * 1024
    assert [message[2] for poll in polls for message in poll.unfolded] == [b"before", b"behind"]
    letters = [
        codec.decode(letter.value)[2]
        for poll in polls
        for letter in dead_letters.letters(poll, "id", dead_letters.packed(poll))
    ]
    ranges = [tuple(map(int, re.findall("offsets ([0-9]+) to ([0-9]+)", letter["error"])[0])) for letter in letters]
    assert [first for first, _ in ranges] == [1, *(last + 1 for _, last in ranges[:-1])]
    assert [last for _, last in ranges] == [letter["offset"] for letter in letters]
    assert (ranges[-1][1], {letter["reason"] for letter in letters}) == (300, {"too_large"})
    unfolded = [len(cramjam.zstd.decompress(letter["value"][BATCH_HEADER:])) for letter in letters]
    assert sum(unfolded) > 240_000_000
    assert sum(len(letter["value"]) for letter in letters) < 100_000


def test_a_poll_ends_at_a_number_of_bytes(kafka, make_topic):
    topic = make_topic(1)
    producer = Producer({"bootstrap.servers": kafka, "compression.type": "zstd", "message.max.bytes": 3_000_000})
    for _ in range(40):
        producer.produce(topic, bytes(900_000), partition=0)
    assert producer.flush(60) == 0
    sizes = [sum(len(message[2]) for message in poll.messages) for poll in read(kafka, topic, 40)]
    assert sum(sizes) == 40 * 900_000
    assert max(sizes) <= batches.POLL_BYTES + 900_000
