"""Bad and odd input (23–42) on the real line, between good spans: what it costs, and what must be so afterwards."""

import itertools
import random
import re
import time
import urllib.request
import zlib
from collections.abc import Iterable
from typing import Any

from confluent_kafka import Producer
from spanloom_schemas import codec, topics

from tests.faults import hostile
from tests.faults.stage import ALIVE_S, Stage
from tests.faults.watch import Watch

TOPIC = "llm.spans"
BOMB_BYTES = 240_000_000
Message = bytes | None


def bad_input(stage: Stage, rnd: random.Random) -> None:
    """23 to 28, 31 to 34: every kind of bad message, a flood of one of them, and odd ones; no process ends."""
    bad, odd = hostile.bad(rnd, time.time_ns()), hostile.odd(time.time_ns())
    mixed = [*bad, *odd, *([bad[-1]] * 2000)]  # 34: a poison pill, again and again
    rnd.shuffle(mixed)
    with Watch(stage):
        send(stage, mixed, headers=True)
        buried(stage, rnd, len(bad) + 2000)


def bad_of_every_topic(stage: Stage, rnd: random.Random) -> None:
    """23 to 34 on the topics that processors write: poison that is valid Avro, too; no process ends."""
    with Watch(stage):
        due = {topic: hostile.bad_of(topic, rnd) for topic in hostile.DERIVED}
        for topic, values in due.items():
            send(stage, values, topic=topic)
        send(stage, [rnd.randbytes(100), codec.prefix("dead_letter"), b""], topic="llm.dead_letters")

        def letters() -> bool:
            found = stage.ask("SELECT topic, stage, uniqExact(partition, offset) FROM dead_letters GROUP BY ALL") or ()
            counts = {(topic, reader): count for topic, reader, count in found}
            return all(counts.get((t, reader)) == len(due[t]) for t in due for reader in ("processor", "sink"))

        stage.until(letters, 120, f"dead letters of each reader: { {t: len(v) for t, v in due.items()} }")
        assert metric(stage, 'spanloom_dead_letters_total{reason="out_of_bounds"') > 10


def bombs(stage: Stage, rnd: random.Random, count: int = 4) -> None:
    """29, 30: batches of 10 kB that unfold to 240 MB; messages of 2 MB."""
    with Watch(stage):
        for _ in range(count):
            send(stage, [bytes(BOMB_BYTES)], compression="zstd")
            send(stage, [hostile.batch([hostile.span(time.time_ns(), name="n" * 2_000_000)])], compression="zstd")
        buried(stage, rnd, count)


def empty_flood(stage: Stage, rnd: random.Random, count: int = 20_000) -> None:
    """33, 34: tombstones by the thousand."""
    with Watch(stage):
        send(stage, [None] * count)
        buried(stage, rnd, count)


def replayed(stage: Stage, rnd: random.Random, times: int = 2) -> None:
    """35: everything that a producer sent is sent again, and again."""
    sent = [hostile.batch([hostile.span(time.time_ns()) for _ in range(20)]) for _ in range(50)]
    with Watch(stage):
        for _ in range(1 + times):
            send(stage, sent)
            stage.run(1)


def out_of_order(stage: Stage, rnd: random.Random, count: int = 2_000) -> None:
    """36, 37: spans in no order, late by up to two days, a year ahead; producers a day behind and a day ahead."""
    second, day = 10**9, 86_400 * 10**9
    shifts = [0, 0, 0, -second, -20 * second, -3600 * second, -2 * day, 365 * day, -day, day]
    now = time.time_ns()
    made = [hostile.span(now + shift, end=now + shift) for shift in rnd.choices(shifts, k=count)]
    with Watch(stage):
        send(stage, [hostile.batch(made[at : at + 10]) for at in range(0, count, 10)])


def trace_bomb(stage: Stage, rnd: random.Random, count: int = 120_000) -> None:
    """38: one trace of very many spans, each the child of the one before."""
    trace = f"bomb-{rnd.random()}"
    with Watch(stage, ALIVE_S + count / 2_000):
        for at in range(0, count, 1000):
            now = time.time_ns()
            spans = [
                hostile.span(now, trace_id=trace, span_id=f"{n}", parent_id=f"{n - 1}" if n else None)
                for n in range(at, at + 1000)
            ]
            send(stage, [hostile.batch(spans)], partition=1)
            stage.run(0.02)
        overflows(stage, "trace_spans")


def cardinality_bomb(stage: Stage, rnd: random.Random, count: int = 40_000) -> None:
    """40: as many tenants and models as spans; what is too much is `other`, and counted."""
    with Watch(stage, ALIVE_S + count / 2_000):
        for at in range(0, count, 1000):
            now = time.time_ns()
            spans = [
                hostile.span(
                    now,
                    kind="llm",
                    llm=hostile.CALL | {"request_model": f"model {n}"},
                    context={"tenant": f"tenant {n}"},
                    scores=[{"name": f"score {n}", "value": 1.0}],
                )
                for n in range(at, at + 1000)
            ]
            send(stage, [hostile.batch(spans)])
            stage.run(0.05)
        overflows(stage, "pane_keys")
        overflows(stage, "pane_labels")


def hot_key(stage: Stage, rnd: random.Random, count: int = 20_000) -> None:
    """41, 42: nine of ten spans in one partition and of one tenant, one partition idle."""
    with Watch(stage):
        for at in range(0, count, 1000):
            now = time.time_ns()
            spans = [hostile.span(now, context={"tenant": "hot"}) for _ in range(1000)]
            send(stage, [hostile.batch(spans)], partition=0 if at % 10_000 else 2)


def engine_away(stage: Stage, rnd: random.Random, seconds: float = 40, megabytes: int = 240) -> None:
    """The engine is away while more comes than the sink may hold: after ten minutes it would hold no more than now."""
    with Watch(stage):
        stage.engine.refuse()
        for _ in range(megabytes):
            attributes = [{"key": "k", "value": rnd.randbytes(450_000).hex()}]
            send(stage, [hostile.batch([hostile.span(time.time_ns(), attributes=attributes)])])
        stage.run(seconds)
        stage.engine.heal()


def broker_away(stage: Stage, rnd: random.Random, seconds: float = 40) -> None:
    """The broker is away; processor and sink wait, and hold no more than before."""
    with Watch(stage):
        stage.broker.refuse()
        stage.run(seconds)
        stage.broker.heal()
        stage.live_again()


def send(
    stage: Stage,
    values: Iterable[Message],
    compression: str = "none",
    partition: int | None = None,
    headers: bool = False,
    topic: str = TOPIC,
) -> None:
    """Store values in a topic: null keys, and odd headers if asked.

    They go to all its partitions unless one is named; a value that is sent again goes where it went before, as the
    spans of a trace do.
    """
    producer = Producer({
        "bootstrap.servers": stage.bootstrap, "compression.type": compression, "message.max.bytes": 1_000_000_000,
        "batch.size": 1_000_000_000 if compression == "zstd" else 1_000_000, "queue.buffering.max.kbytes": 2_000_000,
        "linger.ms": 5,
    })  # fmt: skip
    shapes = itertools.cycle([None, [("a", b"1"), ("a", None), ("", b"\xff" * 100)], [("k" * 1000, b"v")]])
    for value in values:
        named: dict[str, Any] = {"headers": next(shapes)} if headers else {}
        if topics.load()[topic].cleanup == "compact":  # the broker wants a key there
            named["key"] = f"{zlib.crc32(value or b'')}"
        while True:
            try:
                count = topics.load()[topic].partitions
                place = zlib.crc32(value or b"") % count if partition is None else partition
                producer.produce(topic, value, partition=place, **named)
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(100) == 0


def buried(stage: Stage, rnd: random.Random, count: int) -> None:
    """Wait until the bad messages are dead letters of both readers."""

    def letters() -> bool:
        found = stage.ask("SELECT stage, uniqExact(topic_id, partition, offset) FROM dead_letters GROUP BY stage")
        return found is not None and all(dict(found).get(name, 0) >= count for name in ("processor", "sink"))

    stage.until(letters, 120, f"{count} dead letters of each reader")


def overflows(stage: Stage, reason: str) -> None:
    """Wait until /metrics says that a bound was met."""
    stage.until(
        lambda: metric(stage, f'spanloom_overflow_spans_total{{.*reason="{reason}"') > 0, 60, f"{reason} counted"
    )


def metric(stage: Stage, pattern: str) -> float:
    """The sum of the processor's series that match."""
    url = f"http://127.0.0.1:{stage.environment['SPANLOOM_METRICS_PORT']}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if re.match(pattern, line))
