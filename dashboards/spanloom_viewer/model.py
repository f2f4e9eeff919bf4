"""What the store returns. Times are epoch nanoseconds, durations nanoseconds, costs nano-dollars; None is unknown."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """A span, as far as a person reads it."""

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
    input_tokens: int | None = None  # all the input: fresh, read from a cache and written to it
    output_tokens: int | None = None  # all the output, reasoning included
    ttft: int | None = None
    cost: int | None = None
    cost_status: str = "none"
    cached: bool = False
    documents: int = 0
    cited: int = 0


@dataclass(frozen=True, slots=True)
class Trace:
    """The one truth about a trace."""

    trace_id: str
    service: str
    name: str
    start: int
    end: int
    duration: int
    spans: int
    state: str = "complete"  # complete, partial or amended
    reason: str | None = None  # why it is partial
    status: str = "ok"
    errors: int = 0
    blocks: int = 0
    block_reason: str | None = None
    user: str | None = None
    session_id: str | None = None
    tenant: str | None = None
    prompt_id: str | None = None
    prompt_version: str | None = None
    models: tuple[str, ...] = ()
    input_tokens: int = 0  # all buckets of input, like a span's
    output_tokens: int = 0
    cost: int | None = None
    unpriced: int = 0
    ttft: int | None = None
    critical_path: tuple[str, ...] = ()  # span ids


@dataclass(frozen=True, slots=True)
class Alert:
    """The last state of one group of one rule."""

    rule: str
    group: tuple[tuple[str, str], ...]
    state: str
    severity: str
    value: float | None
    threshold: float | None
    unit: str
    window_start: int
    window_end: int
    since: int
    partial: bool
    trace_ids: tuple[str, ...]
    summary: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a query: columns and rows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
