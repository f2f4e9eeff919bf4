"""The bounded buffer between the host's threads and the sender: no lock, no wait, safe in signal handlers and
finalizers.

When it fills up, spans lose what matters least: from three quarters on their payloads, from seven eighths on their
events, and where there is no room they are refused. What a span lost is said by its attribute `spanloom.shed`.

Room is counted in units of 1 KiB. A span of n units is put in as itself and n-1 blanks behind it, so the length of the
deque *is* the number of bytes held, rounded up, and nobody has to keep a sum that threads could corrupt.
Several threads that find the last room at the same moment may all take it: the bound is exceeded by at most one span a
thread.
"""

from collections import deque
from collections.abc import Callable
from itertools import count, repeat
from typing import Any, NamedTuple, Protocol

from spanloom.payloads import Payload
from spanloom.trace import Trace

UNIT = 1024
SHED = "spanloom.shed"
"""Attribute that names what a span lost under pressure: input, output, events."""


class Name:
    """Name of an attribute that reads like a field's and is none: a key of the detail that fills no field."""

    __slots__ = ("_said",)

    def __init__(self, said: str) -> None:
        self._said = said

    def __str__(self) -> str:
        return self._said


GIVEN = Name("given")
"""Name in a detail of what the span has learnt of its trace, and no span below it has asked for."""
Detail = dict[Any, object]
"""What was said of a span by name (a text, or a Name): a field's name fills the field, any other is an attribute."""
Texts = tuple[tuple[str, str | Payload], ...]
Events = list[tuple[str, int, Texts]]
Links = list[tuple[str, str, Texts]]
Ended = tuple[Trace, int, int | None, bool, str, str, int, int, Detail, Events | None, Links | None, int]
"""An ended span as the host left it, out of the host's reach, its values not looked at yet: trace, number, the parent's
number, parent is remote, name, kind, start, end (monotonic clock), details by name, events, links, things left out.
"""


class Late(Protocol):
    """An ended span that the sender is still to translate."""

    def __call__(self) -> Ended:
        """Return it translated."""

    def lightened(self, size: int, events: bool, shed: "Shed") -> tuple["Late", int]:
        """Return it without its payloads, as the function of this name does."""


def ended(entry: Ended | Late) -> Ended:
    """Return an entry of the buffer as it is to be sent."""
    return entry if isinstance(entry, tuple) else entry()


def lightened(span: Ended | Late, size: int, events: bool, shed: "Shed") -> tuple[Ended | Late, int]:
    """Return a span without its payloads, and its events if `events` says so, and its size. Counters always stay.

    What is taken is counted in `shed`.
    """
    if not isinstance(span, tuple):
        return span.lightened(size, events, shed)
    if span[0].receipt is not None:  # who waits for word of it can send it again
        return span, size
    trace, number, parent, remote, name, kind, start, end, detail, noted, links, cut = span
    taken = []
    for key in ("input", "output"):
        said = detail.get(key)
        if isinstance(said, Payload):
            del detail[key]
            size -= len(said)
            taken.append(key)
    if taken:
        shed.payloads.add()
    if events and noted:
        size -= sum(len(value) for _, _, pairs in noted for _, value in pairs)
        taken.append("events")
        shed.events.add()
        noted = None
    if not taken:
        return span, size
    detail[SHED] = ",".join(taken)
    return (trace, number, parent, remote, name, kind, start, end, detail, noted, links, cut), size


class Tally:
    """A count that any thread or signal handler may raise without a lock, and one reader reads."""

    def __init__(self) -> None:
        ticks = count()
        self.add: Callable[[], object] = ticks.__next__
        self._reads = 0

    def read(self) -> int:
        """Return how often `add` was called since this object was made."""
        total = self.add()
        assert isinstance(total, int)
        self._reads += 1
        return total - self._reads + 1


class Shed(NamedTuple):
    """Spans that were taken without a part of theirs, by part."""

    payloads: Tally
    events: Tally


class Refusals(NamedTuple):
    """Spans that never got into the buffer, by reason."""

    queue_full: Tally
    disabled: Tally
    shutdown: Tally


class Buffer:
    """Holds ended spans of at most `size` bytes; what finds no room is refused and counted."""

    def __init__(self, size: int) -> None:
        self.refusals = Refusals(Tally(), Tally(), Tally())
        self.shed = Shed(Tally(), Tally())
        self._entries: deque[Ended | Late | None] = deque()
        self._room = size // UNIT
        self._calm = self._room * 3 // 4
        self._reason = "queue_full"

    def put(self, span: Ended | Late, size: int) -> bool:
        """Take a span of about `size` bytes, or count it as refused and return False. Never waits, never raises."""
        if len(self._entries) >= self._calm:
            if len(self._entries) >= self._room:
                getattr(self.refusals, self._reason).add()
                return False
            span, size = lightened(span, size, len(self._entries) >= self._room * 7 // 8, self.shed)
        self._entries.append(span)
        if size > UNIT:
            self._entries.extend(repeat(None, size // UNIT))
        return True

    def take(self) -> Ended | Late | None:
        """Return the oldest span, or None when there is none. For the sender alone."""
        entries = self._entries
        while entries:
            span = entries.popleft()
            if span is not None:
                return span
        return None

    def fits(self, size: int) -> bool:
        """Say whether there is room for about `size` bytes more."""
        return len(self._entries) + size // UNIT < self._room

    def close(self, reason: str) -> None:
        """Refuse everything from now on for `reason`: disabled or shutdown."""
        self._reason = reason
        self._room = self._calm = -1

    def __len__(self) -> int:
        """Return the units held."""
        return len(self._entries)
