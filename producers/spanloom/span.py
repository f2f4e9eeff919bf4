"""A span: one timed step of a request, and where in the trace it stands. What it is told is in `said`.

Nothing here raises because of a value, waits, or takes a lock.
"""

from collections.abc import Mapping
from contextvars import ContextVar, Token
from time import perf_counter_ns
from types import TracebackType
from typing import Self

from spanloom import ids, process
from spanloom.buffer import GIVEN
from spanloom.fields import MANY, integer, text
from spanloom.payloads import Payload
from spanloom.said import ENTRY, SIZE, Said
from spanloom.secrecy import pseudonym
from spanloom.trace import Trace, begin


class Remote:
    """A parent in another process, as `extract` found it; `number` is its span id, None for the trace as a whole."""

    __slots__ = ("number", "trace")

    def __init__(self, trace: Trace, number: int | None) -> None:
        self.trace = trace
        self.number = number


class Nearby(Remote):
    """A parent in this process that another library made."""

    __slots__ = ()


class Span(Said):
    """One step. It starts when made, is current within `with`, and ends with it (or by `end()`).

    What is set after its end is forgotten. Setters may be called from any thread.
    """

    __slots__ = ("_life", "_parent", "_remote", "_start", "_token", "_trace", "kind", "name", "number")

    def __init__(
        self,
        name: str,
        kind: str,
        parent: "Span | Remote | None" = None,
        attributes: Mapping[str, object] | None = None,
        model: str | None = None,
    ) -> None:
        self._detail = {} if model is None else {"request_model": model}
        self._size = SIZE
        self._given = None
        if attributes is not None:
            self.set_attributes(attributes)
        above = _current.get() if parent is None else parent
        self._parent: int | None = None
        self._remote = False
        if above is None:
            ids.awake()
            self._trace: Trace = begin(process.facts())
        else:
            self._trace = above.trace
            self._parent = above.number
            if type(above) is Remote:
                ids.awake()
                self._remote = above.number is not None
        self.number: int = ids.bits(64) or 1
        self.name = name
        self.kind = kind
        self._events = None
        self._links = None
        self._cut = 0
        self._life: object = ids.life
        self._token: Token[Span | None] | None = None
        self._start = perf_counter_ns()

    @property
    def trace(self) -> Trace:
        """The trace, with what this span knows of it: what the spans below inherit."""
        given = self._given
        if given is not None:
            self._trace = self._trace.knowing(given)  # first: another thread may start a span below at this moment
            if self._given is given:
                self._given = None
        return self._trace

    @property
    def id(self) -> str:
        """The span's id: 16 lower-case hexadecimal characters."""
        return f"{self.number:016x}"

    @property
    def trace_id(self) -> str:
        """The trace's id: 32 lower-case hexadecimal characters."""
        return self.trace.id

    @property
    def parent(self) -> int | None:
        """The parent's id as a number; None of a root."""
        return self._parent

    @property
    def start(self) -> int:
        """When the span began; epoch nanoseconds."""
        return self.trace.anchor + self._start

    @property
    def request_id(self) -> str | None:
        """The request's X-Request-ID, where one is known."""
        known = self.trace.facts.get("request_id")
        return known if isinstance(known, str) else None

    @property
    def ended(self) -> bool:
        """Whether the span is over."""
        return self._life is None

    def end(self, *, time: int | None = None) -> None:
        """End the span, now or at `time` (epoch nanoseconds), and hand it to the sender; only the first call counts.

        A span that was open when its process forked ends in the parent; its copy in the child is nobody's.
        """
        end = perf_counter_ns() if time is None else time - self.trace.anchor
        life, self._life = self._life, None
        if life is not ids.life:
            return
        detail, self._detail = self._detail, {}
        events, self._events = self._events, None
        if self._given is not None:
            detail[GIVEN] = self._given
        process.offer(
            (
                self._trace,
                self.number,
                self._parent,
                self._remote,
                self.name,
                self.kind,
                self._start,
                end,
                detail,
                events,
                self._links,
                self._cut,
            ),
            self._size,
        )

    def close(self, error: BaseException | None = None) -> None:
        """End the span with what ended its work: an error, unless it only says that nobody wants the rest."""
        if error is not None and not isinstance(error, GeneratorExit):
            self._failed(error)
        self.end()

    def __enter__(self) -> Self:
        self._token = _current.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        at: TracebackType | None = None,
    ) -> None:
        if self._token is not None:
            leave(self._token)
        if error is None:
            self.end()
        else:
            self.close(error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, at)

    def mark_first_token(self) -> None:
        """Note that the first token of the answer arrives now; only the first call counts."""
        self._detail.setdefault("ttft", perf_counter_ns() - self._start)

    def add_event(self, name: str, attributes: Mapping[str, object] | None = None, *, time: int | None = None) -> None:
        """Note that something happened, now or at `time` (epoch nanoseconds)."""
        at = integer(time) if time is not None else self.trace.anchor + perf_counter_ns()
        if self._events is None:
            self._events = []
        if at is None or len(self._events) >= MANY:
            self._cut += 1
            return
        self._events.append((text(name) or "", at, self._texts(attributes)))
        self._size += 2 * ENTRY

    def payload(self, *, input: str | None = None, output: str | None = None) -> None:
        """Keep keyed hashes of what went in and came out, so that equal ones can be told.

        The texts stay here, unless they were asked for (`SPANLOOM_PAYLOADS`): then they leave sanitized.
        """
        for name, said in (("input", text(input, 2**31)), ("output", text(output, 2**31))):
            if said is not None:
                self._note(f"{name}_hash", pseudonym(said))
                if process.wants_payloads(self.trace):
                    kept = self._detail[name] = Payload(said)
                    self._size += ENTRY + len(kept)


_current: ContextVar[Span | None] = ContextVar("spanloom.span", default=None)


def span(
    name: str,
    *,
    event_type: str = "other",
    model: str | None = None,
    attributes: Mapping[str, object] | None = None,
    parent: Span | Remote | None = None,
) -> Span:
    """Start a span below the current one, or below `parent` (a span, or what `extract` returned).

    `event_type` is the stage: request, queue, preproc, prompt, retrieval, rerank, llm, embedding, tool, postproc,
    safety, feedback or other. `model` is the model asked for. Names in `attributes` that are fields fill them (tenant,
    session_id, user, prompt_id, retriever_k, temperature, …).
    """
    return Span(name, event_type, parent, attributes, model)


def current_span() -> Span | None:
    """Return the span this code runs in, or None."""
    return _current.get()


def enter(current: Span | None) -> Token[Span | None]:
    """Make a span current; `leave` undoes it."""
    return _current.set(current)


def leave(token: Token[Span | None]) -> None:
    """Make current what was before `enter`."""
    try:  # noqa: SIM105 - `suppress` costs ten times as much, and this is in every span's way
        _current.reset(token)
    except (
        ValueError
    ):  # the code has moved to another context since (a closed async generator): there, nothing was entered
        pass
