"""Bytes of one message to one Avro datum and back, with pinned schemas only.

Framing is Avro's single-object encoding (`C3 01`, the CRC-64-AVRO fingerprint of the writer's schema, the datum) or,
with a `Registry`, also Confluent's wire format (`00`, schema id in 4 bytes, the datum). A writer's schema is one of the
files `avro/<name>/<version>.avsc`; a schema that came with data is never parsed.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from io import BytesIO
from typing import Any, Protocol

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

MARKER = b"\xc3\x01"
CONFLUENT = b"\x00"
MAX_BYTES = 2 * 1024 * 1024
"""A message above this is refused unread: what it could unfold to stays bounded (the broker's limit is on compressed
bytes). A dead letter, which holds a whole message, may be twice as long."""


REASONS = ("not_framed", "unknown_schema", "truncated", "trailing_bytes", "malformed", "too_large")
"""Why bytes are no message: words fit for a metric's label."""


class CodecError(ValueError):
    """Bytes that are no message of ours, or a datum that fits no schema; `reason` is one of REASONS."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True, eq=False)
class Pinned:
    """One version of one schema, as its file has it."""

    name: str
    version: int
    source: dict[str, Any]
    """The file's content."""
    parsed: Any
    """What fastavro made of it."""
    canonical: str
    """Parsing canonical form: what the fingerprint is taken of."""
    fingerprint: bytes
    """CRC-64-AVRO of the canonical form, 8 bytes, little-endian."""


class Registry(Protocol):
    """What the codec asks of a schema registry; `registry.HttpRegistry` is one."""

    def pinned(self, schema_id: int) -> Pinned | None:
        """The pinned schema registered under this id; None when it is none of ours. May raise RegistryError."""

    def schema_id(self, schema: Pinned) -> int:
        """The id of a pinned schema, registered if need be. May raise RegistryError."""


def load(folder: Traversable) -> list[Pinned]:
    """Every schema of a folder `<name>/<version>.avsc`, ordered by name and version."""
    found = []
    for kind in folder.iterdir():
        if not kind.is_dir():
            continue
        for file in kind.iterdir():
            if file.name.endswith(".avsc"):
                found.append(_pin(kind.name, int(file.name.removesuffix(".avsc")), json.loads(file.read_text("utf-8"))))
    return sorted(found, key=lambda schema: (schema.name, schema.version))


@cache
def schemas() -> tuple[Pinned, ...]:
    """All pinned schemas, ordered by name and version."""
    return tuple(load(files("spanloom_schemas") / "avro"))


@cache
def newest(name: str) -> Pinned:
    """The newest version of a schema. Raises KeyError for a name there is no schema of."""
    versions = [schema for schema in schemas() if schema.name == name]
    if not versions:
        raise KeyError(name)
    return versions[-1]


def prefix(name: str, registry: Registry | None = None) -> bytes:
    """The bytes in front of a datum of the newest version of `name`."""
    schema = newest(name)
    if registry is None:
        return MARKER + schema.fingerprint
    return CONFLUENT + registry.schema_id(schema).to_bytes(4, "big")


def reframed(message: bytes, registry: Registry) -> bytes:
    """A single-object message of ours in Confluent's wire format. Raises CodecError; may raise RegistryError."""
    schema, start = unframe(message)
    return CONFLUENT + registry.schema_id(schema).to_bytes(4, "big") + message[start:]


def encode(name: str, datum: dict[str, Any], registry: Registry | None = None) -> bytes:
    """A framed message of the newest version of `name`; a field left out takes its default.

    Raises CodecError (malformed) for a datum that does not fit: a wrong type, an unknown or missing field.
    """
    out = BytesIO(prefix(name, registry))
    out.seek(0, 2)
    try:
        fastavro.schemaless_writer(out, newest(name).parsed, datum, strict_allow_default=True)
    except Exception as error:  # fastavro raises whatever the wrong type happens to raise
        raise CodecError("malformed", f"the datum is no {name}: {_said(error)}") from error
    return out.getvalue()


def decode(data: bytes, registry: Registry | None = None) -> tuple[str, int, dict[str, Any]]:
    """Name of the schema, version it was written in, and the datum in the shape of the newest version.

    Raises CodecError for anything that is not, to the last byte, one datum of a pinned schema.
    """
    schema, start = unframe(data, registry)
    return schema.name, schema.version, datum(data, schema, start)


def datum(data: bytes, schema: Pinned, start: int) -> dict[str, Any]:
    """What `decode` does behind the frame, which `unframe` took off. Raises CodecError."""
    body = BytesIO(data)
    body.seek(start)
    found = read(body, schema.parsed, newest(schema.name).parsed, schema.name)
    if body.tell() != len(data):
        raise CodecError("trailing_bytes", f"{len(data) - body.tell()} bytes follow the {schema.name}")
    return found


def unframe(data: bytes, registry: Registry | None = None) -> tuple[Pinned, int]:
    """The schema of a message and where its datum starts. Raises CodecError; may raise RegistryError."""
    schema, start = _frame(data, registry)
    limit = 2 * MAX_BYTES if schema.name == "dead_letter" else MAX_BYTES
    if len(data) > limit:
        raise CodecError("too_large", f"{len(data)} bytes are more than the {limit} of a {schema.name}")
    return schema, start


def read(body: BytesIO, writer: Any, reader: Any, what: str) -> dict[str, Any]:
    """The datum at the position of `body`, which is left behind it; both schemas as fastavro parsed them.

    Raises CodecError (truncated, malformed).
    """
    try:
        datum = fastavro.schemaless_reader(body, writer, None if reader is writer else reader)
    except EOFError:
        raise CodecError("truncated", f"the {what} ends early") from None
    except Exception as error:  # fastavro raises whatever the wrong byte, or the lack of one, happens to raise
        reason = "malformed" if body.read(1) else "truncated"
        raise CodecError(reason, f"no {what}: {_said(error)}") from None
    if not isinstance(datum, dict):
        raise CodecError("malformed", f"no {what}: not a record")
    return datum


def _frame(data: bytes, registry: Registry | None) -> tuple[Pinned, int]:
    if data[:2] == MARKER:
        if len(data) < 10:
            raise CodecError("truncated", "the frame ends within the fingerprint")
        known = _by_fingerprint().get(data[2:10])
        if known is None:
            raise CodecError("unknown_schema", f"no pinned schema has the fingerprint {data[2:10].hex()}")
        return known, 10
    if registry is not None and data[:1] == CONFLUENT:
        if len(data) < 5:
            raise CodecError("truncated", "the frame ends within the schema id")
        schema_id = int.from_bytes(data[1:5], "big")
        known = registry.pinned(schema_id)
        if known is None:
            raise CodecError("unknown_schema", f"the registry's schema {schema_id} is no pinned one")
        return known, 5
    raise CodecError("not_framed", f"a message starts with c301, not {data[:2].hex() or 'nothing'}")


@cache
def _by_fingerprint() -> dict[bytes, Pinned]:
    return {schema.fingerprint: schema for schema in schemas()}


def _pin(name: str, version: int, source: dict[str, Any]) -> Pinned:
    canonical = to_parsing_canonical_form(source)
    crc = bytes.fromhex(fingerprint(canonical, "CRC-64-AVRO"))
    return Pinned(name, version, source, fastavro.parse_schema(source), canonical, crc)


def _said(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
