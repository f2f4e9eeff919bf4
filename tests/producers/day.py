"""A day of spans of one service, compressed: what it holds while it makes them, and what became of them.

`python -m tests.producers.day SPANS` is the service; it samples itself and prints its account.
"""

import io
import json
import os
import subprocess
import sys
import uuid
from typing import Any, NamedTuple

import fastavro
import psutil
import spanloom
from spanloom_schemas import codec

from tests.producers.topic import values

SPANS = 100 * 24 * 3600
SAMPLES = 40
REQUEST = 4
"""Spans of a request."""
TOGETHER = 4000
"""Spans made between two flushes: fewer than find room, so that none is dropped."""


class Held(NamedTuple):
    """What a process holds."""

    bytes: int
    threads: int
    descriptors: int

    @property
    def flat(self) -> bool:
        """Whether growth is none: what the allocator keeps is some."""
        return self.bytes <= 8 * 1024 * 1024 and (self.threads, self.descriptors) == (0, 0)


class Day(NamedTuple):
    """What a service held, by samples, and where its spans are."""

    held: list[Held]
    made: int
    stored: int
    dropped: int

    @property
    def growth(self) -> Held:
        """What it held at most, once a quarter of the day had passed, beyond what it held then."""
        first, *later = self.held[len(self.held) // 4 :]
        most = [max(values) for values in zip(*later, strict=True)]
        return Held(*(value - begun for value, begun in zip(most, first, strict=True)))


def lived(bootstrap: str, spans: int) -> Day:
    """Have a service make so many spans; return what came of it."""
    service = uuid.uuid4().hex
    env = {**os.environ, "SPANLOOM_KAFKA_BOOTSTRAP": bootstrap, "SPANLOOM_SERVICE": service}
    command = [sys.executable, "-m", "tests.producers.day", str(spans)]
    said = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    stored = made = dropped = 0
    sequences = []
    for _, value in values(bootstrap):
        if service.encode() in value:
            header, count = _head(value)
            stored += count
            sequences.append(header["sequence"])
            if header["last"]:
                made, dropped = header["made"], sum(drop["spans"] for drop in header["dropped"])
    assert sorted(sequences) == list(range(len(sequences))), "a message is there twice, or not at all"
    return Day([Held(*sample) for sample in json.loads(said)], made, stored, dropped)


def _head(value: bytes) -> tuple[dict[str, Any], int]:
    """Return a batch's header, and how many spans follow, which stay unread."""
    body = io.BytesIO(value[len(codec.prefix("span_batch")) :])
    header: Any = fastavro.schemaless_reader(body, _HEADER, None)
    count = fastavro.schemaless_reader(body, "long", None)
    assert isinstance(count, int)
    return header, abs(count)


_SOURCE = codec.newest("span_batch").source
_HEADER = fastavro.parse_schema({**_SOURCE, "fields": _SOURCE["fields"][:-1]})


def request() -> None:
    with spanloom.span("POST /chat", event_type="request", attributes={"tenant": "acme", "user": "ann"}):
        with spanloom.span("search", event_type="retrieval") as search:
            search.set_documents([("doc-1", 0.5, True), ("doc-2", 0.25)], k=2)
        with spanloom.span("chat", event_type="llm", model="gpt-4o") as call:
            call.set_tokens(input=812, output=180)
            call.add_event("chunk", {"n": 1})
        with spanloom.span("format", event_type="postproc"):
            pass


def main(spans: int) -> None:
    spanloom.configure()
    me = psutil.Process()
    held = []
    for _ in range(SAMPLES):
        for made in range(0, spans // SAMPLES, REQUEST):
            request()
            if made % TOGETHER == 0:
                assert spanloom.flush(60)
        held.append((me.memory_info().rss, me.num_threads(), me.num_fds()))
    assert spanloom.shutdown(60)
    print(json.dumps(held))


if __name__ == "__main__":
    main(int(sys.argv[1]))
