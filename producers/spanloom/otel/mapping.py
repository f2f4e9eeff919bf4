"""A span of any OpenTelemetry dialect as ours: the tables of `dialects`, read. Pure.

A thing that a table names fills its field. What people and models wrote, and what they may have written, stays here but
for its keyed hash, and is counted (`spanloom.withheld`). All else is kept as an attribute under its own name.
"""

from collections.abc import Callable
from typing import NamedTuple

from spanloom import fields
from spanloom.buffer import Detail, Ended, Events, Links, Name
from spanloom.fields import FACTS, MANY, text
from spanloom.otel import dialects as table
from spanloom.otel import outcome, usage
from spanloom.otel.calls import ECHO_OF, RESPONSE_ID, Call, Calls
from spanloom.otel.documents import found_documents, has_any, verdicts
from spanloom.otel.leaving import Names, is_short, kept, texts
from spanloom.otel.received import Attributes, Received
from spanloom.otel.statements import STATEMENTS, masked
from spanloom.otel.values import parsed, plain, unfold
from spanloom.otel.withheld import hashes
from spanloom.secrecy import User
from spanloom.trace import SAMPLED, Facts, Resource, Trace
from spanloom.wire import FIELDS

_CONVERT: dict[str, Callable[[object], object]] = {
    **dict.fromkeys(("temperature", "top_p"), fields.number),
    **dict.fromkeys(("max_tokens", "retriever_k"), fields.integer),
    "finish_reasons": fields.texts,
}
_PLACES = {
    name: (field, rank, _CONVERT.get(field, text))
    for field, names in table.FIELDS.items()
    for rank, name in enumerate(names)
}
_FACTS = frozenset(FACTS.values())
_KINDS = [(name, {value: kind for kind, values in stages.items() for value in values}) for name, stages in table.KINDS]
_TELLING = frozenset(name for name, _ in table.KINDS)
_PROVIDERS = {other: name for name, others in table.PROVIDERS.items() for other in others}


class About(NamedTuple):
    """What is known of a span beside the span: its resource, and who sent it."""

    resource: Resource | None
    """None: this process itself."""
    attributes: Attributes
    """Of the resource; kept on service-entry spans."""
    facts: Facts
    """Of the process or the connection (tenant); what a span says itself does not change them."""
    sender: str = ""
    """Who sent the span, where spans of several come together."""
    names: Names = Names()
    """Which attributes leave, and how."""


def translate(span: Received, about: About, calls: Calls, pseudonym: Callable[[str], str]) -> Ended:
    """Return a span as the sender takes it.

    `calls` remembers model calls, so that one that is traced twice counts once: its echo is of kind `other`, has no
    usage, and names the span that counts. `pseudonym` makes the keyed hash of a text.
    """
    said = unfold(span.attributes)
    kind = stage(said, span.kind, span.name)
    detail, facts, used = _fields(said, kind) if not _PLACES.keys().isdisjoint(said) else ({}, {}, set())
    if kind in table.INFERENCE and "finish_reasons" not in detail and (raw := outcome.told_reasons(span)):
        detail["finish_reasons"] = outcome.finish_reasons(raw)
    error = outcome.error_type(span, detail.pop("error_type", None))
    detail |= {"otel_kind": span.kind, "status": "error" if error else span.status}
    if error:
        detail["error_type"] = error
    else:
        used.difference_update(table.FIELDS["error_type"])
    if has_any(said, span.events):
        if documents := found_documents(said, span.events, pseudonym):
            detail["documents"] = documents
        if scores := verdicts(said, span.events):
            detail["scores"] = scores
    blocked = outcome.block_reason(said, kind, error, detail.get("finish_reasons"))
    if kind in table.INFERENCE:
        counts, response = usage.read(said), _response_id(said)
        original = _original(span, response, detail, calls, counts, about.sender)
        if original is None:
            used |= _took(span, said, detail, counts)
        else:
            kind, blocked, detail[ECHO_OF] = "other", None, f"{original:016x}"
        if response and is_short(response):  # whoever compares calls elsewhere finds it under one name
            detail[RESPONSE_ID] = response
    if blocked:
        detail["block_reason"] = blocked
    detail |= hashes(said, pseudonym)
    if span.scope:
        detail["otel.scope.name"] = span.scope
    detail["spanloom.withheld"] = 0  # before all that may be too much
    if span.parent is None or span.remote:
        for name, value in about.attributes.items():  # whoever runs the service wrote them, and no user of it
            detail[Name(name) if name in FIELDS else name] = plain(value)
    withheld = _keep(span.attributes, detail, used, about.names, pseudonym)
    events, links, hidden, cut = _notes(span, detail, about.names, pseudonym)
    if withheld + hidden:
        detail["spanloom.withheld"] = withheld + hidden
    else:
        del detail["spanloom.withheld"]
    trace = Trace(span.trace_id, SAMPLED, "", {**facts, **about.facts}, 0, about.resource)
    ids = (trace, span.span_id, span.parent, span.remote, text(span.name) or "", kind)
    return (*ids, span.start, max(span.start, span.end), detail, events or None, links or None, span.cut + cut)


def stage(said: Attributes, otel_kind: str, name: str) -> str:
    """Return the stage of a span: what the tables tell, else `request` of a server's or consumer's, or `other`."""
    if not _TELLING.isdisjoint(said):
        for attribute, stages in _KINDS:
            if attribute in said and (found := stages.get(str(said[attribute]))) is not None:
                return found
    for attribute in table.STORE_SYSTEMS:
        if attribute in said and _operation(said, name) in table.STORES.get(str(said[attribute]).lower(), ()):
            return "retrieval"
    if said and table.OPERATIONS.isdisjoint(said):
        for attribute, found in table.EVIDENCE:
            if said.get(attribute):
                return found
    return "request" if otel_kind in ("server", "consumer") else "other"


def _operation(said: Attributes, name: str) -> str:
    """Return what was asked of a store."""
    named = (text(said.get(attribute)) for attribute in table.STORE_OPERATIONS)
    return next((operation.lower() for operation in named if operation), name.rpartition(".")[2])


def provider(said: str) -> str:
    """Return OpenTelemetry's name of a provider."""
    name = said.lower()
    head, _, api = name.partition(".")
    return _PROVIDERS.get(name) or (_PROVIDERS.get(head, head) if api in table.APIS else name)


def _fields(said: Attributes, kind: str) -> tuple[Detail, Facts, set[str]]:
    """Return detail and facts by field, and the names of the attributes that need not be kept beside them."""
    best: dict[str, tuple[int, object, str]] = {}
    named: dict[str, list[str]] = {}
    for name, value in said.items():
        place = _PLACES.get(name)
        if place is None:
            continue
        field, rank, convert = place
        named.setdefault(field, []).append(name)
        if table.ONLY.get(name, kind) != kind:
            continue
        if field in best and best[field][0] < rank:
            continue
        if convert is text and isinstance(value, list | tuple):
            value = value[0] if len(value) == 1 else None
        fit = convert(value)
        if fit not in (None, "", ()):
            best[field] = (rank, fit, name)
    detail: Detail = {}
    facts: Facts = {}
    used = set(named.get("user", ()))  # whoever it is: nobody's attribute
    for field, (_, fit, name) in best.items():
        used.update([other for other in named[field] if said[other] == said[name]])
        if field in _FACTS:
            facts[field] = User(str(fit)) if field == "user" else str(fit)
        else:
            detail[field] = _worded(field, fit)
    if str(detail.get("service_tier")).lower() in table.USUAL_TIERS:
        del detail["service_tier"]
    return detail, facts, used


def _worded(field: str, fit: object) -> object:
    match field, fit:
        case "provider", str():
            return provider(fit)
        case "finish_reasons", tuple():
            return outcome.finish_reasons(fit)
    return fit


def _original(
    span: Received, response: str, detail: Detail, calls: Calls, counts: usage.Counts, sender: str
) -> int | None:
    """Return the id of the span of which this one is an echo."""
    model = detail.get("request_model") or detail.get("response_model") or ""
    ids = (span.scope, span.trace_id, span.span_id, span.parent, span.start, span.end)
    failed = detail["status"] == "error"
    return calls.original(Call(*ids, str(model), response, bool(counts.said), failed, sender))


def _response_id(said: Attributes) -> str:
    for name in table.RESPONSE_IDS:
        if found := text(said.get(name)):
            return found
    answers = (parsed(said.get(name)) for name in table.ANSWERS)
    return next((str(answer["id"]) for answer in answers if isinstance(answer, dict) and answer.get("id")), "")


def _took(span: Received, said: Attributes, detail: Detail, counts: usage.Counts) -> set[str]:
    """Fill the token buckets and the time to first token; return the attributes that need not be kept beside them."""
    used: set[str] = set()
    if counts.said.keys() & {"input", "output"}:
        tokens = usage.disjoint(counts.said, counts.bases, detail.get("provider"))
        detail.update((f"{bucket}_tokens", count) for bucket, count in tokens._asdict().items() if count is not None)
        detail.setdefault("usage", "measured")
        used.update(counts.names)
    first = usage.first_token(span, said)
    if first is not None:
        detail["ttft"] = first
        used.update(name for name in table.FIRST_TOKEN if name in said)
    return used


def _keep(attributes: Attributes, detail: Detail, used: set[str], names: Names, pseudonym: Callable[[str], str]) -> int:
    """Keep what no field took, under its own name; return how many are held back or hashed."""
    withheld = 0
    for name, value in attributes.items():
        leaves = names[name]
        if leaves is False:
            withheld += 1
        elif name not in used:
            said, is_hash = kept(masked(str(value)) if name in STATEMENTS else value, leaves, pseudonym)
            withheld += is_hash
            detail[Name(name) if name in FIELDS else name] = said
    return withheld


def _notes(
    span: Received, detail: Detail, names: Names, pseudonym: Callable[[str], str]
) -> tuple[Events, Links, int, int]:
    """Return events and links; how many of their attributes are withheld, and how many of them are left out."""
    events: Events = []
    links: Links = []
    hidden = chunks = 0
    for name, time, attributes in span.events:
        if name in table.CHUNK_EVENTS:
            chunks += 1
        elif len(events) < MANY:
            said, held = texts(attributes, names, pseudonym, table.DOCUMENT_EVENTS.get(name))
            events.append((text(name) or "", time, said))
            hidden += held
    for trace, at, attributes in span.links[:MANY]:
        said, held = texts(attributes, names, pseudonym)
        links.append((trace, at, said))
        hidden += held
    if chunks:
        detail["spanloom.chunks"] = chunks
    return events, links, hidden, len(span.events) - chunks - len(events) + len(span.links) - len(links)
