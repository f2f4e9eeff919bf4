"""Batches of messages to frames, without the messages that are out of bounds (`spanloom_schemas.bounds`)."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import polars as pl

from spanloom_schemas import bounds, codec
from spanloom_schemas.codec import Registry
from spanloom_schemas.frames import layout, shape, splice
from spanloom_schemas.frames.splice import Dead, Decoded, Message


def decode(name: str, messages: Sequence[Message], registry: Registry | None = None) -> Decoded:
    """As `splice.decode`; messages that are out of bounds are dead too."""
    decoded = splice.decode(name, messages, registry)
    wrong = _out_of_bounds(name, decoded) if name in bounds.HEADERS else {}
    if not wrong:
        return decoded
    dead = [
        Dead(offset, log_time, bounds.OUT_OF_BOUNDS, f"{wrong[offset]} of a {name} is out of bounds", value)
        for offset, log_time, value in messages
        if offset in wrong
    ]
    good = ~pl.col("offset").is_in(list(wrong))
    everyone = sorted([*decoded.dead, *dead], key=lambda each: each.offset)
    return Decoded(decoded.rows.filter(good), decoded.headers.filter(good), everyone)


def _out_of_bounds(name: str, decoded: Decoded) -> dict[int, str]:
    """By offset the messages that are, and what of them is."""
    wrong: dict[int, str] = {}
    for frame, checks in ((decoded.headers, _header(name)), (decoded.rows, _items(name))):
        verdicts = frame.select("offset", *(check.fill_null(value=False).alias(what) for what, check in checks.items()))
        for what in checks:
            if not verdicts[what].all():
                wrong = dict.fromkeys(verdicts.filter(~pl.col(what))["offset"].unique().to_list(), what) | wrong
    return wrong


@cache
def _header(name: str) -> Mapping[str, pl.Expr]:
    fields = {field["name"]: field["type"] for field in layout.of(codec.newest(name)).header["fields"]}
    checks = dict(_ranges(bounds.HEADERS[name]))
    checks |= {text: _short(text) for text, kind in fields.items() if kind == "string"}
    if "topic_id" in fields:
        checks["topic_id"] = pl.col("topic_id").str.contains(f"^{bounds.ID}$")
    return checks


@cache
def _items(name: str) -> Mapping[str, pl.Expr]:
    item = layout.of(codec.newest(name)).item
    columns = shape.columns(item)
    checks = dict(_ranges(bounds.ITEMS[name]))
    checks |= {part: _part(part) for part in bounds.PARTS[name]}
    checks |= {text: _short(text) for text, kind in columns.items() if kind == pl.String}
    checks |= {text: checks[text] & pl.col(text).is_not_null() for text in bounds.NEEDED[name]}
    checks |= {column: _whole(column, kind.inner) for column, kind in columns.items() if isinstance(kind, pl.List)}
    return checks


def _ranges(ranges: Mapping[str, bounds.Range]) -> Iterator[tuple[str, pl.Expr]]:
    for column, (low, high) in ranges.items():
        within = pl.col(column).is_not_null()
        yield column, within & pl.col(column).is_between(low, high) if (low, high) != bounds.ANY else within


def _part(count: str) -> pl.Expr:
    return pl.col(count).is_between(0, pl.col("spans")) | pl.col(count).is_null()


def _short(text: str) -> pl.Expr:
    return (pl.col(text).str.len_chars() <= bounds.TEXT) | pl.col(text).is_null()


def _whole(column: str, inner: Any) -> pl.Expr:
    """A list without holes, be it null itself; of a sketch, of buckets that there are."""
    each = pl.element()
    sound = each.is_not_null()
    for name, kind in inner.to_schema().items() if isinstance(inner, pl.Struct) else ():
        field = each.struct.field(name)
        sound &= field.is_not_null()
        if kind == pl.String:
            sound &= field.str.len_chars() <= bounds.TEXT
        if name == "index":
            sound &= field.is_between(*bounds.BUCKETS)
        if name == "count":
            sound &= field.is_between(0, bounds.COUNT)
    if inner == pl.String:
        sound &= each.str.len_chars() <= bounds.TEXT
    return pl.col(column).list.eval(sound.fill_null(value=False)).list.all() | pl.col(column).is_null()
