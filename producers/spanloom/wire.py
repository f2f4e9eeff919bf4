"""Spans and batch headers as Avro, written directly: fastavro needs 30 µs a span, most of it to match unions.

Avro is concatenative, so what is constant for a process or a trace is encoded once and joined. The bytes equal those of
fastavro (a property test holds this against it), but for the array of spans: that is a block with its size in bytes, so
that a reader can splice it unread.
"""

from binascii import hexlify
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from struct import Struct
from typing import NamedTuple, TypeVar

from spanloom import fields
from spanloom.buffer import GIVEN, Ended
from spanloom.fields import KINDS, LONG, MANY, OTEL_KINDS, SEGMENTS, SHORT, STATUSES
from spanloom.payloads import Payload
from spanloom.secrecy import User
from spanloom.trace import Facts, Given, Resource, Trace, learnt

T = TypeVar("T")

NULL, SOME = b"\x00", b"\x02"
FALSE, TRUE = b"\x00", b"\x01"
END = b"\x00"

_LAST = [bytes((n,)) if n < 0x80 else bytes((n & 0x7F | 0x80, n >> 7)) for n in range(1 << 14)]
"""A varint of up to 14 bits."""
_MORE = [bytes((n & 0x7F | 0x80, n >> 7 | 0x80)) for n in range(1 << 14)]
"""14 bits of a varint that goes on."""
double = Struct("<d").pack


def long(value: int) -> bytes:
    """Return a long: zig-zag, then varint."""
    if 0 <= value < 0x2000:
        return _LAST[value << 1]
    return _varint(value << 1 if value >= 0 else ~(value << 1))


def _varint(rest: int) -> bytes:
    head = b""
    while rest > 0x3FFF:
        head += _MORE[rest & 0x3FFF]
        rest >>= 14
    return head + _LAST[rest]


def moment(time: int) -> bytes:
    """Like `long`, for epoch nanoseconds: what changes but every eighth of a second is remembered."""
    if time < 1 << 42:
        return long(time)
    rest = time << 1
    return _MORE[rest & 0x3FFF] + _MORE[rest >> 14 & 0x3FFF] + _eighth(rest >> 28)


_eighth = lru_cache(64)(_varint)


def string(value: str) -> bytes:
    """Return a text; a lone surrogate, for which UTF-8 has no bytes, becomes a question mark."""
    data = value.encode("utf-8", "replace")
    return long(len(data)) + data


word = lru_cache(4096)(string)
"""Like `string`, for names that come again and again."""


def boolean(value: object) -> bytes:
    """Return a boolean; None is false, the default of every boolean of the schema."""
    return TRUE if value else FALSE


def optional(encode: Callable[[T], bytes]) -> Callable[[T | None], bytes]:
    """Make an encoder of ["null", T] from one of T."""
    return lambda value: NULL if value is None else SOME + encode(value)


def array(items: Sequence[bytes]) -> bytes:
    """Return an array of encoded items."""
    return b"".join((long(len(items)), *items, END)) if items else END


def texts(pairs: Iterable[tuple[str, str | Payload]]) -> bytes:
    """Return an array of records {key, value}."""
    return array([word(key) + string(value if type(value) is str else _sanitized(value) or "") for key, value in pairs])


def _sanitized(value: object) -> str | None:
    """Return what may leave of a payload; None for any other thing, for a text never becomes one by its name."""
    return value.sanitized() if isinstance(value, Payload) else None


def field(convert: Callable[[object], T | None], encode: Callable[[T], bytes]) -> Callable[[object], bytes | None]:
    """Make an encoder of what a host may have put in a field; None for what does not fit it."""
    return lambda value: None if (fit := convert(value)) is None else encode(fit)


def some(encode: Callable[[T], bytes]) -> Callable[[T], bytes]:
    """Make an encoder of ["null", T] for values that are there."""
    return lambda value: SOME + encode(value)


def _text(value: object) -> bytes | None:
    if type(value) is str and len(value) <= SHORT:
        return _some_word(value)
    return None if (fit := fields.text(value)) is None else _some_word(fit)


def _long(value: object) -> bytes | None:
    if type(value) is int and 0 <= value < 0x2000:
        return _SOME_SMALL[value]
    return None if (fit := fields.integer(value)) is None else SOME + long(fit)


_some_word = lru_cache(4096)(some(string))
_SOME_SMALL = [SOME + long(n) for n in range(0x2000)]
optional_string = optional(string)
_double = field(fields.number, some(double))
_boolean = field(fields.flag, boolean)
_KIND = {kind: long(index) for index, kind in enumerate(KINDS)}
_OTEL_KIND = {kind: long(index) for index, kind in enumerate(OTEL_KINDS)}
_STATUS = {status: long(index) for index, status in enumerate(STATUSES)}


def _documents(found: Iterable[tuple[str, float | None, bool]]) -> bytes:
    return array(
        [
            string(name) + (NULL if score is None else SOME + double(score)) + (TRUE if cited else FALSE)
            for name, score, cited in found
        ]
    )


Slot = tuple[str, Callable[[object], bytes | None], bytes]
"""Name in a span's detail, encoder, bytes where it is not said."""

_GROUPS: tuple[tuple[Slot, ...], ...] = (
    (
        ("otel_kind", field(fields.otel_kind, _OTEL_KIND.__getitem__), b""),
        ("status", field(fields.status, _STATUS.__getitem__), _STATUS["unset"]),
        ("error_type", _text, NULL),
        ("tool_name", _text, NULL),
        ("block_reason", _text, NULL),
        (
            "scores",
            field(fields.scores, lambda said: array([word(name) + double(value) for name, value in said.items()])),
            END,
        ),
    ),
    (
        ("context_truncated", _boolean, FALSE),
        *((f"{segment}_tokens", _long, NULL) for segment in SEGMENTS),
    ),
    (
        *(
            (name, _text, NULL)
            for name in ("provider", "request_model", "response_model", "model_version", "service_tier")
        ),
        *((name, _double, NULL) for name in ("temperature", "top_p")),
        ("max_tokens", _long, NULL),
        ("usage", field(fields.usage, word), word("unknown")),
        *((f"{name}_tokens", _long, NULL) for name in ("input", "cache_read", "cache_write", "output", "reasoning")),
        ("cached", _boolean, FALSE),
        ("batch_size", _long, NULL),
        ("ttft", _long, NULL),
        ("finish_reasons", field(fields.texts, lambda said: array([word(reason) for reason in said])), END),
    ),
    (
        ("retriever_k", _long, NULL),
        ("documents", field(fields.documents, _documents), END),
    ),
    (
        ("input_hash", field(fields.text, some(string)), NULL),
        ("output_hash", field(fields.text, some(string)), NULL),
        ("input", field(_sanitized, some(string)), NULL),
        ("output", field(_sanitized, some(string)), NULL),
    ),
)
PLAIN, PROMPT, LLM, RETRIEVAL, PAYLOAD = range(5)
_UNSAID = [[default for _, _, default in group] for group in _GROUPS]
_SLOTS = {
    name: (number, position, encode)
    for number, group in enumerate(_GROUPS)
    for position, (name, encode, _) in enumerate(group)
}
_SLOTS |= {alias: _SLOTS[name] for alias, name in fields.ALIASES.items()}
FIELDS = _SLOTS.keys()
"""Names in a span's detail that are fields."""

_SERVER, _CLIENT, _INTERNAL = (_OTEL_KIND[kind] for kind in ("server", "client", "internal"))
_KIND_OTEL_KIND = {
    kind: _KIND[kind] + {"request": _SERVER, "llm": _CLIENT, "embedding": _CLIENT}.get(kind, _INTERNAL)
    for kind in KINDS
}


class Shared(NamedTuple):
    """What the spans of a trace have in common, encoded."""

    trace_id: bytes
    context: bytes
    prompt: bytes
    """The whole record, or null: of a span that has nothing of its own to say about its prompt."""
    prompt_head: bytes
    """Id and version, the record's first fields."""
    anchor: int


def shared(trace: Trace) -> Shared:
    """Return a trace's common bytes, kept with it."""
    known = trace.encoded
    if not isinstance(known, Shared):
        trace.encoded = known = _shared(trace, trace.facts)
    return known


def _shared(trace: Trace, facts: Facts) -> Shared:
    if not facts:
        return Shared(string(trace.id), NULL, NULL, NULL + NULL, trace.anchor)
    get = facts.get
    user = get("user")
    who = user.pseudonym() if isinstance(user, User) else user
    said = map(get, ("tenant", "experiment", "run_id", "dataset_id"))
    context = _context(get("request_id"), get("session_id"), who, *said)
    return Shared(string(trace.id), context, *_prompt(get("prompt_id"), get("prompt_version")), trace.anchor)


@lru_cache(1024)
def _context(*facts: str | None) -> bytes:
    return SOME + b"".join(map(optional_string, facts)) if any(facts) else NULL


@lru_cache(1024)
def _prompt(*facts: str | None) -> tuple[bytes, bytes]:
    """Return the whole record, and its head."""
    head = b"".join(map(optional_string, facts))
    return NULL if head == NULL + NULL else b"".join((SOME, head, *_UNSAID[PROMPT])), head


def span(ended: Ended) -> bytes:
    """Return one span. A value that does not fit its field becomes an attribute."""
    trace, number, parent, remote, name, kind, start, end, detail, events, links, cut = ended
    given: Given | None = detail.pop(GIVEN, None)  # type: ignore[assignment]
    common = shared(trace) if given is None else _shared(trace, learnt(trace.facts, given))
    groups: list[list[bytes] | None] = [None, None, None, None, None]
    attributes: list[bytes] = []
    for key, value in detail.items():
        slot = _SLOTS.get(key)
        if slot is not None:
            group, position, encode = slot
            data = encode(value)
            if data is not None:
                said = groups[group]
                if said is None:
                    said = groups[group] = _UNSAID[group].copy()
                said[position] = data
                continue
        attributes.append(_attribute(key, value))
    plain, prompt, llm, retrieval, payload = groups
    kinds = _KIND_OTEL_KIND.get(kind)
    if kinds is None:
        kinds = _KIND_OTEL_KIND["other"]
        attributes.append(_attribute("event_type", kind))
    otel_kind, status, error_type, tool_name, block_reason, scores = plain or _UNSAID[PLAIN]
    if cut or len(attributes) > MANY:
        attributes = [*attributes[:MANY], _attribute("spanloom.cut", cut + max(0, len(attributes) - MANY))]
    return b"".join(
        (
            common.trace_id,
            b"\x20",
            hexlify(number.to_bytes(8, "big")),
            NULL if parent is None else b"\x02\x20" + hexlify(parent.to_bytes(8, "big")),
            TRUE if remote else FALSE,
            word(name) if type(name) is str and len(name) <= SHORT else word(fields.text(name) or ""),
            kinds if not otel_kind else kinds[:1] + otel_kind,
            moment(common.anchor + start),
            moment(common.anchor + end),
            status,
            error_type,
            common.context,
            common.prompt if prompt is None else b"".join((SOME, common.prompt_head, *prompt)),
            NULL if llm is None else SOME + b"".join(llm),
            NULL if retrieval is None else SOME + b"".join(retrieval),
            tool_name,
            block_reason,
            scores,
            array([word(said) + long(time) + texts(pairs) for said, time, pairs in events]) if events else END,
            array([string(to) + string(at) + texts(pairs) for to, at, pairs in links]) if links else END,
            array(attributes),
            NULL if payload is None else b"".join((SOME, *payload)),
        )
    )


def _attribute(key: object, value: object) -> bytes:
    if type(value) is Payload:
        value = "withheld"
    return word(fields.text(key) or "") + string(fields.text(value, LONG) or "")


class Origin(NamedTuple):
    """Who sends: what is constant in the headers of one life of one process, of spans of one resource."""

    producer: str
    epoch: int
    service: str
    environment: str
    host: str
    version: str
    sdk: str

    def of(self, resource: Resource | None) -> "Origin":
        """Return the origin of spans that another process, or another library, made."""
        said = {} if resource is None else {name: value for name, value in resource._asdict().items() if value}
        return self._replace(**said)


def header(origin: Origin) -> Callable[..., bytes]:
    """Return the encoder of this origin's batch headers, from sequence to last."""
    head = string(origin.producer) + long(origin.epoch)
    middle = b"".join(map(string, (origin.service, origin.environment, origin.host, origin.version, origin.sdk)))

    def encode(
        *,
        sequence: int,
        sent: int,
        made: int,
        dropped: Mapping[str, int],
        shed: Mapping[str, int],
        given_up: Sequence[int],
        last: bool,
    ) -> bytes:
        drops, parts = (
            array([string(name) + long(spans) for name, spans in counts.items()]) for counts in (dropped, shed)
        )
        lost = array([long(number) for number in given_up])
        return b"".join((head, long(sequence), middle, long(sent), long(made), drops, parts, lost, boolean(last)))

    return encode


def message(prefix: bytes, header: bytes, spans: Sequence[bytes]) -> bytes:
    """Return a framed SpanBatch."""
    if not spans:
        return prefix + header + END
    size = long(sum(map(len, spans)))
    return b"".join((prefix, header, long(-len(spans)), size, *spans, END))
