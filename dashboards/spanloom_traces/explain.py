"""Why a trace went as it did: its documents, prompts, model calls, failures and blocks, and what stands out. Pure."""

from collections.abc import Sequence

from msgspec import Struct

from spanloom_traces.findings import Finding, findings, segments
from spanloom_traces.model import Score, SpanDetail, Trace


class Prompt(Struct, frozen=True):
    """The tokens of one prompt by segment; segments that nobody counted are left out."""

    span: SpanDetail
    segments: dict[str, int]
    truncated: bool
    """Context did not fit and was cut."""


class Explanation(Struct, frozen=True):
    """What one needs to find why an answer was wrong, slow, dear or blocked. Spans are in the order of their starts."""

    trace_id: str
    trace: Trace | None
    """None while it is not assembled."""
    findings: tuple[Finding, ...]
    """What stands out, the likeliest cause first."""
    documents: tuple[SpanDetail, ...]
    """The spans that retrieved, kept or cited documents: `named`, with scores, best first."""
    prompts: tuple[Prompt, ...]
    calls: tuple[SpanDetail, ...]
    """Of models, with their parameters, tokens and costs."""
    tools: tuple[SpanDetail, ...]
    failures: tuple[SpanDetail, ...]
    """Spans in error, of any kind."""
    blocks: tuple[SpanDetail, ...]
    scores: tuple[Score, ...]
    """Of all spans, feedback included."""


def explain(trace_id: str, trace: Trace | None, spans: Sequence[SpanDetail]) -> Explanation:
    """Explain a trace by its spans, in the order of their starts."""
    return Explanation(
        trace_id=trace_id,
        trace=trace,
        findings=findings(trace, spans),
        documents=tuple(span for span in spans if span.named),
        prompts=tuple(Prompt(span, counted, span.context_truncated) for span in spans if (counted := segments(span))),
        calls=tuple(span for span in spans if span.kind in ("llm", "embedding")),
        tools=tuple(span for span in spans if span.kind == "tool"),
        failures=tuple(span for span in spans if span.status == "error"),
        blocks=tuple(span for span in spans if span.block_reason),
        scores=tuple(score for span in spans for score in span.scores),
    )
