"""A span: one timed step of a request, what is known about it, and where in the trace it stands.

Nothing here raises because of a value, waits, or takes a lock: a value that cannot be used is cut, or kept as an
attribute.
"""

from collections.abc import Callable, Iterable, Mapping, Sized
from contextlib import suppress
from contextvars import ContextVar, Token
from functools import wraps
from time import perf_counter_ns, time_ns
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from spanloom import fields, ids, process
from spanloom.fields import DETAILS, FACTS, LONG, MANY, SHORT, Document, integer, number, text
from spanloom.secrecy import pseudonym
from spanloom.trace import Trace, begin

P = ParamSpec("P")
R = TypeVar("R")

_KINDS = frozenset(fields.KINDS)
_SIZE = 768
"""Bytes of a span about which nothing is said."""
_ENTRY = 96
"""Bytes of one more thing said, beside the text itself."""


class Remote:
    """A parent in another process, as `extract` found it; also the parent that feedback names."""

    __slots__ = ("id", "trace")

    def __init__(self, of: Trace, id: str | None) -> None:
        self.trace = of
        self.id = id


class Span:
    """One step. It starts when made, becomes current within `with`, and ends with it (or by `end()`).

    What is set after its end is forgotten. All setters may be called from any thread.
    """

    __slots__ = (
        "_detail",
        "_life",
        "_size",
        "_start",
        "_tick",
        "_token",
        "_trace",
        "id",
        "kind",
        "name",
        "parent_id",
        "remote",
    )

    def __init__(self, name: str, kind: str, parent: "Span | Remote | None") -> None:
        above = parent or _current.get()
        self._trace: Trace
        self.parent_id: str | None = None
        self.remote = False
        if type(above) is Span:
            self._trace, self.parent_id = above._trace, above.id
        else:
            ids.awake()
            if above is None:
                self._trace = begin(process.facts())
            else:
                self._trace, self.parent_id, self.remote = above.trace, above.id, above.id is not None
        self.id: str = ids.span_id()
        self.name = name if type(name) is str and len(name) <= SHORT else text(name) or ""
        self._detail: dict[str, Any] = {}
        self._size = _SIZE
        self.kind = kind
        if kind not in _KINDS:
            self.kind = "other"
            self.set_attributes({"event_type": kind})
        self._life: object = ids.life
        self._token: Token[Span | None] | None = None
        self._start = time_ns()
        self._tick = perf_counter_ns()

    @property
    def trace_id(self) -> str:
        """The trace's id: 32 lower-case hexadecimal characters."""
        return self._trace.id

    @property
    def request_id(self) -> str | None:
        """The request's X-Request-ID, where one is known."""
        return self._trace.facts.get("request_id")

    @property
    def trace(self) -> Trace:
        """What the spans of the trace share in this process."""
        return self._trace

    @property
    def ended(self) -> bool:
        """Whether the span is over."""
        return self._life is None

    def end(self) -> None:
        """End the span and hand it to the sender; only the first call counts.

        A span that was open when its process forked ends in the parent; its copy in the child is nobody's.
        """
        life, self._life = self._life, None
        if life is not ids.life:
            return
        end = self._start + perf_counter_ns() - self._tick  # by the monotonic clock: a set wall clock bends no duration
        detail, self._detail = self._detail, {}
        ended = (self._trace, self.id, self.parent_id, self.remote, self.name, self.kind, self._start, end, detail)
        process.offer(ended, self._size)

    def close(self, error: BaseException | None = None) -> None:
        """End the span with what ended its work: an error, unless it only says that nobody wants the rest."""
        if error is not None:
            self._failed(error)
        self.end()

    def __enter__(self) -> Self:
        self._token = _current.set(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        leave(self._token)
        self.close(error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, at)

    def set_attributes(self, attributes: Mapping[str, object]) -> None:
        """Say more by name: a field's name fills the field, any other is an attribute (its value as text).

        `user` and `user_id` are kept as keyed hashes only.
        """
        try:
            for key, value in attributes.items():
                self._set(key, value)
        except Exception:  # a mapping of the host's own making may raise anything
            process.complain("attributes= is no mapping of names to values", type(attributes).__name__)

    def set_attribute(self, key: str, value: object) -> None:
        """Say one thing more by name, as `set_attributes` does."""
        self._set(key, value)

    def _set(self, key: str, value: object) -> None:
        if value is None:
            return
        key = fields.ALIASES.get(key, key)
        if key in FACTS:
            self.set_context(**{key: value})
        elif key in ("user_id", "enduser.id"):
            self.set_context(user=value)
        elif (convert := DETAILS.get(key)) and (said := convert(value)) is not None:
            self._size += _ENTRY + (len(said) * _ENTRY if type(said) in (tuple, dict, str) else 0)
            self._detail[key] = said
        else:
            self._attribute(key, value)

    def _attribute(self, key: str, value: object) -> None:
        name, said = text(key, SHORT), text(value, LONG)
        if name is None or said is None:
            return
        attributes = self._detail.get("attributes")
        if attributes is None:
            attributes = self._detail["attributes"] = {}
        if len(attributes) < MANY or name in attributes:
            attributes[name] = said
            self._size += _ENTRY + len(name) + len(said)
        else:
            self._cut(1)

    def _cut(self, things: int) -> None:
        """Remember that something was left out, in the attribute `spanloom.cut`: nothing is lost silently."""
        if things:
            self._detail["cut"] = self._detail.get("cut", 0) + things

    def set_context(
        self,
        *,
        request_id: object = None,
        session_id: object = None,
        user: object = None,
        tenant: object = None,
        experiment: object = None,
        run_id: object = None,
        dataset_id: object = None,
        prompt_id: object = None,
        prompt_version: object = None,
    ) -> None:
        """Say who and what the span is for; spans started below it from now on inherit it. The user is hashed."""
        given = {
            "request_id": request_id,
            "session_id": session_id,
            "user": None if (name := text(user)) is None else pseudonym(name),
            "tenant": tenant,
            "experiment": experiment,
            "run_id": run_id,
            "dataset_id": dataset_id,
            "prompt_id": prompt_id,
            "prompt_version": prompt_version,
        }
        facts = {key: said for key, value in given.items() if (said := text(value)) is not None}
        self._trace = self._trace.knowing(facts)
        self._size += sum(_ENTRY + len(said) for said in facts.values())

    def set_model(
        self,
        response: str | None = None,
        *,
        request: str | None = None,
        version: str | None = None,
        provider: str | None = None,
        service_tier: str | None = None,
    ) -> None:
        """Say which model answered, which was asked for, and whose it is (OpenTelemetry's gen_ai.provider.name)."""
        self._say(
            response_model=response,
            request_model=request,
            model_version=version,
            provider=provider,
            service_tier=service_tier,
        )

    def set_tokens(
        self,
        *,
        input: int | None = None,
        output: int | None = None,
        cache_read: int | None = None,
        cache_write: int | None = None,
        reasoning: int | None = None,
        usage: str = "measured",
    ) -> None:
        """Say the tokens in five *disjoint* buckets, and whether they were measured or estimated.

        `input` is without what was read from or written to a cache, `output` without reasoning. Providers that report
        inclusive numbers (OpenAI): subtract first.
        """
        self._say(
            input_tokens=input,
            output_tokens=output,
            cache_read_tokens=cache_read,
            cache_write_tokens=cache_write,
            reasoning_tokens=reasoning,
            usage=usage,
        )

    def set_prompt(
        self,
        id: str | None = None,
        version: str | None = None,
        *,
        segments: Mapping[str, int] | None = None,
        truncated: bool | None = None,
    ) -> None:
        """Say which prompt was used (spans below inherit it) and its tokens by segment.

        Segments are system, instructions, few_shot, context and user; another name becomes an attribute. `truncated`:
        context did not fit and was cut.
        """
        if id is not None or version is not None:
            self.set_context(prompt_id=id, prompt_version=version)
        self._say(context_truncated=truncated)
        if segments:
            self.set_attributes({f"{name}_tokens": count for name, count in segments.items()})

    def set_documents(self, documents: Iterable[Document], *, k: int | None = None) -> None:
        """Say what was retrieved, best first, at most 100: ids, or (id, score), or (id, score, cited), or mappings with
        these keys.

        `k` is how many were asked for.
        """
        found = fields.documents(documents)
        if found is None:
            process.complain("set_documents() was given no documents", type(documents).__name__)
            return
        self._detail["documents"] = found
        self._size += sum(_ENTRY + len(document[0]) for document in found)
        if isinstance(documents, Sized):  # an iterator does not know how many there were
            self._cut(max(0, len(documents) - fields.DOCUMENTS))
        self._say(retriever_k=k)

    def set_tool(self, name: str) -> None:
        """Say which tool was called."""
        self._say(tool_name=name)

    def block(self, reason: str) -> None:
        """Say that a safety check blocked the request, and why in one low-cardinality word."""
        self._say(block_reason=reason)

    def mark_first_token(self) -> None:
        """Note that the first token of the answer arrives now; only the first call counts."""
        if "ttft" not in self._detail:
            self._detail["ttft"] = perf_counter_ns() - self._tick

    def set_status(self, status: str, error_type: str | None = None) -> None:
        """Set the status (unset, ok or error) and, for an error, its low-cardinality type."""
        self._say(status=status, error_type=error_type)

    def add_score(self, name: str, value: float) -> None:
        """Add a quality number (hit_at_k, context_precision, toxicity …); the same name again replaces it."""
        said, score = text(name), number(value)
        if said is None or score is None:
            return self._attribute(f"score.{said}", value)
        scores = self._detail.setdefault("scores", {})
        if len(scores) < MANY or said in scores:
            scores[said] = score
            self._size += _ENTRY + len(said)
        else:
            self._cut(1)
        return None

    def add_event(self, name: str, attributes: Mapping[str, object] | None = None, *, time: int | None = None) -> None:
        """Note that something happened, now or at `time` (epoch nanoseconds)."""
        at = integer(time) if time is not None else self._start + perf_counter_ns() - self._tick
        events = self._detail.setdefault("events", [])
        if len(events) < MANY and at is not None:
            events.append((text(name) or "", at, self._texts(attributes)))
            self._size += _ENTRY
        else:
            self._cut(1)

    def add_link(self, trace_id: str, span_id: str, attributes: Mapping[str, object] | None = None) -> None:
        """Point to a span of another trace."""
        links = self._detail.setdefault("links", [])
        if len(links) < MANY:
            links.append((text(trace_id) or "", text(span_id) or "", self._texts(attributes)))
            self._size += _ENTRY
        else:
            self._cut(1)

    def record_error(self, error: BaseException | str) -> None:
        """Set status error and its type: an exception's class, or a low-cardinality word. No message is kept."""
        self._say(status="error", error_type=error if isinstance(error, str) else _type_name(error))

    def payload(self, *, input: str | None = None, output: str | None = None) -> None:
        """Keep keyed hashes of what went in and came out, so that equal ones can be told; the texts stay here."""
        for name, said in (("input_hash", text(input, 2**31)), ("output_hash", text(output, 2**31))):
            if said is not None:
                self._detail[name] = pseudonym(said)
                self._size += _ENTRY

    def _say(self, **given: object) -> None:
        for key, value in given.items():
            if value is not None:
                self._set(key, value)

    def _texts(self, attributes: Mapping[str, object] | None) -> tuple[tuple[str, str], ...]:
        if not attributes:
            return ()
        try:
            pairs = [(text(key), text(value, LONG)) for key, value in attributes.items()]
        except Exception:
            return ()
        said = tuple((key, value) for key, value in pairs[:MANY] if key is not None and value is not None)
        self._size += sum(_ENTRY + len(key) + len(value) for key, value in said)
        return said

    def _failed(self, error: BaseException) -> None:
        if isinstance(error, GeneratorExit):
            return
        if _type_name(error) == "CancelledError":
            self._detail.setdefault("error_type", "cancelled")
        elif not (isinstance(error, SystemExit) and not error.code):
            self.record_error(error)


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
    made = Span(name, event_type, parent)
    if model is not None:
        made._set("request_model", model)
    if attributes:
        made.set_attributes(attributes)
    return made


def current_span() -> Span | None:
    """Return the span this code runs in, or None."""
    return _current.get()


def enter(current: Span | None) -> Token[Span | None]:
    """Make a span current; `leave` undoes it."""
    return _current.set(current)


def leave(token: Token[Span | None] | None) -> None:
    """Make current what was before `enter`, also when the code has moved to another context since (a closed async
    generator).
    """
    if token is None:
        return
    with suppress(ValueError):  # of another context: there, nothing was entered
        _current.reset(token)


def carry(function: Callable[P, R]) -> Callable[P, R]:
    """Wrap a function for a plain thread or executor, so that it runs in the span that is current now."""
    carried = _current.get()

    @wraps(function)
    def carrying(*args: P.args, **kwargs: P.kwargs) -> R:
        token = _current.set(carried)
        try:
            return function(*args, **kwargs)
        finally:
            leave(token)

    return carrying


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
