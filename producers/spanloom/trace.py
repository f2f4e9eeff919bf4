"""What the spans of one trace share in this process: the id, what travels on to other processes, the clock and the
facts.
"""

from collections import Counter
from collections.abc import Callable
from time import perf_counter_ns, time_ns
from typing import NamedTuple

from spanloom import ids
from spanloom.secrecy import User

SAMPLED, RANDOM = 0x01, 0x02


Facts = dict[str, str | User]
"""By name; `user` is a User, all others are texts."""
Given = dict[str, str | User]
"""Facts as they were noted; a user's id may still be a text."""


class Resource(NamedTuple):
    """Who made a span, where that is not this process itself; empty: as this process says."""

    service: str = ""
    environment: str = ""
    host: str = ""
    version: str = ""
    sdk: str = ""


class Receipt:
    """What became of the spans of one request: `done` is called, once, when the fate of all `spans` is known.

    Settled by the sender's thread alone.
    """

    def __init__(self, spans: int, done: Callable[["Receipt"], None]) -> None:
        self.lost: Counter[str] = Counter()
        """Spans that are not in the log, by reason."""
        self._open = spans
        self._done = done

    def settle(self, spans: int, reason: str | None = None) -> None:
        """Note that spans are in the log, or why they are not."""
        if reason is not None:
            self.lost[reason] += spans
        self._open -= spans
        if self._open == 0:
            self._done(self)


class Trace:
    """Immutable but for `encoded`, where the sender keeps the bytes that all these spans have in common, and for when
    facts that were only noted are looked at: mostly by the sender.

    `facts` are request_id, session_id, user, tenant, experiment, run_id, dataset_id, prompt_id and prompt_version. A
    span that learns one gets a Trace of its own, which its later children inherit: facts flow down, never up or across.

    Spans are timed by the monotonic clock; `anchor`, added to it, is epoch nanoseconds. So a wall clock that is set
    bends no duration, and all spans of the trace agree on when. `resource` is None for spans of this process's own;
    `receipt` for those whose sender waits for no word.
    """

    __slots__ = ("_given", "_id", "_known", "anchor", "encoded", "flags", "receipt", "resource", "state")

    def __init__(
        self,
        id: str | int,
        flags: int,
        state: str,
        facts: Facts,
        anchor: int | None = None,
        resource: Resource | None = None,
    ) -> None:
        self._id = id
        self.flags = flags
        self.state = state
        self._known = facts
        self._given: tuple[Given, ...] = ()
        self.anchor = time_ns() - perf_counter_ns() if anchor is None else anchor
        self.resource = resource
        self.receipt: Receipt | None = None
        self.encoded: object = None

    @property
    def id(self) -> str:
        """The id: 32 lower-case hexadecimal characters."""
        if type(self._id) is int:
            self._id = ids.written(self._id)
        return self._id  # type: ignore[return-value]

    @property
    def facts(self) -> Facts:
        """What is known of the trace."""
        given = self._given
        if given:
            self._known = learnt(self._known, *given)
            self._given = ()  # last: who sees this sees what is known
        return self._known

    def knowing(self, given: Given) -> "Trace":
        """Return the same trace with more facts; `given` is the trace's from now on."""
        before = self._given  # first: what it no longer holds is known
        made = Trace(self._id, self.flags, self.state, self._known, self.anchor, self.resource)
        made._given = (*before, given)
        return made


def learnt(known: Facts, *given: Given) -> Facts:
    """Return what is known, and what was noted later."""
    facts = known.copy()
    for notes in given:
        user = notes.get("user")
        if isinstance(user, str):  # for all that hold these notes: hashed once
            notes["user"] = User(user)
        facts |= notes
    return facts


def begin(facts: Facts) -> Trace:
    """Start a new trace; its id is random, and says so."""
    return Trace(ids.bits(128) or 1, SAMPLED | RANDOM, "", facts)
