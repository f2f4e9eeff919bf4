"""Values of attributes: what a text of JSON says, a value as text, moments. Pure; nothing here raises."""

import json
from collections.abc import Iterator
from datetime import datetime

from spanloom.fields import LONG
from spanloom.otel.dialects import FIELDS, FIRST_TOKEN, SUMS, UNFOLD, USAGE
from spanloom.otel.received import Attributes

UNFOLDED = 64 * 1024
"""Characters of JSON that are looked into."""

_INSIDE = frozenset(
    name
    for names in (*FIELDS.values(), *USAGE.values(), *SUMS.values(), FIRST_TOKEN, ("metadata.action",))
    for name in names
    if name.startswith(tuple(f"{above}." for above in UNFOLD))
)
_ABOVE = frozenset(name[:end] for name in _INSIDE for end, letter in enumerate(name) if letter == ".")


def parsed(value: object) -> object:
    """Return what a JSON text says; None for what is none, or too long."""
    if not isinstance(value, str) or len(value) > UNFOLDED or value[:1] not in ("{", "[", '"'):
        return None
    try:
        found: object = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return found


def unfold(attributes: Attributes) -> Attributes:
    """Return the attributes, with those inside JSON that the tables know added under dotted names."""
    folded = UNFOLD & attributes.keys()
    if not folded:
        return attributes
    said = dict(attributes)
    for name in folded:
        value = said[name]
        for key, inner in _inside(name, value if isinstance(value, dict) else parsed(value)):
            said.setdefault(key, inner)
    return said


def _inside(prefix: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            name = f"{prefix}.{key}"
            if name in _INSIDE:
                yield name, inner
            elif name in _ABOVE:
                yield from _inside(name, inner)


def plain(value: object) -> object:
    """Return an attribute's value as text says it best: lists and mappings as JSON, bytes in hexadecimal."""
    if isinstance(value, bytes):
        return value[:LONG].hex()
    if isinstance(value, list | tuple | dict):
        try:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
        except (ValueError, TypeError, RecursionError):
            return str(value)
    return value


def moment(value: object) -> int | None:
    """Return the epoch nanoseconds of an ISO 8601 text with a time zone, perhaps in quotes."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value.strip('"'))
        seconds = int(found.replace(microsecond=0).timestamp())
    except (ValueError, OverflowError, OSError):
        return None
    return None if found.tzinfo is None else seconds * 10**9 + found.microsecond * 1000
