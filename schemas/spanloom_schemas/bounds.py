"""What a message may say: valid Avro beyond these bounds is as unreadable as anything else, and treated so.

Only what would break a reader is bounded: a time that no calendar has, a number of partitions to count to, a list with
a hole in it, more failures than spans. Sums of what spans say are not: a span may say anything (`frames.derive` judges
it). Batches are judged by columns, in `frames.bounded`.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from spanloom_schemas import codec
from spanloom_schemas.codec import CodecError, Registry

TIME_MS = 2**32 * 1000
"""Epoch ms: ClickHouse's DateTime ends there, in 2106."""
PANE_STARTS = -(2**63) // 10**10 * 10**4, 2**63 // 10**6
"""Epoch ms: a pane of ten seconds holds spans of whatever date they say, in ns of 64 bits."""
TEXT = 256
"""Characters of a name, an id or a label: as much as producers leave of them."""
PROSE = 65_536
"""Characters of what is said to people."""
PARTITIONS = 10_000
REVISION = 2**21
COUNT = 2**40
OFFSET = 2**62
BUCKETS = -1, 4096
"""Indexes of a sketch of any duration in ns (scale 6)."""
ID = r"[A-Za-z0-9._+/=-]{0,64}"
"""A topic's id, in either alphabet of base64: librdkafka says `+/`, Kafka's own tools say `-_`. It travels in the
metadata of commits, between spaces."""

OUT_OF_BOUNDS = "out_of_bounds"
"""The reason of a dead letter, beside codec.REASONS."""

Range = tuple[float, float]
ANY = -math.inf, math.inf

ALERT_TEXTS = ("rule", "identity", "severity", "unit")
ALERT_TIMES = ("window_start", "window_end", "since", "fired", "resolved", "at")

HEADERS: Mapping[str, Mapping[str, Range]] = {
    "pane_batch": {
        "partition": (-1, PARTITIONS),
        "partitions": (0, PARTITIONS),
        "revision": (0, REVISION),
        "log_clock": (0, TIME_MS),
        "progress": (0, TIME_MS),
        "next_offset": (0, OFFSET),
    },
    "trace_batch": {"partition": (0, PARTITIONS), "revision": (0, REVISION), "log_clock": (0, TIME_MS)},
    "sample_batch": {"start": (0, TIME_MS)},
}
"""Numbers in the headers of batches."""
ITEMS: Mapping[str, Mapping[str, Range]] = {
    "pane_batch": {"start": PANE_STARTS, "spans": (0, COUNT)},
    "trace_batch": {"first_offset": (0, OFFSET), "spans": (0, COUNT), "start": ANY, "end": ANY},
    "sample_batch": {"count": (0, COUNT), "failed": (0, COUNT)},
}
"""Numbers in the items of batches, none of them null."""
PARTS: Mapping[str, tuple[str, ...]] = {
    "pane_batch": ("errors", "blocks", "unpriced", "estimated", "cache_hits"),
    "trace_batch": ("errors", "blocks", "unpriced", "estimated", "cache_hits"),
    "sample_batch": (),
}
"""Counts of some of an item's `spans`."""
NEEDED: Mapping[str, tuple[str, ...]] = {"pane_batch": (), "trace_batch": ("trace_id",), "sample_batch": ()}
"""Texts in the items of batches that are not null."""


def decode(name: str, data: bytes, registry: Registry | None = None) -> dict[str, Any]:
    """The datum of a message of `name`, a schema whose messages are one record each.

    Raises CodecError as `codec.decode`, for what is out of bounds, and for a message of another schema.
    """
    found, _, datum = codec.decode(data, registry)
    if found != name:
        raise CodecError("unknown_schema", f"a {found}, where a {name} is expected")
    if name in _RECORDS and (wrong := next(_RECORDS[name](datum), None)) is not None:
        raise CodecError(OUT_OF_BOUNDS, f"no {name}: {wrong}")
    return datum


def _alert(alert: Mapping[str, Any]) -> Iterator[str]:
    labels = [text for label in alert["group"] for text in (label["key"], label["value"])]
    yield from _long("a name", [*(alert[name] for name in ALERT_TEXTS), *labels, *alert["trace_ids"]], TEXT)
    yield from _long("the text", (alert["summary"], alert["description"]), PROSE)
    yield from _outside(alert, ALERT_TIMES, (0, TIME_MS))
    if len(labels) > TEXT or len(alert["trace_ids"]) > TEXT:
        yield f"{len(labels)} labels, {len(alert['trace_ids'])} traces"
    yield from (f"{name} is {alert[name]}" for name in ("value", "threshold") if not math.isfinite(alert[name] or 0.0))


def _dead_letter(letter: Mapping[str, Any]) -> Iterator[str]:
    yield from _long("a name", (letter[name] for name in ("topic", "topic_id", "stage", "reason")), TEXT)
    yield from _outside(letter, ("log_time",), (-1, TIME_MS))  # -1: its message had none


_RECORDS: Mapping[str, Callable[[Mapping[str, Any]], Iterator[str]]] = {
    "alert": _alert, "dead_letter": _dead_letter,
}  # fmt: skip


def _long(what: str, texts: Any, most: int) -> Iterator[str]:
    return (f"{what} has {len(text)} characters, more than {most}" for text in texts if len(text) > most)


def _outside(datum: Mapping[str, Any], names: tuple[str, ...], within: Range) -> Iterator[str]:
    low, high = within
    return (f"{name} is {datum[name]}" for name in names if not low <= datum[name] <= high)
