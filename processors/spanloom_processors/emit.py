"""From what a partition has to say to messages of llm.panes and llm.traces, none larger than its topic takes."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import polars as pl
from spanloom_schemas import codec
from spanloom_schemas.frames import splice

from spanloom_processors.core.partition import Emission

# The topics take 2 MB of compressed records; 1 MB before compression leaves no doubt.
LIMIT_BYTES = 1_000_000
ROWS = 2_000  # a first guess that seldom needs halving

PANES = "llm.panes"
TRACES = "llm.traces"
TICK_PARTITION = -1

Header = dict[str, Any]


class Outgoing(NamedTuple):
    """A message to be sent; without a partition, the key decides; without a value it deletes what its key had."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None


class Source(NamedTuple):
    """The partition that panes and traces are made from, the revision now in effect, and the version of the prices."""

    topic: str
    topic_id: str
    partition: int
    partitions: int
    revision: int
    price_version: str


def panes(source: Source, emission: Emission, passed: int, sent_ns: int) -> Iterator[Outgoing]:
    """Messages of llm.panes: the changed panes or, where there are none, the progress alone.

    Only the last message carries the emission's progress: until it is read, the source has not got further than
    `passed`, the progress of the emission before. And only it reaches the log clock: then all of the emission was read.
    """
    header = _header(source, emission, sent_ns) | {
        "partitions": source.partitions,
        "price_version": source.price_version,
        "progress": emission.progress,
        "next_offset": emission.next_offset,
        "overflow": _moved(emission.overflow),
    }
    early = header | {"progress": min(passed, emission.log_clock - 1)}
    *before, (revision, rows) = _by_revision(emission.panes) or [(source.revision, emission.panes)]
    for number, part in before:
        for message in _encode("pane_batch", early | {"revision": number}, early | {"revision": number}, part):
            yield Outgoing(PANES, 0, None, message)
    for message in _encode("pane_batch", header | {"revision": revision}, early | {"revision": revision}, rows):
        yield Outgoing(PANES, 0, None, message)


def traces(source: Source, emission: Emission, sent_ns: int) -> Iterator[Outgoing]:
    """Messages of llm.traces, none where no trace changed; they go to the partition they came from."""
    for revision, rows in _by_revision(emission.traces):
        header = _header(source, emission, sent_ns) | {"revision": revision}
        for message in _encode("trace_batch", header, header, rows):
            yield Outgoing(TRACES, source.partition, None, message)


def tick(now_ms: int, overflow: Mapping[str, int] = MappingProxyType({})) -> Outgoing:
    """A message of llm.panes that says that time passes, and what bounds of the alert stage moved so far."""
    header: Header = {
        "topic": "", "topic_id": "", "partition": TICK_PARTITION, "partitions": 0, "revision": 0,
        "log_clock": now_ms, "progress": now_ms, "next_offset": 0,
        "sent": now_ms * 1_000_000, "overflow": _moved(overflow), "panes": [],
    }  # fmt: skip
    return Outgoing(PANES, 0, None, codec.encode("pane_batch", header))


def _moved(overflow: Mapping[str, int]) -> list[dict[str, Any]]:
    return [{"reason": reason, "spans": spans} for reason, spans in overflow.items()]


def _header(source: Source, emission: Emission, sent_ns: int) -> Header:
    return {
        "topic": source.topic,
        "topic_id": source.topic_id,
        "partition": source.partition,
        "log_clock": emission.log_clock,
        "sent": sent_ns,
    }


def _by_revision(rows: pl.DataFrame) -> list[tuple[int, pl.DataFrame]]:
    parts = rows.partition_by("revision", maintain_order=True) if rows.height else []
    return [(part["revision"][0], part.drop("revision")) for part in parts]


def _encode(schema: str, header: Header, early: Header, rows: pl.DataFrame) -> Iterator[bytes]:
    """Encode rows into as many messages as they need: the last under `header`, those before it under `early`."""
    if rows.height <= ROWS:
        message = splice.encode(schema, header, rows)
        if len(message) <= LIMIT_BYTES or rows.height <= 1:
            yield message
            return
    half = rows.height // 2
    yield from _encode(schema, early, early, rows[:half])
    yield from _encode(schema, header, early, rows[half:])
