"""Spans and batch headers as Avro, written directly: fastavro needs 30 µs a span, most of it to match unions.

Avro is concatenative, so what is constant for a process or a trace is encoded once and joined. The bytes equal those of
fastavro (a property test holds this against it), but for the array of spans: that is a block with its size in bytes, so
that a reader can splice it unread.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from struct import Struct
from typing import Any, NamedTuple, TypeVar

from spanloom.buffer import Ended
from spanloom.fields import KINDS, OTEL_KINDS, SEGMENTS, STATUSES
from spanloom.trace import Trace

T = TypeVar("T")

NULL, SOME = b"\x00", b"\x02"
FALSE, TRUE = b"\x00", b"\x01"
END = b"\x00"

_LAST = [bytes((n,)) if n < 0x80 else bytes((n & 0x7F | 0x80, n >> 7)) for n in range(1 << 14)]
"""A varint of up to 14 bits."""
_MORE = [bytes((n & 0x7F | 0x80, n >> 7 | 0x80)) for n in range(1 << 14)]
"""14 bits of a varint that goes on."""
_double = Struct("<d").pack


def long(value: int) -> bytes:
    """Return a long: zig-zag, then varint."""
    rest = value << 1 if value >= 0 else ~(value << 1)
    head = b""
    while rest > 0x3FFF:
        head += _MORE[rest & 0x3FFF]
        rest >>= 14
    return head + _LAST[rest]


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


def texts(pairs: Iterable[tuple[str, str]]) -> bytes:
    """Return an array of records {key, value}."""
    return array([word(key) + string(value) for key, value in pairs])


optional_word = optional(word)
optional_string = optional(string)
optional_long = optional(long)
optional_double = optional(_double)

_CONTEXT = ("request_id", "session_id", "user", "tenant", "experiment", "run_id", "dataset_id")
_PROMPT = tuple(f"{segment}_tokens" for segment in SEGMENTS)
_LLM: tuple[tuple[str, Callable[[Any], bytes]], ...] = (
    *(
        (name, optional_word)
        for name in ("provider", "request_model", "response_model", "model_version", "service_tier")
    ),
    *((name, optional_double) for name in ("temperature", "top_p")),
    ("max_tokens", optional_long),
    ("usage", lambda value: word(value or "unknown")),
    *((f"{name}_tokens", optional_long) for name in ("input", "cache_read", "cache_write", "output", "reasoning")),
    ("cached", boolean),
    *((name, optional_long) for name in ("batch_size", "ttft")),
    ("finish_reasons", lambda value: array([word(reason) for reason in value or ()])),
)
_LLM_FIELDS = frozenset(name for name, _ in _LLM)
_PROMPT_FIELDS = frozenset((*_PROMPT, "context_truncated"))
_KIND = {kind: long(index) for index, kind in enumerate(KINDS)}
_OTEL_KIND = {kind: long(index) for index, kind in enumerate(OTEL_KINDS)}
_STATUS = {status: long(index) for index, status in enumerate(STATUSES)}
_DEFAULT_OTEL_KIND = {"request": "server", "llm": "client", "embedding": "client"}
_NOTHING_MORE = NULL + NULL + NULL + NULL + END + END + END + END + NULL
"""llm, retrieval, tool_name, block_reason, scores, events, links, attributes, payload of a span that has none."""


class Shared(NamedTuple):
    """What the spans of a trace have in common, encoded."""

    trace_id: bytes
    context: bytes
    prompt: bytes
    """The whole record, or null: of a span that has nothing of its own to say about its prompt."""
    prompt_head: bytes
    """Id and version, the record's first fields."""


def shared(trace: Trace) -> Shared:
    """Return a trace's common bytes, kept with it."""
    known = trace.encoded
    if not isinstance(known, Shared):
        trace.encoded = known = _shared(trace)
    return known


def _shared(trace: Trace) -> Shared:
    get = trace.facts.get
    context = [optional_string(get(name)) for name in _CONTEXT]
    head = optional_word(get("prompt_id")) + optional_word(get("prompt_version"))
    return Shared(
        trace_id=string(trace.id),
        context=NULL if all(part == NULL for part in context) else SOME + b"".join(context),
        prompt=NULL if head == NULL + NULL else SOME + head + FALSE + NULL * len(_PROMPT),
        prompt_head=head,
    )


def span(ended: Ended) -> bytes:
    """Return one span."""
    trace, span_id, parent_id, remote, name, kind, start, end, detail = ended
    common = shared(trace)
    get = detail.get
    return b"".join(
        (
            common.trace_id,
            string(span_id),
            optional_string(parent_id),
            boolean(remote),
            word(name),
            _KIND[kind],
            _OTEL_KIND[get("otel_kind") or _DEFAULT_OTEL_KIND.get(kind, "internal")],
            long(start),
            long(end),
            _STATUS[get("status", "unset")],
            optional_word(get("error_type")),
            common.context,
            common.prompt if _PROMPT_FIELDS.isdisjoint(detail) else _prompt(common.prompt_head, detail),
            _more(detail) if detail else _NOTHING_MORE,
        )
    )


def _prompt(head: bytes, detail: Mapping[str, Any]) -> bytes:
    tokens = [optional_long(detail.get(name)) for name in _PROMPT]
    return b"".join((SOME, head, boolean(detail.get("context_truncated")), *tokens))


def _more(detail: dict[str, Any]) -> bytes:
    get = detail.get
    llm = NULL
    if not _LLM_FIELDS.isdisjoint(detail):
        llm = SOME + b"".join([encode(get(name)) for name, encode in _LLM])
    return b"".join(
        (
            llm,
            _retrieval(detail),
            optional_word(get("tool_name")),
            optional_word(get("block_reason")),
            array([word(name) + _double(value) for name, value in get("scores", {}).items()]),
            array([word(name) + long(time) + texts(said) for name, time, said in get("events", ())]),
            array([string(trace_id) + string(span_id) + texts(said) for trace_id, span_id, said in get("links", ())]),
            _attributes(detail),
            _payload(detail),
        )
    )


def _retrieval(detail: dict[str, Any]) -> bytes:
    k, documents = detail.get("retriever_k"), detail.get("documents")
    if k is None and documents is None:
        return NULL
    found = [string(name) + optional_double(score) + boolean(cited) for name, score, cited in documents or ()]
    return SOME + optional_long(k) + array(found)


def _attributes(detail: dict[str, Any]) -> bytes:
    said = [*detail.get("attributes", {}).items()]
    if cut := detail.get("cut"):
        said.append(("spanloom.cut", str(cut)))
    return texts(said)


def _payload(detail: dict[str, Any]) -> bytes:
    hashes = detail.get("input_hash"), detail.get("output_hash")
    if hashes == (None, None):
        return NULL
    return SOME + b"".join(map(optional_string, hashes)) + NULL + NULL


class Origin(NamedTuple):
    """Who sends: what is constant in the headers of one life of one process."""

    producer: str
    epoch: int
    service: str
    environment: str
    host: str
    version: str
    sdk: str


def header(origin: Origin) -> Callable[..., bytes]:
    """Return the encoder of this origin's batch headers, from sequence to last."""
    head = string(origin.producer) + long(origin.epoch)
    middle = b"".join(map(string, (origin.service, origin.environment, origin.host, origin.version, origin.sdk)))

    def encode(
        *, sequence: int, sent: int, made: int, dropped: Mapping[str, int], given_up: Sequence[int], last: bool
    ) -> bytes:
        drops = array([string(reason) + long(spans) for reason, spans in dropped.items()])
        lost = array([long(number) for number in given_up])
        return b"".join((head, long(sequence), middle, long(sent), long(made), drops, lost, boolean(last)))

    return encode


def message(prefix: bytes, header: bytes, spans: Sequence[bytes]) -> bytes:
    """Return a framed SpanBatch."""
    if not spans:
        return prefix + header + END
    size = long(sum(map(len, spans)))
    return b"".join((prefix, header, long(-len(spans)), size, *spans, END))
