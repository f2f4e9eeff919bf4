"""Batches of Avro messages to one frame and back, without a Python loop over the items.

The items of a batch are the message's last field, an Avro array; its bytes are just what a block of an Avro container
file holds. So the items of all messages are joined into one block behind one known header and read by one
`polars.read_avro`. Behind each message's items a sentinel item is put: where it comes out at its place, the message
held exactly the items it claimed, to the byte. What does not splice is halved until one message stands alone, which
fastavro then reads, or refuses. Headers are spliced in the same way.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO
from itertools import groupby
from typing import Any, NamedTuple

import fastavro
import polars as pl
from polars.exceptions import PanicException, PolarsError

from spanloom_schemas import codec
from spanloom_schemas.codec import CodecError, Pinned, Registry
from spanloom_schemas.frames import layout, shape

Message = tuple[int, int, bytes]
"""Offset, log time in epoch ms, value."""

_WHERE: dict[str, pl.DataType] = {"offset": pl.Int64(), "log_time": pl.Int64()}


@dataclass(frozen=True, slots=True)
class Dead:
    """A message that cannot be read: where it was, why, and all of it."""

    offset: int
    log_time: int
    reason: str
    """As CodecError's: one of a few words."""
    error: str
    value: bytes


class Decoded(NamedTuple):
    """What a run of messages held."""

    rows: pl.DataFrame
    """One row an item, in order of messages: offset, log_time (ms), position in its message, the item's fields."""
    headers: pl.DataFrame
    """One row a readable message: offset, log_time (ms), count of items, the header's fields."""
    dead: list[Dead]
    """Messages that cannot be read."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A message taken apart: its header read, its items still in bytes."""

    message: Message
    schema: Pinned
    start: int
    header: bytes
    count: int
    blocks: list[bytes] | None
    """None: an array so odd that only fastavro can tell."""


class _Found(NamedTuple):
    parts: list[_Part]
    frames: list[pl.DataFrame]
    dead: list[Dead]


def decode(name: str, messages: Sequence[Message], registry: Registry | None = None) -> Decoded:
    """Items and headers of many messages of a batch schema (span_batch, pane_batch, …), of any known version.

    Columns are those of the newest version; an enum is a String. Never raises for bad data: a message that cannot be
    read is in `dead` and harms no other. RegistryError may pass: then nothing is known about the messages, try again.
    """
    parts, found = [], _Found([], [], [])
    for message in messages:
        try:
            parts.append(_take_apart(name, message, registry))
        except CodecError as error:
            found.dead.append(_dead(message, error))
    for _, run in groupby(parts, key=lambda part: (part.schema.version, part.blocks is None)):
        _read(list(run), found)
    found.dead.sort(key=lambda dead: dead.offset)
    return Decoded(pl.concat([_no_items(codec.newest(name)), *found.frames]), _headers(name, found.parts), found.dead)


def encode(name: str, header: dict[str, Any], rows: pl.DataFrame, registry: Registry | None = None) -> bytes:
    """One message of the newest version of `name`: `header` is all of it but the items, which are `rows`.

    Of `rows` the columns that the item's schema names are taken, and cast. For the all-nullable items of pane_batch and
    trace_batch. Raises CodecError for a header that does not fit, polars' own errors for rows that do not.
    """
    out = BytesIO(codec.prefix(name, registry))
    out.seek(0, 2)
    try:
        fastavro.schemaless_writer(out, layout.of(codec.newest(name)).header_parsed, header, strict_allow_default=True)
    except Exception as error:  # fastavro raises whatever the wrong type happens to raise
        raise CodecError("malformed", f"the header is none of a {name}: {error}") from error
    container = BytesIO()
    items = rows.select(pl.col(column).cast(kind) for column, kind in item_columns(name).items())
    items.rechunk().write_avro(container)  # polars panics where columns are cut into chunks differently
    for count, block in layout.blocks(container.getvalue()):
        if count == 0:  # a frame without rows has one empty block, which in an array would be its end
            continue
        out.writelines((layout.varint(-count), layout.varint(len(block)), block))
    out.write(b"\0")
    return out.getvalue()


def encode_within(
    limit: int, name: str, header: dict[str, Any], rows: pl.DataFrame, registry: Registry | None = None
) -> Iterator[bytes]:
    """As `encode`, in as many messages as keep each within `limit` bytes; a single row may still exceed it."""
    message = encode(name, header, rows, registry)
    if len(message) <= limit or rows.height < 2:
        yield message
        return
    half = rows.height // 2
    yield from encode_within(limit, name, header, rows[:half], registry)
    yield from encode_within(limit, name, header, rows[half:], registry)


def item_columns(name: str) -> Mapping[str, pl.DataType]:
    """Columns of the items of batch schema `name`, newest version."""
    return _item_columns(codec.newest(name))


@cache
def _item_columns(schema: Pinned) -> Mapping[str, pl.DataType]:
    return shape.columns(layout.of(schema).item)


@cache
def _no_items(schema: Pinned) -> pl.DataFrame:
    return pl.DataFrame(schema={**_WHERE, "position": pl.UInt32(), **_item_columns(schema)})


@cache
def _no_headers(schema: Pinned) -> pl.DataFrame:
    return pl.DataFrame(schema=shape.columns(layout.of(schema).header))


def _take_apart(name: str, message: Message, registry: Registry | None) -> _Part:
    data = message[2]
    schema, start = codec.unframe(data, registry)
    if schema.name != name:
        raise CodecError("unknown_schema", f"a {schema.name}, where a {name} is expected")
    own = layout.of(schema)
    body = BytesIO(data)
    body.seek(start)
    codec.read(body, own.header_parsed, own.header_parsed, f"header of a {name}")
    end = body.tell()
    count, blocks = layout.array(data, end, own.least) or (0, None)
    return _Part(message, schema, start, data[start:end], count, blocks)


def _read(parts: list[_Part], found: _Found) -> None:
    """Put the items of parts of one schema version into `found`, halving what does not splice."""
    frame = _spliced(parts)
    if frame is not None:
        found.frames.append(frame)
        found.parts.extend(parts)
    elif len(parts) > 1:
        half = len(parts) // 2
        _read(parts[:half], found)
        _read(parts[half:], found)
    else:
        _read_alone(parts[0], found)


def _spliced(parts: list[_Part]) -> pl.DataFrame | None:
    """The items of all parts; None where a sentinel did not come out at its place, or polars gave up."""
    schema, own = parts[0].schema, layout.of(parts[0].schema)
    body: list[bytes] = []
    for part in parts:
        if part.blocks is None:
            return None
        body += part.blocks
        body.append(own.sentinel)
    index = _index(parts)
    try:
        items = pl.read_avro(BytesIO(layout.container(own.item_opening, index.height, body)))
        enums = [symbols.gather(items[column]).alias(column) for column, symbols in own.symbols.items()]
    except (PolarsError, PanicException, OSError, ValueError):
        return None
    ends = index["position"] == index["count"]
    if items.height != index.height or not items[own.mark].filter(ends).eq_missing(layout.MARK).all():
        return None
    items = shape.upgrade(items.with_columns(enums), own.item, layout.of(codec.newest(schema.name)).item)
    return pl.concat([index.drop("count"), items], how="horizontal").filter(~ends)


def _index(parts: list[_Part]) -> pl.DataFrame:
    """Where each item comes from, a sentinel behind each part's items: its position is their count."""
    where = {"offset": [p.message[0] for p in parts], "log_time": [p.message[1] for p in parts]}
    counts = pl.DataFrame({**where, "count": [p.count for p in parts]}, schema=_WHERE | {"count": pl.UInt32()})
    positions = pl.int_ranges(0, pl.col("count") + 1, dtype=pl.UInt32).alias("position")
    return counts.with_columns(positions).explode("position").select("offset", "log_time", "position", "count")


def _read_alone(part: _Part, found: _Found) -> None:
    message, name = part.message, part.schema.name
    try:
        items = codec.datum(message[2], part.schema, part.start).popitem()[1]
    except CodecError as error:
        found.dead.append(_dead(message, error))
        return
    offset, log_time, _ = message
    rows = pl.DataFrame(items, schema=item_columns(name), orient="row", strict=True)
    lone = [pl.lit(offset, pl.Int64).alias("offset"), pl.lit(log_time, pl.Int64).alias("log_time")]
    found.frames.append(rows.select(*lone, pl.int_range(pl.len(), dtype=pl.UInt32).alias("position"), pl.all()))
    found.parts.append(replace(part, count=len(items)))


def _headers(name: str, parts: list[_Part]) -> pl.DataFrame:
    where = {"offset": [p.message[0] for p in parts], "log_time": [p.message[1] for p in parts]}
    counts = pl.DataFrame({**where, "count": [p.count for p in parts]}, schema=_WHERE | {"count": pl.UInt32()})
    newest = layout.of(codec.newest(name)).header
    frames = [_no_headers(codec.newest(name))]
    for _, run in groupby(parts, key=lambda part: part.schema.version):
        frames.append(_spliced_headers(list(run), newest))
    return pl.concat([counts, pl.concat(frames)], how="horizontal")


def _spliced_headers(parts: list[_Part], newest: dict[str, Any]) -> pl.DataFrame:
    """The headers of parts of one schema version, each of which fastavro has read before."""
    own = layout.of(parts[0].schema)
    body = [part.header for part in parts]
    try:
        headers = pl.read_avro(BytesIO(layout.container(own.header_opening, len(parts), body)))
    except (PolarsError, PanicException, OSError, ValueError):
        data = [codec.read(BytesIO(header), own.header_parsed, own.header_parsed, "header") for header in body]
        headers = pl.DataFrame(data, schema=shape.columns(own.header), orient="row")
    return shape.upgrade(headers, own.header, newest)


def _dead(message: Message, error: CodecError) -> Dead:
    return Dead(message[0], message[1], error.reason, str(error), message[2])
