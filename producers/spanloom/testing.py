"""For the tests of a service: see the spans it makes, with no Kafka."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from spanloom_schemas import codec

from spanloom import process, wire
from spanloom.buffer import Buffer, ended
from spanloom.otel.calls import Calls, once

_ORIGIN = wire.Origin("test", 1, "test", "test", "test", "", "spanloom")


class Recorded:
    """Spans that ended since the recording began."""

    def __init__(self, buffer: Buffer, calls: Calls) -> None:
        self._buffer = buffer
        self._calls = calls
        self._spans: list[dict[str, Any]] = []

    @property
    def spans(self) -> list[dict[str, Any]]:
        """Return the spans in the order of their ends, as the schema has them: encoded and decoded again."""
        while (entry := self._buffer.take()) is not None:
            self._spans.append(decoded(wire.span(once(ended(entry), self._calls))))
        return self._spans

    def named(self, name: str) -> dict[str, Any]:
        """Return the one span of this name; raises AssertionError if there is none or more than one."""
        found = [span for span in self.spans if span["name"] == name]
        if len(found) != 1:
            raise AssertionError(f"{len(found)} spans are named {name!r}; there are {[s['name'] for s in self.spans]}")
        return found[0]


@contextmanager
def recording(buffer_bytes: int = 64 * 1024 * 1024, payloads: float = 0.0) -> Iterator[Recorded]:
    """Record the spans of this process instead of sending them; payloads of a share of traces, as it is configured."""
    before = process.life()
    buffer = Buffer(buffer_bytes)
    life = process.Life(None, buffer)
    life.payloads = payloads
    process.live(life)
    try:
        yield Recorded(buffer, life.calls)
    finally:
        process.live(before)


def decoded(span: bytes) -> dict[str, Any]:
    """Return one encoded span as a consumer sees it."""
    header = wire.header(_ORIGIN)(sequence=1, sent=0, made=1, dropped={}, given_up=[], last=False)
    datum = codec.decode(wire.message(codec.prefix("span_batch"), header, [span]))[2]
    found: dict[str, Any] = datum["spans"][0]
    return found
