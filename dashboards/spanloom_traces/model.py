"""What the store returns. Times are epoch nanoseconds, durations nanoseconds, costs nano-dollars; None is unknown."""

from msgspec import Struct


class Span(Struct, frozen=True):
    """A span, as far as a person reads it in a tree."""

    span_id: str
    parent_id: str | None
    parent_remote: bool
    name: str
    kind: str
    service: str
    start: int
    end: int
    status: str = "unset"
    error_type: str | None = None
    block_reason: str | None = None
    model: str | None = None
    prompt_id: str | None = None
    prompt_version: str | None = None
    input_tokens: int | None = None
    """All the input: fresh, read from a cache and written to it."""
    output_tokens: int | None = None
    """All the output, reasoning included."""
    ttft: int | None = None
    cost: int | None = None
    cost_status: str = "none"
    cached: bool = False
    documents: int = 0
    cited: int = 0


class Document(Struct, frozen=True):
    """A document as one span names it."""

    id: str
    score: float | None
    cited: bool


class Score(Struct, frozen=True):
    """A quality number, such as hit_at_k, thumbs or toxicity."""

    name: str
    value: float


class Event(Struct, frozen=True):
    """Something that happened during a span."""

    name: str
    time: int
    attributes: dict[str, str]


class SpanDetail(Span, frozen=True):
    """A span with everything that tells why it did what it did."""

    provider: str | None = None
    request_model: str | None = None
    response_model: str | None = None
    model_version: str | None = None
    service_tier: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    finish_reasons: tuple[str, ...] = ()
    retriever_k: int | None = None
    tool_name: str | None = None
    context_truncated: bool = False
    system_tokens: int | None = None
    instructions_tokens: int | None = None
    few_shot_tokens: int | None = None
    context_tokens: int | None = None
    user_tokens: int | None = None
    named: tuple[Document, ...] = ()
    """The documents that it retrieved, kept or cited, best first."""
    scores: tuple[Score, ...] = ()
    events: tuple[Event, ...] = ()
    attributes: dict[str, str] = {}
    input: str | None = None
    """What went in, sanitized; None: the service does not record it."""
    output: str | None = None


class Stage(Struct, frozen=True):
    """All spans of one kind in a trace. `self` is the time in which no child ran."""

    kind: str
    spans: int
    duration: int
    self: int


class Step(Struct, frozen=True):
    """A span on the critical path, with the time for which nothing but it decides how long the trace takes."""

    span_id: str
    name: str
    kind: str
    self: int


class Trace(Struct, frozen=True):
    """The one truth about a trace."""

    trace_id: str
    service: str
    name: str
    start: int
    end: int
    duration: int
    spans: int
    state: str = "complete"
    """complete, partial or amended"""
    reason: str | None = None
    """Why it is partial."""
    status: str = "ok"
    errors: int = 0
    blocks: int = 0
    block_reason: str | None = None
    environment: str | None = None
    request_id: str | None = None
    user: str | None = None
    session_id: str | None = None
    tenant: str | None = None
    experiment: str | None = None
    run_id: str | None = None
    prompt_id: str | None = None
    prompt_version: str | None = None
    models: tuple[str, ...] = ()
    input_tokens: int = 0
    """All buckets of input, like a span's."""
    output_tokens: int = 0
    context_tokens: int = 0
    cache_hits: int = 0
    documents: int = 0
    """Retrieved."""
    cited: int = 0
    cost: int | None = None
    """Of the spans that have a price; beside it `unpriced` spans cost an unknown amount."""
    unpriced: int = 0
    ttft: int | None = None
    stages: tuple[Stage, ...] = ()
    critical_path: tuple[Step, ...] = ()
    scores: tuple[Score, ...] = ()


class Alert(Struct, frozen=True):
    """The last state of one group of one rule."""

    rule: str
    group: tuple[tuple[str, str], ...]
    state: str
    severity: str
    value: float | None
    threshold: float | None
    unit: str
    window_start: int
    """Epoch milliseconds, like all times of an alert."""
    window_end: int
    since: int
    partial: bool
    trace_ids: tuple[str, ...]
    summary: str


class Answer(Struct, frozen=True):
    """The answer to a statement: columns and rows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
