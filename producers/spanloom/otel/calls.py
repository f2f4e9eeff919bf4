"""A model call that several instrumentations traced counts once.

Anthropic's SDK makes spans of its own inside or beside an instrumentor's; an instrumentor of a framework surrounds that
of a client. The call is the span that we made of it ourselves, else the first one that ends; the others are its echoes.
Pure: time is the spans' own.
"""

from collections import OrderedDict, deque
from typing import NamedTuple, TypeVar

from spanloom.buffer import Ended, Name

K = TypeVar("K")

RESPONSE_ID = "gen_ai.response.id"
"""Attribute of a call: the provider's id of the answer."""
SCOPE, OURS = "otel.scope.name", "spanloom"
"""Attribute that names who made a span, and what it says of a span that our own instrumentation made."""
ECHO_OF = "spanloom.echo_of"
"""Attribute of an echo: the id of the span that counts."""
REMEMBERED = 4096
"""Calls whose ids are kept: an echo ends within seconds of its call."""


class Call(NamedTuple):
    """What identifies a call. `response`: the provider's id of the answer; empty: not known."""

    scope: str
    trace_id: str
    span_id: int
    parent: int | None
    start: int
    end: int
    model: str
    response: str
    counted: bool
    """Whether the span reports tokens."""
    failed: bool
    sender: str = ""
    """Who sent the span, where spans of several come together."""


class Calls:
    """The calls seen lately, at most `remembered`; but for `announce` not for several threads at once."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._by_response: OrderedDict[tuple[str, str], Call] = OrderedDict()
        self._by_parent: OrderedDict[tuple[str, int], Call] = OrderedDict()
        self._announced: deque[Call] = deque(maxlen=remembered)
        self._remembered = remembered

    def announce(self, call: Call) -> None:
        """Say that a span of our own, which has not ended yet, is the one that counts. From any thread."""
        self._announced.append(call)

    def original(self, call: Call) -> int | None:
        """Return the id of the span that `call` is an echo of; None: it is the call itself, and is remembered.

        An echo is of another instrumentation and of the same time. Either it has the same answer, in the same trace (or
        both are roots, and of one sender); or it is the direct parent of the call; or it is a sibling, and both failed
        without an answer. Where only the echo reports tokens it is no echo: a call counted twice is less wrong than
        tokens not counted.
        """
        while self._announced:
            self._answered(self._announced.popleft())
        original = self._echoed(call)
        if original is not None:
            call = call._replace(span_id=original)  # an echo may have an echo around it
        elif call.response:
            self._answered(call)
        if call.parent is not None:
            self._keep(self._by_parent, (call.trace_id, call.parent), call)
        return original

    def _echoed(self, call: Call) -> int | None:
        places = _places(call) if call.response else ()
        found = [one for place in places if (one := self._by_response.get(place)) is not None]
        if any((one.trace_id, one.span_id) == (call.trace_id, call.span_id) for one in found):
            return None
        known = next((one for one in found if _same_time(one, call)), None)
        below = self._by_parent.get((call.trace_id, call.span_id))
        beside = None if call.parent is None else self._by_parent.get((call.trace_id, call.parent))
        if known is not None:
            return known.span_id
        if below is not None and _surrounds(call, below):
            return below.span_id
        if beside is not None and _surrounds(call, beside) and _unanswered(call) and _unanswered(beside):
            return beside.span_id
        return None

    def _answered(self, call: Call) -> None:
        for key in _places(call):
            self._keep(self._by_response, key, call)

    def _keep(self, calls: OrderedDict[K, Call], key: K, call: Call) -> None:
        calls[key] = call
        calls.move_to_end(key)
        if len(calls) > self._remembered:
            calls.popitem(last=False)


def once(span: Ended, calls: Calls) -> Ended:
    """Return a span of our own as it is, or as the echo of a call that another instrumentation's span has counted.

    An echo is of kind `other`, and what it says of usage and first token fills no fields. A span that knows no answer
    is compared only where it is of one call alone (its scope says so); what was translated is looked at already.
    """
    trace, number, parent, remote, name, kind, start, end, detail, events, links, cut = span
    response = detail.get(RESPONSE_ID)
    if kind != "llm" or trace.resource is not None or not (response or detail.get(SCOPE) == OURS):
        return span
    counted = not detail.keys().isdisjoint(_USAGE)
    model = str(detail.get("request_model") or detail.get("response_model") or "")
    failed = detail.get("status") == "error" or detail.get("error_type") == "cancelled"
    times = trace.anchor + start, trace.anchor + end
    original = calls.original(Call(OURS, trace.id, number, parent, *times, model, str(response or ""), counted, failed))
    if original is None:
        return span
    said = {Name(key) if key in _USAGE or key in ("usage", "ttft") else key: value for key, value in detail.items()}
    said[ECHO_OF] = f"{original:016x}"
    return (trace, number, parent, remote, name, "other", start, end, said, events, links, cut)


_USAGE = frozenset(f"{bucket}_tokens" for bucket in ("input", "output", "cache_read", "cache_write", "reasoning"))


def _places(call: Call) -> list[tuple[str, str]]:
    """Return where a call is remembered by its answer: in its trace, a root also with its sender."""
    places = [(call.trace_id, call.response)]
    return places if call.parent is not None else [*places, (call.sender, call.response)]


def _same_time(first: Call, then: Call) -> bool:
    return _may_echo(first, then) and first.start <= then.end and then.start <= first.end


def _surrounds(outer: Call, inner: Call) -> bool:
    same = not (outer.response and inner.response) or outer.response == inner.response
    models = not (outer.model and inner.model) or outer.model == inner.model
    return _may_echo(inner, outer) and same and models and outer.start <= inner.start and inner.end <= outer.end


def _unanswered(call: Call) -> bool:
    return call.failed and not call.response


def _may_echo(first: Call, then: Call) -> bool:
    return first.scope != then.scope and (first.counted or not then.counted)
