"""A model call that several instrumentations traced counts once.

Anthropic's SDK makes spans of its own inside or beside an instrumentor's; an instrumentor of a framework surrounds that
of a client. The first span of a call that ends is the call, the others are its echoes. Pure: time is the spans' own.
"""

from collections import OrderedDict
from typing import NamedTuple, TypeVar

K = TypeVar("K")

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
    source: str = ""
    """Who made the span, as far as it is known: tenant and service."""


class Calls:
    """The calls seen lately, at most `remembered`; not for several threads at once."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._by_response: OrderedDict[tuple[str, str], Call] = OrderedDict()
        self._by_parent: OrderedDict[tuple[str, int], Call] = OrderedDict()
        self._remembered = remembered

    def original(self, call: Call) -> int | None:
        """Return the id of the span that `call` is an echo of; None: it is the call itself, and is remembered.

        An echo is of another instrumentation and of the same time. Either it has the same answer, in the same trace (or
        both are roots, and of one sender); or it is the direct parent of the call; or it is a sibling, and both failed
        without an answer. Where only the echo reports tokens it is no echo: a call counted twice is less wrong than
        tokens not counted.
        """
        original = self._echoed(call)
        if original is not None:
            call = call._replace(span_id=original)  # an echo may have an echo around it
        elif call.response:
            for key in _places(call):
                self._keep(self._by_response, key, call)
        if call.parent is not None:
            self._keep(self._by_parent, (call.trace_id, call.parent), call)
        return original

    def _echoed(self, call: Call) -> int | None:
        found = (self._by_response.get(key) for key in _places(call)) if call.response else ()
        known = next((one for one in found if one is not None and _same_time(one, call)), None)
        below = self._by_parent.get((call.trace_id, call.span_id))
        beside = None if call.parent is None else self._by_parent.get((call.trace_id, call.parent))
        if known is not None:
            return known.span_id
        if below is not None and _surrounds(call, below):
            return below.span_id
        if beside is not None and _surrounds(call, beside) and _unanswered(call) and _unanswered(beside):
            return beside.span_id
        return None

    def _keep(self, calls: OrderedDict[K, Call], key: K, call: Call) -> None:
        calls[key] = call
        calls.move_to_end(key)
        if len(calls) > self._remembered:
            calls.popitem(last=False)


def _places(call: Call) -> list[tuple[str, str]]:
    """Return where a call is remembered by its answer: in its trace, a root also with its sender."""
    places = [(call.trace_id, call.response)]
    return places if call.parent is not None else [*places, (call.source, call.response)]


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
