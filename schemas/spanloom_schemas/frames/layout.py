"""Where things lie in the bytes of a batch and of an Avro container file (Avro specification 1.12)."""

import json
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from typing import Any, NamedTuple

import fastavro
import polars as pl

from spanloom_schemas.codec import Pinned
from spanloom_schemas.frames import shape

MARK = "\x00end of message"
"""The text by which a sentinel item is known."""
_SYNC = bytes(16)


class Layout(NamedTuple):
    """What reading the batches of one schema version needs."""

    header: dict[str, Any]
    """Schema of everything in front of the items, as its file has it."""
    header_parsed: Any
    """The same as fastavro parsed it."""
    header_opening: bytes
    """A container file of headers up to its first block."""
    item: dict[str, Any]
    """Schema of an item, as its file has it."""
    item_opening: bytes
    """A container file of items up to its first block."""
    symbols: dict[str, pl.Series]
    """Symbols of the item's enums, which are read as numbers."""
    least: int
    """Bytes of the shortest item."""
    sentinel: bytes
    """An item like none: behind each message's items it shows that they ended where they claimed to."""
    mark: str
    """The column that holds MARK in a sentinel."""


@cache
def of(schema: Pinned) -> Layout:
    """The layout of a batch schema: a record whose last field is an array of records."""
    item = shape.items(schema.source)
    mark = next(field["name"] for field in item["fields"] if "string" in field["type"])
    sentinel = BytesIO()
    fastavro.schemaless_writer(sentinel, fastavro.parse_schema(item), _emptiest(item) | {mark: MARK})
    header = {**schema.source, "fields": schema.source["fields"][:-1]}
    return Layout(
        header=header,
        header_parsed=fastavro.parse_schema(header),
        header_opening=_opening(header),
        item=item,
        item_opening=_opening(item),
        symbols=shape.symbols(item),
        least=shape.least_bytes(item),
        sentinel=sentinel.getvalue(),
        mark=mark,
    )


def container(opening: bytes, count: int, body: list[bytes]) -> bytes:
    """A container file of one block: `count` records that `body` holds in all."""
    return b"".join((opening, varint(count), varint(sum(map(len, body))), *body, _SYNC))


def array(data: bytes, at: int, least: int) -> tuple[int, list[bytes]] | None:
    """Count and bytes of the items of an array that begins at `at` and ends with `data`; None for an odd one.

    The length of a block without a size is not known: it is taken to be the last, which a sentinel will show.
    """
    total = 0
    found: list[bytes] = []
    try:
        while True:
            count, at = number(data, at)
            if count == 0:
                return (total, found) if at == len(data) else None
            end = len(data) - 1
            if count < 0:
                size, at = number(data, at)
                count, end = -count, at + size
            if not at <= end < len(data) or count * least > end - at:
                return None
            found.append(data[at:end])
            total, at = total + count, end
    except IndexError:
        return None


def blocks(container: bytes) -> Iterator[tuple[int, bytes]]:
    """Count and bytes of each block of an uncompressed container file."""
    at = 4
    while True:
        pairs, at = number(container, at)
        if pairs == 0:
            break
        for _ in range(2 * pairs):
            size, at = number(container, at)
            at += size
    at += len(_SYNC)
    while at < len(container):
        count, at = number(container, at)
        size, at = number(container, at)
        yield count, container[at : at + size]
        at += size + len(_SYNC)


def number(data: bytes, at: int) -> tuple[int, int]:
    """The Avro long (zigzag, variable length) at `at`, and where it ends. Raises IndexError where `data` ends first."""
    value = shift = 0
    while (byte := data[at]) > 0x7F and shift < 63:
        value |= (byte & 0x7F) << shift
        shift += 7
        at += 1
    value |= byte << shift
    return (value >> 1) ^ -(value & 1), at + 1


def varint(value: int) -> bytes:
    """An integer of 64 bits as an Avro long."""
    rest, out = (value << 1) ^ (value >> 63), bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def _opening(record: dict[str, Any]) -> bytes:
    meta = [b"avro.schema", json.dumps(shape.bare(record)).encode(), b"avro.codec", b"null"]
    return b"Obj\x01" + varint(2) + b"".join(varint(len(text)) + text for text in meta) + b"\0" + _SYNC


def _emptiest(avro: Any) -> Any:
    if isinstance(avro, list):
        return None
    if isinstance(avro, str):
        return {"string": "", "boolean": False, "bytes": b""}.get(avro, 0)
    if avro["type"] == "record":
        return {field["name"]: _emptiest(field["type"]) for field in avro["fields"]}
    return [] if avro["type"] == "array" else avro["symbols"][0]
