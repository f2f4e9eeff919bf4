"""What a host feels of a Kafka that is away, or of a client that hangs: nothing, and no more memory than it gave."""

import sys
from collections.abc import Iterator
from subprocess import run
from threading import Event, Thread
from typing import Any

import pytest
import spanloom
from opentelemetry.sdk.trace import TracerProvider
from spanloom import process
from spanloom.buffer import UNIT
from spanloom.otel import SpanloomSpanProcessor
from spanloom.process import Life
from spanloom.sender import Sender
from spanloom.settings import ProducerSettings

from tests.producers.test_sender import Broker

SPANS = 400
SETTINGS = ProducerSettings(buffer_bytes=64 * UNIT)


class Hanging(Broker):
    """A client that hangs in one of its calls, and says so, until it is let go."""

    def __init__(self, where: str) -> None:
        super().__init__([])
        self.hangs, self.goes_on = Event(), Event()
        if where != "connect":
            setattr(self, where, self._hanging(getattr(self, where)))

    def connect(self, _: object) -> Any:
        return self._hanging(lambda: self)() if not self.hangs.is_set() else self

    def _hanging(self, call: Any) -> Any:
        def hang(*given: Any, **named: Any) -> Any:
            self.hangs.set()
            assert self.goes_on.wait(60)
            return call(*given, **named)

        return hang


@pytest.fixture
def life() -> Iterator[Life]:
    before = process.life()
    made = Life(SETTINGS)
    process.live(made)
    yield made
    process.live(before)


@pytest.mark.parametrize("where", ["connect", "list_topics", "produce", "poll"])
def test_a_host_never_waits_though_the_client_hangs_and_the_buffer_is_full(life: Life, where: str) -> None:
    broker = Hanging(where)
    connect = broker.connect if where == "connect" else lambda _: broker
    life.sender = sender = Sender(life.buffer, SETTINGS, 9, connect, life.calls)  # type: ignore[arg-type]
    sending = Thread(target=sender.run, daemon=True)
    sending.start()
    spanloom.span("first").end()
    assert broker.hangs.wait(60)
    tracer = TracerProvider(shutdown_on_exit=False)
    tracer.add_span_processor(SpanloomSpanProcessor())

    def host() -> None:
        for number in range(SPANS):
            with spanloom.span("ours", event_type="llm") as span:
                span.set_tokens(input=number)
            tracer.get_tracer("x").start_span("theirs").end()

    hosting = Thread(target=host, daemon=True)
    hosting.start()
    hosting.join(60)
    assert not hosting.is_alive()  # it is done, and the sender still hangs:
    assert not broker.goes_on.is_set()
    assert life.buffer.refusals.queue_full.read() > 0
    assert len(life.buffer) <= 64 + 2  # the last span of each door may need more than was left
    broker.goes_on.set()
    life.buffer.close("shutdown")
    sender.shutdown(30)
    sending.join(60)
    last = broker.log[-1][1]
    stored = sum(len(batch["spans"]) for _, batch in broker.log)
    assert last["made"] == 1 + 2 * SPANS == stored + sum(drop["spans"] for drop in last["dropped"])


AWAY = """
import re, spanloom
from spanloom import process
spanloom.configure(buffer_bytes=1 << 20, kafka_bootstrap="127.0.0.1:1")
def make(n):
    for _ in range(n):
        with spanloom.span("x", event_type="llm", attributes={"a": "v" * 500}) as span:
            span.set_context(user="ann", session_id="s")
def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1])
make(10_000)
before = resident()
make(50_000)
print(resident() - before, len(process.life().buffer), spanloom.dropped().get("queue_full", 0) > 0)
import os
os._exit(0)
"""


def test_memory_is_flat_while_kafka_is_away() -> None:
    done = run([sys.executable, "-c", AWAY], capture_output=True, text=True, timeout=120, check=True)
    grown_kib, units, dropped = done.stdout.split()
    assert (int(units) <= 1025, dropped) == (True, "True")
    assert int(grown_kib) < 8 * 1024, f"{grown_kib} KiB for 50 000 spans of which none was kept"
