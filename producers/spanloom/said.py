"""What a span is told while it runs: fields, attributes, facts of the trace, links, errors.

Nothing here raises because of a value, waits, or takes a lock. The host's thread only notes what it is told; the sender
looks at it: a value that does not fit its field is kept as an attribute, what is too long is cut.
"""

from collections.abc import Iterable, Mapping, Sized

from spanloom import fields
from spanloom.buffer import Detail, Events, Links, Texts
from spanloom.complaints import complain
from spanloom.fields import COMPOUND, FACTS, LONG, MANY, SHORT, Document, number, text
from spanloom.payloads import Payload
from spanloom.trace import Given

SIZE = 768
"""Bytes of a span about which nothing is said."""
ENTRY = 96
"""Bytes of one more thing said, beside the text itself."""
_NUMBERS = frozenset((int, float, bool))


class Said:
    """What is known of a span, and about how many bytes that takes. Setters may be called from any thread.

    The span itself gives these their first values, in its one `__init__`: a second would cost every span a call.
    """

    __slots__ = ("_cut", "_detail", "_events", "_given", "_links", "_size")

    _cut: int
    _detail: Detail
    _events: Events | None
    _given: Given | None
    _links: Links | None
    _size: int

    def says(self, name: str) -> bool:
        """Say whether something was said under this name, as a field or an attribute."""
        return name in self._detail

    def set_attributes(self, attributes: Mapping[str, object]) -> None:
        """Say more by name: a field's name fills the field, any other is an attribute (its value as text).

        The facts (tenant, session_id, user, …) are inherited as by `set_context`. None says nothing.
        """
        detail, size = self._detail, 0
        facts: dict[str, object] = {}
        try:
            for key, value in attributes.items():
                if key in FACTS:
                    facts[FACTS[key]] = value
                    continue
                kind = type(value)
                if kind is str:
                    size += len(value)  # type: ignore[arg-type]
                elif kind not in _NUMBERS:
                    value = COMPOUND.get(key, _said)(value)
                    if value is None:
                        continue
                    size += ENTRY * len(value) if isinstance(value, Sized) else 0
                detail[key] = value
                size += ENTRY
        except Exception:  # a mapping of the host's own making may raise anything
            complain("attributes= is no mapping of names to values", type(attributes).__name__)
        self._size += size
        if facts:
            self._learn(facts)

    def set_attribute(self, key: str, value: object) -> None:
        """Say one thing more by name, as `set_attributes` does."""
        self.set_attributes({key: value})

    def set_context(
        self,
        *,
        request_id: str | None = None,
        session_id: str | None = None,
        user: str | None = None,
        tenant: str | None = None,
        experiment: str | None = None,
        run_id: str | None = None,
        dataset_id: str | None = None,
        prompt_id: str | None = None,
        prompt_version: str | None = None,
    ) -> None:
        """Say who and what the span is for; spans started below it from now on inherit it. The user is hashed."""
        self._learn(
            {
                "request_id": request_id,
                "session_id": session_id,
                "user": user,
                "tenant": tenant,
                "experiment": experiment,
                "run_id": run_id,
                "dataset_id": dataset_id,
                "prompt_id": prompt_id,
                "prompt_version": prompt_version,
            }
        )

    def _learn(self, facts: Mapping[str, object]) -> None:
        """Note facts for the spans below, should there be any, and for the sender."""
        before = self._given
        given: Given = {} if before is None else before.copy()
        for name, value in facts.items():
            said = value if type(value) is str and len(value) <= SHORT else text(value)
            if said is not None:
                given[name] = said
        self._given = given
        self._size += ENTRY * len(given)

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
        detail = self._detail
        if response is not None:
            detail["response_model"] = response
        if request is not None:
            detail["request_model"] = request
        if version is not None:
            detail["model_version"] = version
        if provider is not None:
            detail["provider"] = provider
        if service_tier is not None:
            detail["service_tier"] = service_tier
        self._size += 3 * ENTRY

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
        detail = self._detail
        detail["usage"] = usage
        if input is not None:
            detail["input_tokens"] = input
        if output is not None:
            detail["output_tokens"] = output
        if cache_read is not None:
            detail["cache_read_tokens"] = cache_read
        if cache_write is not None:
            detail["cache_write_tokens"] = cache_write
        if reasoning is not None:
            detail["reasoning_tokens"] = reasoning
        self._size += 4 * ENTRY

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
            self._learn({"prompt_id": id, "prompt_version": version})
        if truncated is not None:
            self._note("context_truncated", truncated)
        if segments is not None:
            fields.note_tokens(segments, self._detail)
            self._size += len(segments) * ENTRY if type(segments) is dict else fields.MANY * ENTRY

    def set_documents(self, documents: Iterable[Document], *, k: int | None = None) -> None:
        """Say what was retrieved, best first, at most 100.

        A document is an id, or (id, score), or (id, score, cited), or a mapping with these keys. `k`: how many were
        asked for.
        """
        found, size = fields.held(documents)
        if found is None:
            complain("set_documents() was given no documents", type(documents).__name__)
            return
        self._detail["documents"] = found
        self._size += size
        if len(found) == fields.DOCUMENTS and isinstance(documents, Sized):  # an iterator does not know how many it had
            self._cut += len(documents) - fields.DOCUMENTS
        if k is not None:
            self._detail["retriever_k"] = k

    def set_finish_reasons(self, *reasons: str) -> None:
        """Say why the model stopped, one word a choice (stop, length, content_filter, tool_call, error)."""
        if len(reasons) != 1 or type(reasons[0]) is not str:
            reasons = fields.texts(reasons) or ()
        self._detail["finish_reasons"] = reasons
        for reason in reasons:
            self._size += ENTRY + len(reason)

    def set_tool(self, name: str) -> None:
        """Say which tool was called."""
        self._note("tool_name", name)

    def block(self, reason: str) -> None:
        """Say that a safety check blocked the request, and why in one low-cardinality word."""
        self._note("block_reason", reason)

    def set_status(self, status: str, error_type: str | None = None) -> None:
        """Set the status (unset, ok or error) and, for an error, its low-cardinality type."""
        self._note("status", status)
        if error_type is not None:
            self._note("error_type", error_type)

    def add_score(self, name: str, value: float) -> None:
        """Add a quality number (hit_at_k, context_precision, toxicity …); the same name again replaces it."""
        said, score = text(name), number(value)
        known = self._detail.get("scores")
        scores = known if isinstance(known, dict) else {}
        if said is None or score is None or (len(scores) >= MANY and said not in scores):
            self._cut += 1
            return
        scores[said] = score
        self._detail["scores"] = scores
        self._size += ENTRY + len(said)

    def has_room(self, events: int) -> bool:
        """Say whether the span has fewer than `events` events; if not, the one that does not come is counted as cut."""
        if self._events is None or len(self._events) < events:
            return True
        self._cut += 1
        return False

    def add_link(self, trace_id: str, span_id: str, attributes: Mapping[str, object] | None = None) -> None:
        """Point to a span of another trace."""
        if self._links is None:
            self._links = []
        if len(self._links) >= MANY:
            self._cut += 1
            return
        self._links.append((text(trace_id) or "", text(span_id) or "", self._texts(attributes)))
        self._size += 3 * ENTRY

    def record_error(self, error: BaseException | str) -> None:
        """Set status error and its type: an exception's class, or a low-cardinality word. No message is kept."""
        self.set_status("error", error if isinstance(error, str) else _type_name(error))

    def _note(self, key: str, value: object) -> None:
        self._detail[key] = value
        self._size += ENTRY + (len(value) if type(value) is str else 0)

    def _texts(self, attributes: Mapping[str, object] | None) -> Texts:
        if attributes is None:
            return ()
        try:
            pairs = [
                (text(key), value if type(value) is Payload else text(value, LONG)) for key, value in attributes.items()
            ]
        except Exception:  # a mapping of the host's own making may raise anything
            return ()
        said = tuple((key, value) for key, value in pairs[:MANY] if key is not None and value is not None)
        self._size += sum(ENTRY + len(key) + len(value) for key, value in said)
        self._cut += max(0, len(pairs) - MANY)
        return said

    def _failed(self, error: BaseException) -> None:
        if _type_name(error) == "asyncio.exceptions.CancelledError":
            self._detail.setdefault("error_type", "cancelled")
        elif not (isinstance(error, SystemExit) and not error.code):
            self.record_error(error)


def _said(value: object) -> str | None:
    return text(value, LONG)


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
