"""The sender: one daemon thread that turns the buffer into batches for `llm.spans`.

It wakes every 100 ms, encodes what waits, a batch for each partition, and hands the batches to librdkafka. While Kafka
is not to be had, spans stay in the buffer, which is bounded: what finds no room there is dropped and counted. After a
failed delivery nothing more is sent for a while, then one message as a probe.
"""

import logging
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from queue import Empty, SimpleQueue
from threading import Event
from time import monotonic, sleep, time_ns
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.cimpl import murmur2

from spanloom import secrecy, wire
from spanloom.batches import Batch, Place, Sent
from spanloom.buffer import UNIT, Buffer, Ended, Late, ended
from spanloom.cluster import Ear
from spanloom.delivery import LIBRDKAFKA, reason_of
from spanloom.ledger import Ledger
from spanloom.origin import origin, prefix
from spanloom.otel.calls import Calls, once
from spanloom.sampling import thinned
from spanloom.settings import ProducerSettings

TOPIC = "llm.spans"
LINGER = 0.1
"""Seconds a span waits for company."""
AWAITED = 0.002
"""Seconds between looks for the broker's word, while somebody waits for it."""
BATCH_SPANS = 500
BATCH_BYTES = 900_000
SPAN_BYTES = 256 * 1024
"""A span above this is dropped as too_large."""
UNDER_WAY_BYTES = 8 * 1024 * 1024
"""What may be on its way to the broker; the rest waits in the buffer."""
SLICE = 32
"""Spans encoded before the host's threads are let in."""
METADATA_SECONDS = 300.0
ANSWER_SECONDS = 0.5
"""How long an answer of broker or registry is waited for; the end of the host's process may wait for two."""
BACKOFF_SECONDS = (1.0, 30.0)
"""First and longest pause after a delivery failed."""
_log = logging.getLogger("spanloom")


@dataclass(slots=True)
class Call:
    """A wish of another thread: have everything sent by `until` (monotonic seconds), and stop if it is the last."""

    until: float
    last: bool
    done: Event = field(default_factory=Event)
    arrived: bool = False


class Sender:
    """Owns the connection and the ledger of one life of one process. `run` is the thread; `flush` and `shutdown` are
    for others.
    """

    def __init__(
        self,
        buffer: Buffer,
        settings: ProducerSettings,
        epoch: int,
        connect: Callable[[dict[str, Any]], Producer] = Producer,
        calls: Calls | None = None,
    ) -> None:
        self._connect = connect
        self._buffer = buffer
        self._settings = settings
        self._model_calls = calls or Calls()
        self._ear = Ear(settings)
        self._ledger = Ledger()
        home = origin(settings, epoch)
        self._header = lru_cache(256)(lambda resource: wire.header(home.of(resource)))
        self._home = epoch
        self._prefix = b""
        self._calls: SimpleQueue[Call | None] = SimpleQueue()  # its put is safe in signal handlers
        self._sent: dict[int, Sent] = {}
        self._awaited: set[int] = set()
        self._again: deque[tuple[Place, Batch]] = deque()
        self._most_bytes = BATCH_BYTES
        self._over = False
        self._partitions = 0
        self._learn_at = 0.0
        self._learn_pause = 0.0
        self._send_at = 0.0
        self._backoff = 0.0
        self._batches: dict[Place, Batch] = {}
        self._said: object = None
        self._warned_at = -1e9
        self._looked_at = monotonic()
        self._told = {""}

    def flush(self, timeout: float) -> bool:
        """Have everything sent within `timeout` seconds; say whether it arrived."""
        return self._ask(Call(monotonic() + timeout, last=False), timeout)

    def shutdown(self, timeout: float) -> bool:
        """Flush, send the last header and stop; say whether everything arrived."""
        return self._ask(Call(monotonic() + timeout, last=True), timeout)

    def dropped(self) -> dict[str, int]:
        """Return spans dropped so far, by reason, as of the last round."""
        return self._ledger.dropped

    def hurry(self) -> None:
        """Have a round made now."""
        self._calls.put(None)

    @property
    def is_open(self) -> bool:
        """Whether Kafka took what was sent last, and nothing is known to be in the way."""
        return self._partitions > 0 and not self._backoff and not self._over

    def _ask(self, call: Call, timeout: float) -> bool:
        self._calls.put(call)
        if self._over:  # nobody is there to answer
            return False
        call.done.wait(timeout)
        return call.arrived

    def run(self) -> None:
        """Send until the last call. Whatever goes wrong here stays here."""
        try:
            self._run()
        except Exception as error:
            self._buffer.close("disabled")
            _log.error("the producer stops: %s: %s", type(error).__name__, error)
        finally:
            self._over = True
            while not self._calls.empty():
                if (call := self._calls.get()) is not None:
                    call.done.set()

    def _run(self) -> None:
        kafka = self._connect(
            {**LIBRDKAFKA, **self._settings.librdkafka(), "logger": self._ear, "error_cb": self._trouble}
        )
        while True:
            call = self._next_call()
            if call is None:
                self._round(kafka)
                continue
            call.arrived = self._goodbye(kafka, call.until) if call.last else self._finish(kafka, call.until)
            call.done.set()
            if call.last:
                return

    def _next_call(self) -> Call | None:
        busy = len(self._buffer) * UNIT > self._settings.buffer_bytes // 8
        try:
            return self._calls.get(timeout=0.0005 if busy else AWAITED if self._awaited or self._again else LINGER)
        except Empty:
            return None

    def _round(self, kafka: Producer, end: float | None = None) -> None:
        """Take from the buffer, send, and hear what became of earlier messages; `end`: the host ends, by then."""
        kafka.poll(0)
        self._count_refusals()
        if monotonic() - self._looked_at > secrecy.LOOK_SECONDS:
            self._looked_at = monotonic()
            secrecy.look()
        if self._ready(kafka):
            if self._said is None:  # sequence 0, the hello
                self._send(kafka, self._own(), Batch())
            if self._again:
                self._send(kafka, *self._again.popleft(), alone=True)
            else:
                self._drain(kafka, end or monotonic() + LINGER, gently=end is None)
                self._send_all(kafka)
                if self._said != self._news():
                    self._send(kafka, self._own(), Batch())
        kafka.poll(0)

    def _drain(self, kafka: Producer, until: float, gently: bool) -> None:
        """Encode what waits, up to a probe, the bound of what may be under way, or the time.

        Gently: the host's threads come first, unless the buffer fills up.
        """
        most = BATCH_SPANS if self._backoff else sys.maxsize
        taken = 0
        while taken < most and (ended := self._buffer.take()) is not None:
            self._encode(kafka, ended)
            taken += 1
            if taken % SLICE == 0:
                if monotonic() > until or self._ledger.bytes_under_way > UNDER_WAY_BYTES:
                    return
                if gently and len(self._buffer) * UNIT < self._settings.buffer_bytes // 8:
                    sleep(0.00005)  # lets go of the GIL

    def _encode(self, kafka: Producer, entry: Ended | Late) -> None:
        self._ledger.popped += 1
        try:
            span = once(ended(entry), self._model_calls)
            if self._settings.attributes < 1:
                span = thinned(span, self._settings.attributes)
            data = wire.span(span)
        except Exception as error:
            self._ledger.lost["encode"] += 1
            name = repr(entry[4]) if isinstance(entry, tuple) else "of OpenTelemetry"
            self._warn(f"a span {name} could not be encoded: {type(error).__name__}: {error}")
            _settle(entry, "encode")
            return
        if len(data) > SPAN_BYTES:
            self._ledger.lost["too_large"] += 1
            _settle(span, "too_large")
            return
        trace = span[0]
        place = murmur2(trace.id.encode(), self._partitions), trace.resource
        batch = self._batches.get(place)
        if batch is None:
            batch = self._batches[place] = Batch()
        elif batch.size + len(data) > self._most_bytes:
            self._send(kafka, place, self._batches.pop(place))
            batch = self._batches[place] = Batch()
        batch.add(data, trace.receipt)
        if len(batch.spans) == BATCH_SPANS:
            self._send(kafka, place, self._batches.pop(place))

    def _send_all(self, kafka: Producer) -> None:
        while self._batches:
            self._send(kafka, *self._batches.popitem())

    def _own(self) -> tuple[int, None]:
        """Return where messages about this process itself go."""
        return self._home % self._partitions, None

    def _send(self, kafka: Producer, place: Place, batch: Batch, *, last: bool = False, alone: bool = False) -> None:
        partition, resource = place
        ledger = self._ledger
        self._count_refusals()
        sequence = ledger.next_sequence()
        header = self._header(resource)(
            sequence=sequence,
            sent=time_ns(),
            made=ledger.made,
            dropped=ledger.dropped,
            shed=ledger.shed,
            given_up=ledger.given_up,
            last=last,
        )
        message = wire.message(self._prefix, header, batch.spans)
        if partition == self._own()[0]:  # where who counts drops listens
            self._said = self._news()
        self._sent[sequence] = Sent(place, [*map(len, batch.spans)], batch.receipts, alone)
        if any(batch.receipts):
            self._awaited.add(sequence)
        ledger.sent(sequence, len(batch.spans), len(message))
        try:
            kafka.produce(TOPIC, message, partition=partition, on_delivery=partial(self._decided, sequence))
        except BufferError:
            ledger.give_up(sequence, "queue_full")
            self._settle(sequence, "queue_full")
        except KafkaException as error:
            self._failed(sequence, error.args[0], message)

    def _decided(self, sequence: int, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            return self._failed(sequence, error, message.value() or b"")
        self._ledger.delivered(sequence)
        self._backoff = 0.0
        self._settle(sequence)
        return None

    def _settle(self, sequence: int, reason: str | None = None) -> None:
        self._awaited.discard(sequence)
        self._sent.pop(sequence).settle(reason)

    def _failed(self, sequence: int, error: KafkaError, message: bytes) -> None:
        reason = reason_of(error)
        sent = self._sent[sequence]
        if reason == "too_large" and sent.goes_on and len(message) > sum(sent.sizes):
            return self._send_in_parts(sequence, sent, message)
        self._ledger.give_up(sequence, reason)
        self._settle(sequence, reason)
        if reason != "too_large":
            first, longest = BACKOFF_SECONDS
            self._backoff = min(longest, 2 * self._backoff) or first
            self._send_at = monotonic() + self._backoff
            self._learn_at = 0.0
        self._warn(f"a batch was not delivered and is dropped ({reason}: {error.str()})")
        return None

    def _send_in_parts(self, sequence: int, sent: Sent, message: bytes) -> None:
        """Have a batch that the broker found too large sent again, alone, then in halves, down to single spans."""
        if sent.alone:
            self._most_bytes = min(self._most_bytes, sum(sent.sizes) // 2)
            self._warn(f"Kafka takes no messages of {len(message)} bytes: raise max.message.bytes of {TOPIC}")
        del self._sent[sequence]
        self._awaited.discard(sequence)
        self._ledger.take_back(sequence)
        self._again.extend((sent.place, batch) for batch in sent.again(message))

    def _ready(self, kafka: Producer) -> bool:
        """Say whether to send now, learning the number of partitions now and then."""
        now = monotonic()
        if self._backoff and (now < self._send_at or self._ledger.under_way):
            return False
        if self._ledger.bytes_under_way > UNDER_WAY_BYTES:
            return False
        if (self._again and self._ledger.under_way) or any(sent.alone for sent in self._sent.values()):
            return False
        if now >= self._learn_at:
            self._learn(kafka)
        return self._partitions > 0

    def _learn(self, kafka: Producer) -> None:
        try:
            self._prefix = self._prefix or prefix(self._settings, ANSWER_SECONDS)
            topic = kafka.list_topics(TOPIC, timeout=ANSWER_SECONDS).topics[TOPIC]
        except KafkaException as error:
            self._learn_later()
            kafka.poll(0)  # brings the log lines that say why
            self._trouble(error.args[0])
            return
        except OSError as error:  # of a schema registry
            self._learn_later()
            self._warn(f"{error}; spans wait, then are dropped")
            return
        if topic.error is not None or not topic.partitions:
            self._partitions = 0
            self._learn_later()
            self._warn(f"the topic {TOPIC} is not there ({topic.error}); make it by `spanloom topics create`")
            return
        self._partitions, self._learn_at = len(topic.partitions), monotonic() + METADATA_SECONDS
        self._most_bytes = BATCH_BYTES  # the topic may have learnt to take more
        self._learn_pause = 0.0

    def _learn_later(self) -> None:
        self._learn_pause = min(5.0, 2 * self._learn_pause) or 0.5
        self._learn_at = monotonic() + self._learn_pause

    def _finish(self, kafka: Producer, until: float, last: bool = False) -> bool:
        """Send what waits and hear of all that is under way, until `until`."""
        while True:
            self._round(kafka, until if last else None)
            waiting = bool(self._again or len(self._buffer))
            if monotonic() >= until or not (waiting or self._ledger.under_way):
                return not (waiting or self._ledger.under_way or self._ledger.lost.total())
            if waiting and self._ready(kafka):
                continue
            if self._ledger.under_way:
                kafka.flush(max(0.0, min(LINGER, until - monotonic())))
            else:
                sleep(min(LINGER, max(0.0, until - monotonic())))

    def _goodbye(self, kafka: Producer, until: float) -> bool:
        """Send what waits, give up what cannot be sent by `until`, and close the ledger."""
        self._backoff = 0.0
        if not self._partitions:
            self._learn(kafka)
        if self._partitions:
            self._finish(kafka, until - 0.4, last=True)
        reason = "shutdown" if self._partitions else "unreachable"
        while (entry := self._buffer.take()) is not None:
            self._ledger.popped += 1
            self._ledger.lost[reason] += 1
            _settle(entry, reason)
        if self._ledger.under_way:
            kafka.purge()
            kafka.flush(0.05)
        for place, batch in self._again:
            self._ledger.lost[reason] += len(batch.spans)
            Sent(place, [], batch.receipts, alone=True).settle(reason)
        if self._partitions:
            self._send(kafka, self._own(), Batch(), last=True)
            kafka.flush(max(0.0, until - monotonic() - 0.05))
        drops = self._ledger.dropped
        if drops:
            _log.warning("%d of %d spans were dropped: %s", sum(drops.values()), self._ledger.made, drops)
        return not (drops or self._ledger.under_way)

    def _count_refusals(self) -> None:
        for reason, tally in self._buffer.refusals._asdict().items():
            if spans := tally.read():
                self._ledger.refused[reason] = spans
        for part, tally in self._buffer.shed._asdict().items():
            if spans := tally.read():
                self._ledger.shed[part] = spans

    def _news(self) -> object:
        return self._ledger.dropped, self._ledger.shed.copy(), self._ledger.gaps

    def _trouble(self, error: KafkaError) -> None:
        why = self._ear.trouble or error.str()
        if self._ear.advice not in self._told:  # what to do may be heard a moment later, and is worth a line at once
            self._told.add(self._ear.advice)
            self._warned_at = -1e9
        self._warn(f"Kafka at {self._settings.kafka_bootstrap} is not to be had: {why}; spans wait, then are dropped")

    def _warn(self, line: str) -> None:
        """Log a warning, at most one a minute."""
        if monotonic() - self._warned_at > 60:
            self._warned_at = monotonic()
            _log.warning("%s", line)


def _settle(entry: Ended | Late, reason: str) -> None:
    """Tell who waits for a span that is lost; for one that is still to be translated, nobody does."""
    if isinstance(entry, tuple) and entry[0].receipt is not None:
        entry[0].receipt.settle(1, reason)
