"""The Native format as clients of a negotiated protocol revision read it. Pure.

The engine writes Native as of revision 0. A client that sends `client_protocol_version` over HTTP (clickhouse-go, so
Grafana's plugin) expects two things more: a preamble before each block, and a flag before each column's data. To put
them in, `reframed` walks over the columns without decoding them.
"""

import re
from collections.abc import Iterator

# ClickHouse's names for the revisions: the first one that reads the flag of a custom serialization.
CUSTOM_SERIALIZATION = 54454

# Field 1, overflows: no; field 2, bucket: -1; end.
_PREAMBLE = b"\x01\x00\x02\xff\xff\xff\xff\x00"
_PLAIN = b"\x00"

_WIDTHS = {
    **dict.fromkeys(("UInt8", "Int8", "Bool", "Enum8", "Nothing"), 1),
    **dict.fromkeys(("UInt16", "Int16", "Enum16", "Date", "BFloat16"), 2),
    **dict.fromkeys(("UInt32", "Int32", "Float32", "Date32", "DateTime", "IPv4", "Decimal32", "Time"), 4),
    **dict.fromkeys(("UInt64", "Int64", "Float64", "DateTime64", "Decimal64", "Time64"), 8),
    **dict.fromkeys(("UInt128", "Int128", "UUID", "IPv6", "Decimal128", "Point"), 16),
    **dict.fromkeys(("UInt256", "Int256", "Decimal256"), 32),
}
_INTERVAL = re.compile(r"Interval[A-Z][a-z]+")
_TYPE = re.compile(r"(\w+)(?:\((.*)\))?", re.DOTALL)


class Unsupported(Exception):
    """A column of a type whose extent is not known here."""


def reframed(data: bytes) -> bytes:
    """Blocks of revision 0 as blocks of revision 54454 and later. Raises Unsupported."""
    parts: list[bytes] = []
    at = 0
    while at < len(data):
        start = at
        columns, at = _varint(data, at)
        rows, at = _varint(data, at)
        parts += [_PREAMBLE, data[start:at]]
        for _ in range(columns):
            start = at
            at = _text(data, at)
            kind_at = at
            at = _text(data, at)
            length, first = _varint(data, kind_at)
            kind = data[first : first + length].decode()
            parts += [data[start:at], _PLAIN]
            start = at
            if rows:
                at = _end(
                    kind, data, at + 8 * kind.count("LowCardinality("), rows
                )  # versions of dictionaries, all first
            parts.append(data[start:at])
    return b"".join(parts)


def _end(kind: str, data: bytes, at: int, rows: int) -> int:
    """Where a column of `rows` values of type `kind` that begins at `at` ends."""
    name, inside = _split(kind)
    if name in _WIDTHS:
        return at + rows * _WIDTHS[name]
    if name == "Decimal":
        precision = int(inside.split(",")[0])
        return at + rows * next(width for digits, width in ((9, 4), (18, 8), (38, 16), (76, 32)) if precision <= digits)
    if name == "FixedString":
        return at + rows * int(inside)
    if name == "String":
        for _ in range(rows):
            at = _text(data, at)
        return at
    if name == "Nullable":
        return _end(inside, data, at + rows, rows)
    if name in ("Array", "Map"):
        items, at = _uint64(data, at + (rows - 1) * 8)  # the last offset
        inner = inside if name == "Array" else f"Tuple({inside})"
        return _end(inner, data, at, items) if items else at
    if name == "Tuple":
        for element in _arguments(inside):
            at = _end(_unnamed(element), data, at, rows)
        return at if inside else at + rows
    if name == "SimpleAggregateFunction":
        return _end(list(_arguments(inside))[1], data, at, rows)
    if name == "LowCardinality":
        return _dictionary_end(inside, data, at)
    if _INTERVAL.fullmatch(name):
        return at + rows * 8
    raise Unsupported(f"a column of type {kind} cannot be sent to a client of this protocol revision")


def _dictionary_end(kind: str, data: bytes, at: int) -> int:
    """Where a column of low cardinality ends: flags, the dictionary's values, then an index for each row."""
    index_width = 1 << data[at]
    keys, at = _uint64(data, at + 8)
    inner = _split(kind)[1] if kind.startswith("Nullable(") else kind
    at = _end(inner, data, at, keys)
    indexes, at = _uint64(data, at)
    return at + indexes * index_width


def _split(kind: str) -> tuple[str, str]:
    found = _TYPE.fullmatch(kind)
    if found is None:
        raise Unsupported(f"the type {kind} is not known")
    return found[1], found[2] or ""


def _arguments(inside: str) -> Iterator[str]:
    """The parts of a type's arguments, split at commas outside brackets and quotes."""
    depth, quote, start, at = 0, "", 0, 0
    while at < len(inside):
        character = inside[at]
        if quote:
            if character == "\\":
                at += 1
            elif character == quote:
                quote = ""
        elif character in "'`":
            quote = character
        elif character in "()":
            depth += 1 if character == "(" else -1
        elif character == "," and depth == 0:
            yield inside[start:at].strip()
            start = at + 1
        at += 1
    if inside:
        yield inside[start:].strip()


def _unnamed(element: str) -> str:
    """A tuple's element without its name."""
    named = re.match(r"(?:`(?:\\.|[^`\\])*`|\w+)\s+(?=\w)", element)
    return element[named.end() :] if named else element


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _uint64(data: bytes, at: int) -> tuple[int, int]:
    return int.from_bytes(data[at : at + 8], "little"), at + 8


def _text(data: bytes, at: int) -> int:
    length, at = _varint(data, at)
    return at + length
