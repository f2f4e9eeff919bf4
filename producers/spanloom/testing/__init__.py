"""For the tests of a service: the spans it makes, as consumers see them, with no Kafka; time and ids as a test wants.

For pytest there is the fixture `recorded` (`spanloom.testing.fixtures`).
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from sys import modules
from typing import Any
from unittest.mock import patch

from spanloom_schemas import codec
from spanloom_schemas.testing import Clock

from spanloom import ids, process, wire
from spanloom.buffer import Buffer, ended
from spanloom.otel.calls import once
from spanloom.sampling import thinned

__all__ = ["Clock", "Recorded", "decoded", "recording"]

_ORIGIN = wire.Origin("test", 1, "test", "test", "test", "", "spanloom")


class Recorded:
    """Spans that ended since the recording began."""

    def __init__(self, life: process.Life, clock: Clock | None) -> None:
        self._life = life
        self._clock = clock
        self._spans: list[dict[str, Any]] = []

    @property
    def clock(self) -> Clock:
        """Return the clock of the recording; raises ValueError where it has none of its own."""
        if self._clock is None:
            raise ValueError("the recording has no clock of its own: recording(clock=Clock())")
        return self._clock

    @property
    def spans(self) -> list[dict[str, Any]]:
        """Return the spans in the order of their ends, as the schema has them: encoded and decoded again."""
        while (entry := self._life.buffer.take()) is not None:
            span = once(ended(entry), self._life.calls)
            if self._life.attributes < 1:
                span = thinned(span, self._life.attributes)
            self._spans.append(decoded(wire.span(span)))
        return self._spans

    def named(self, name: str) -> dict[str, Any]:
        """Return the one span of this name; raises AssertionError if there is none or more than one."""
        found = [span for span in self.spans if span["name"] == name]
        if len(found) != 1:
            raise AssertionError(f"{len(found)} spans are named {name!r}; there are {[s['name'] for s in self.spans]}")
        return found[0]


@contextmanager
def recording(
    buffer_bytes: int = 64 * 1024 * 1024,
    payloads: float = 0.0,
    attributes: float = 1.0,
    *,
    clock: Clock | None = None,
    numbered: bool = False,
) -> Iterator[Recorded]:
    """Record the spans of this process instead of sending them.

    `payloads`, `attributes`: of which share of traces they are recorded. With `clock` spans are timed by it, and it
    stands still until it is told to `advance`. `numbered`: ids are 1, 2, 3 …, traces and spans each. A service that
    calls `configure()` meanwhile is recorded all the same, with the tenant and the pepper that it names.
    """
    before = process.life()
    life = process.Life(None, Buffer(buffer_bytes))
    life.payloads, life.attributes, life.facts = payloads, attributes, before.facts
    with ExitStack() as stack:
        if clock is not None:
            for module, name in _TIMERS:
                stack.enter_context(patch.object(modules[module], name, lambda: clock.now_ms * 1_000_000))
        if numbered:
            counts = {64: count(1), 128: count(1)}
            stack.enter_context(patch.object(ids, "bits", lambda bits: next(counts[bits])))
        stack.callback(process.live, before)
        process.live(life)
        yield Recorded(life, clock)


_TIMERS = (
    *(("spanloom.span", "perf_counter_ns"), ("spanloom.timed", "perf_counter_ns")),
    *(("spanloom.trace", "perf_counter_ns"), ("spanloom.trace", "time_ns")),
)
"""Where the producer reads a clock that spans are timed by."""


def decoded(span: bytes) -> dict[str, Any]:
    """Return one encoded span as a consumer sees it."""
    header = wire.header(_ORIGIN)(sequence=1, sent=0, made=1, dropped={}, shed={}, given_up=[], last=False)
    datum = codec.decode(wire.message(codec.prefix("span_batch"), header, [span]))[2]
    found: dict[str, Any] = datum["spans"][0]
    return found
