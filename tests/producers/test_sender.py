"""The sender against a broker double whose deliveries fail as a test says."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spanloom import sender as module
from spanloom.buffer import Buffer, Ended
from spanloom.delivery import LIBRDKAFKA
from spanloom.payloads import Payload
from spanloom.sender import Sender
from spanloom.settings import ProducerSettings
from spanloom.trace import Receipt, Trace
from spanloom_schemas import codec
from spanloom_schemas.partitioning import partition

TIMED_OUT = KafkaError._MSG_TIMED_OUT


class Broker:
    """Takes messages as confluent_kafka.Producer does; the n-th delivery fails with the n-th of `errors`.

    What is produced for one partition between two polls is one batch, and refused whole above `limit` bytes.
    """

    def __init__(self, errors: list[int | None], partitions: int = 4, limit: int = 1 << 30) -> None:
        self.partitions = partitions
        self.limit = limit
        self.log: list[tuple[int, dict[str, Any]]] = []
        self.errors = iter(errors)
        self._queue: list[tuple[int, bytes, Callable[[KafkaError | None, Any], None]]] = []

    def list_topics(self, topic: str, timeout: float) -> Any:
        if not self.partitions:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        return SimpleNamespace(
            topics={topic: SimpleNamespace(error=None, partitions=dict.fromkeys(range(self.partitions)))}
        )

    def produce(self, topic: str, value: bytes, partition: int, on_delivery: Any) -> None:
        self._queue.append((partition, value, on_delivery))

    def poll(self, timeout: float) -> None:
        queue, self._queue = self._queue, []
        sizes: Counter[int] = Counter()
        for at, value, _ in queue:
            sizes[at] += len(value)
        for at, value, tell in queue:
            error = next(self.errors, None)
            if error is None and sizes[at] > self.limit:
                error = KafkaError.MSG_SIZE_TOO_LARGE
            if error is None:
                self.log.append((at, codec.decode(value)[2]))
            tell(None if error is None else KafkaError(error), SimpleNamespace(value=partial(bytes, value)))

    flush = poll

    def purge(self) -> None:
        queue, self._queue = self._queue, []
        for _, value, tell in queue:
            tell(KafkaError(KafkaError._PURGE_QUEUE), SimpleNamespace(value=partial(bytes, value)))


def ended(number: int, detail: dict[str, object] | None = None) -> Ended:
    trace = Trace(f"{number % 50 + 1:032x}", 1, "", {})
    return (trace, number + 1, None, False, "x", "other", 0, 1, detail or {}, None, None, 0)


def run(broker: Broker, spans: list[Ended], rounds: int = 1, patience: float = 5, **said: Any) -> Sender:
    """Send the spans in some rounds, each flushed, and close when the broker is well again."""
    settings = ProducerSettings(**said)
    buffer = Buffer(settings.buffer_bytes)
    sender = Sender(buffer, settings, epoch=9, connect=lambda _: broker)  # type: ignore[arg-type, return-value]
    thread = Thread(target=sender.run)
    thread.start()
    for number in range(rounds):
        for span in spans[number::rounds]:
            buffer.put(span, 500)
        sender.flush(patience)
    broker.errors = iter(())
    buffer.close("shutdown")
    sender.shutdown(5)
    thread.join()
    return sender


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_SECONDS", (0.001, 0.002))
    monkeypatch.setattr(module, "LINGER", 0.005)


def headers(broker: Broker) -> list[dict[str, Any]]:
    return sorted((message for _, message in broker.log), key=lambda message: message["sequence"])


def test_the_first_message_is_the_empty_hello_and_the_last_says_so() -> None:
    broker = Broker([])
    run(broker, [ended(number) for number in range(3)])
    first, *_, last = headers(broker)
    assert (first["sequence"], first["spans"], first["last"]) == (0, [], False)
    assert (last["spans"], last["last"], last["made"], last["dropped"]) == ([], True, 3, [])
    assert [header["sequence"] for header in headers(broker)] == list(range(len(broker.log)))


def test_every_span_goes_to_the_partition_of_its_trace() -> None:
    broker = Broker([], partitions=7)
    run(broker, [ended(number) for number in range(1200)])
    spans = [(at, span) for at, message in broker.log for span in message["spans"]]
    assert len({span["span_id"] for _, span in spans}) == 1200
    assert all(at == partition(span["trace_id"], 7) for at, span in spans)
    assert max(len(message["spans"]) for _, message in broker.log) <= module.BATCH_SPANS


def test_a_message_stays_below_the_brokers_limit() -> None:
    broker = Broker([], partitions=1)
    run(broker, [ended(number, {f"a{i}": "v" * 4000 for i in range(20)}) for number in range(40)])
    sizes = [len(codec.encode("span_batch", message)) for _, message in broker.log]
    assert len([size for size in sizes if size > 1000]) == 4
    assert max(sizes) < LIBRDKAFKA["message.max.bytes"]  # type: ignore[operator]


def test_a_span_that_is_too_large_or_cannot_be_encoded_is_dropped_by_reason() -> None:
    broker = Broker([])
    huge = ended(1, {f"a{i}": "v" * 4000 for i in range(100)})
    broken = (*ended(2)[:1], "no number", *ended(2)[2:])
    run(broker, [huge, broken, ended(3)])  # type: ignore[list-item]
    last = headers(broker)[-1]
    assert {d["reason"]: d["spans"] for d in last["dropped"]} == {"too_large": 1, "encode": 1}
    assert last["made"] == 3


def test_attributes_are_sampled_where_it_is_asked_for() -> None:
    broker = Broker([])
    run(broker, [ended(1, {"mine": "x", "input_tokens": 7})], attributes=0.0)
    (span,) = [span for message in headers(broker) for span in message["spans"]]
    assert span["attributes"] == [{"key": "spanloom.sampled_out", "value": "1"}]
    assert span["llm"]["input_tokens"] == 7


def test_the_sender_looks_at_the_peppers_file(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    monkeypatch.setattr("spanloom.secrecy.LOOK_SECONDS", 0.0)
    monkeypatch.setattr("spanloom.secrecy.look", lambda: looks.append(1))
    run(Broker([]), [ended(1)])
    assert looks


def test_what_spans_went_without_is_in_the_next_header() -> None:
    broker = Broker([])
    buffer = Buffer(64 * 1024)
    for number in range(64):
        detail: dict[str, object] = {"input": Payload("x" * 100)} if number % 2 else {}
        events: list[Any] = [("retry", 1, ())]
        buffer.put((*ended(number)[:8], detail, events, None, 0), 500)
    sender = Sender(buffer, ProducerSettings(), epoch=9, connect=lambda _: broker)  # type: ignore[arg-type, return-value]
    Thread(target=sender.run, daemon=True).start()
    assert sender.shutdown(5)
    last = headers(broker)[-1]
    assert {less["part"]: less["spans"] for less in last["shed"]} == {"payloads": 8, "events": 8}
    assert (last["made"], last["dropped"]) == (64, [])


def test_what_was_refused_is_reported_though_nothing_else_is_sent() -> None:
    settings = ProducerSettings(buffer_bytes=65536)
    broker = Broker([])
    buffer = Buffer(settings.buffer_bytes)
    for number in range(100):
        buffer.put(ended(number), 500)
    sender = Sender(buffer, settings, epoch=9, connect=lambda _: broker)  # type: ignore[arg-type, return-value]
    Thread(target=sender.run, daemon=True).start()
    assert not sender.shutdown(5)
    assert headers(broker)[-1]["dropped"] == [{"reason": "queue_full", "spans": 36}]
    assert headers(broker)[-1]["made"] == 100
    assert sender.dropped() == {"queue_full": 36}


def test_drops_are_told_in_the_partition_that_counts_them_though_another_has_heard_of_them() -> None:
    broker, settings = Broker([]), ProducerSettings(buffer_bytes=65536)
    buffer = Buffer(settings.buffer_bytes)
    sender = Sender(buffer, settings, epoch=9, connect=lambda _: broker)  # type: ignore[arg-type, return-value]
    Thread(target=sender.run, daemon=True).start()
    sender.flush(5)  # the hello
    elsewhere = [number for number in range(50) if partition(f"{number + 1:032x}", broker.partitions) != 9 % 4]
    buffer.put(ended(elsewhere[0]), 70_000)  # more than there is room for
    buffer.put(ended(elsewhere[0]), 500)
    sender.flush(5)
    told = [said["dropped"] for at, said in broker.log if at == 9 % 4]
    sender.shutdown(5)
    assert told[-1] == [{"reason": "queue_full", "spans": 1}]


def test_without_a_broker_all_is_dropped_as_unreachable() -> None:
    sender = run(Broker([], partitions=0), [ended(number) for number in range(30)], patience=0.05)
    assert sender.dropped() == {"unreachable": 30}


def test_a_flush_after_the_end_returns_at_once() -> None:
    sender = run(Broker([]), [])
    assert sender.flush(60) is False
    assert sender.shutdown(60) is False


def test_at_the_end_of_the_host_nothing_gives_way_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    broker, buffer, slept = Broker([]), Buffer(16 * 1024 * 1024), []
    monkeypatch.setattr(module, "sleep", slept.append)
    for number in range(10_000):
        buffer.put(ended(number), 500)
    buffer.close("shutdown")

    def connect(_: object) -> Broker:
        while sender._calls.empty():  # until it was told to end
            pass
        return broker

    sender = Sender(buffer, ProducerSettings(), epoch=9, connect=connect)  # type: ignore[arg-type]
    Thread(target=sender.run, daemon=True).start()
    assert sender.shutdown(30)
    assert slept == []
    assert headers(broker)[-1]["made"] == 10_000


def test_a_batch_that_the_broker_finds_too_large_goes_in_parts_down_to_single_spans() -> None:
    broker = Broker([], partitions=2, limit=9000)
    spans = [ended(number, {"a": "v" * 300}) for number in range(300)]
    spans[7] = ended(7, {f"a{n}": "v" * 4000 for n in range(3)})  # above the limit by itself
    sender = run(broker, spans, rounds=2)
    assert sender.dropped() == {"too_large": 1}
    stored = Counter(span["span_id"] for _, message in broker.log for span in message["spans"])
    assert stored == Counter(f"{number + 1:016x}" for number in range(300) if number != 7)
    assert headers(broker)[-1]["made"] == 300


def test_batches_are_smaller_from_then_on() -> None:
    broker = Broker([], partitions=1, limit=50_000)
    run(broker, [ended(number, {"a": "v" * 400}) for number in range(2000)], rounds=4)
    last = headers(broker)[-1]
    assert (last["made"], last["dropped"]) == (2000, [])
    refused = last["sequence"] + 1 - len(broker.log)
    assert refused < 60, refused  # of some hundred


def test_who_waits_for_spans_of_a_batch_in_parts_hears_of_each() -> None:
    told: list[dict[str, int]] = []
    one, other = (Receipt(3, lambda receipt: told.append(dict(receipt.lost))) for _ in range(2))
    spans = [ended(number, {"a": "v" * 2000}) for number in range(5)]
    spans.append(ended(5, {f"a{n}": "v" * 4000 for n in range(3)}))
    for number, span in enumerate(spans):
        span[0].receipt = (one, other)[number // 3]
    run(Broker([], partitions=1, limit=5000), spans)
    assert sorted(told, key=len) == [{}, {"too_large": 1}]


FATES = st.lists(
    st.sampled_from(
        [
            *(None, None, TIMED_OUT, KafkaError._TRANSPORT, KafkaError.TOPIC_AUTHORIZATION_FAILED),
            KafkaError.MSG_SIZE_TOO_LARGE,
        ]
    )
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FATES, st.integers(0, 1500), st.integers(1, 3), st.sampled_from([1 << 30, 20_000]))
def test_whatever_fails_the_ledger_balances_and_every_gap_is_explained(
    fates: list[int | None], spans: int, rounds: int, limit: int
) -> None:
    broker = Broker(fates, limit=limit)
    run(broker, [ended(number) for number in range(spans)], rounds)
    last = headers(broker)[-1]
    assert last["last"]
    stored = Counter(span["span_id"] for _, message in broker.log for span in message["spans"])
    assert set(stored.values()) <= {1}
    assert last["made"] == spans == stored.total() + sum(drop["spans"] for drop in last["dropped"])
    there = {header["sequence"] for header in headers(broker)}
    explained = {sequence for header in headers(broker) for sequence in header["given_up"]}
    assert set(range(last["sequence"] + 1)) == there | explained
    assert not there & explained
