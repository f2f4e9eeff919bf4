"""What stands out in a trace: one sentence a finding, with the span that it is about. Pure."""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from spanloom_traces.model import SpanDetail, Trace

SEGMENTS = ("system", "instructions", "few_shot", "context", "user")
_SLOW = 2_000_000_000  # ns from which on a trace is slow enough to ask why
_DECIDES = 0.5  # the share of a trace's time with which one span is its cause
_CROWDED = 0.8  # the share of a prompt that context takes when it drowns the rest
_WILD = 1.0  # the temperature from which on the same question gets different answers
_EVENTS = ("retry", "fallback", "timeout")
_FOREIGN = "otel.scope.name"  # of spans that another instrumentation made: what it does not tell is not known


class Finding(Struct, frozen=True):
    """One thing that may be why."""

    about: str
    """block, error, latency, missing, retrieval, prompt, answer, model or feedback"""
    span_id: str | None
    """The guilty span; None: it is about the trace."""
    text: str


def findings(trace: Trace | None, spans: Sequence[SpanDetail]) -> tuple[Finding, ...]:
    """What stands out, the likeliest cause first; nothing of a trace in which nothing does."""
    looks = (_blocks(spans), _errors(spans), _slowest(trace, spans), _missing(spans), _retrieval(spans))
    more = (_prompts(spans), _answers(spans), _models(spans), _feedback(spans))
    return tuple(finding for look in (*looks, *more) for finding in look)


def segments(span: SpanDetail) -> dict[str, int]:
    """The tokens of a span's prompt by segment, as far as they were counted."""
    counted = ((name, getattr(span, f"{name}_tokens")) for name in SEGMENTS)
    return {name: tokens for name, tokens in counted if tokens is not None}


def _blocks(spans: Sequence[SpanDetail]) -> Iterator[Finding]:
    for span in spans:
        if span.block_reason:
            yield Finding("block", span.span_id, f"{_where(span)} blocked it: {span.block_reason}")


def _errors(spans: Sequence[SpanDetail]) -> Iterator[Finding]:
    """Where an error began: not in the spans that only pass one on."""
    passed_on = {span.parent_id for span in spans if span.status == "error"}
    for span in spans:
        if span.status == "error" and span.span_id not in passed_on:
            tool = f"the tool {span.tool_name} " if span.tool_name else ""
            yield Finding("error", span.span_id, f"{tool}{_where(span)} failed: {span.error_type or 'no reason given'}")


def _slowest(trace: Trace | None, spans: Sequence[SpanDetail]) -> Iterator[Finding]:
    step = max(trace.critical_path, key=lambda step: step.self, default=None) if trace else None
    if trace and step and trace.duration >= _SLOW and step.self >= _DECIDES * trace.duration:
        where = next((_where(span) for span in spans if span.span_id == step.span_id), step.name)
        share, seconds = 100 * step.self / trace.duration, trace.duration / 1e9
        text = f"{where} decides how long it took: {step.self / 1e9:.3g} s of {seconds:.3g} s ({share:.0f} %)"
        yield Finding("latency", step.span_id, text)


def _missing(spans: Sequence[SpanDetail]) -> Iterator[Finding]:
    known = {span.span_id for span in spans}
    for span in spans:
        if span.parent_id and span.parent_id not in known and not span.parent_remote:
            yield Finding("missing", span.span_id, f"the span above {_where(span)} is missing: lost, or still open")


def _retrieval(spans: Sequence[SpanDetail]) -> Iterator[Finding]:
    searches = [span for span in spans if span.kind == "retrieval"]
    for span in searches:
        if not span.named:
            if _FOREIGN in span.attributes:
                continue
            yield Finding("retrieval", span.span_id, f"{_where(span)} found no documents")
        elif span.retriever_k and len(span.named) < span.retriever_k:
            few = f"{_where(span)} found {len(span.named)} of the {span.retriever_k} documents asked for"
            yield Finding("retrieval", span.span_id, few)
    for span in spans:
        for score in span.scores:
            if score.name == "hit_at_k" and not score.value:
                yield Finding("retrieval", span.span_id, f"what {_where(span)} found lacks the document that answers")
            if score.name == "context_precision" and score.value < 0.5:
                text = f"context_precision of {_where(span)} is {score.value:.2g}: most of its documents do not help"
                yield Finding("retrieval", span.span_id, text)
    found = sum(len(span.named) for span in searches if _FOREIGN not in span.attributes)
    if found and not any(document.cited for span in spans for document in span.named):
        yield Finding("retrieval", None, f"none of the {found} documents retrieved is cited by the answer")


def _prompts(spans: Sequence[SpanDetail]) -> Iterator[Finding]:
    for span in spans:
        counted = segments(span)
        whole, context = sum(counted.values()), counted.get("context", 0)
        if span.context_truncated:
            yield Finding("prompt", span.span_id, f"{_where(span)} cut its context: not all documents fit")
        if whole and context > _CROWDED * whole:
            text = f"context is {context:,} of the {whole:,} tokens ({100 * context / whole:.0f} %) of {_where(span)}"
            yield Finding("prompt", span.span_id, text)


def _answers(spans: Sequence[SpanDetail]) -> Iterator[Finding]:
    for span in spans:
        if "length" in span.finish_reasons or "max_tokens" in span.finish_reasons:
            limit = f" (max_tokens {span.max_tokens:,})" if span.max_tokens else ""
            yield Finding("answer", span.span_id, f"the answer of {_where(span)} was cut off at its longest{limit}")
        if "content_filter" in span.finish_reasons:
            yield Finding("answer", span.span_id, f"the provider's filter stopped the answer of {_where(span)}")
        if span.cached:
            yield Finding("answer", span.span_id, f"{_where(span)} answered from the application's own cache")
        for event in span.events:
            if any(word in event.name.lower() for word in _EVENTS):
                yield Finding("answer", span.span_id, f"{_where(span)} notes {event.name}")


def _models(spans: Sequence[SpanDetail]) -> Iterator[Finding]:
    for span in spans:
        asked, answered = span.request_model, span.response_model
        if asked and answered and not answered.startswith(asked):
            yield Finding("model", span.span_id, f"{_where(span)} asked {asked}, and {answered} answered")
        if span.temperature is not None and span.temperature >= _WILD:
            text = f"the temperature of {_where(span)} is {span.temperature:g}: the same question gets other answers"
            yield Finding("model", span.span_id, text)


def _feedback(spans: Sequence[SpanDetail]) -> Iterator[Finding]:
    for span in spans:
        for score in span.scores:
            if score.name == "thumbs" and score.value <= 0:
                yield Finding("feedback", span.span_id, "a person rated the answer down")


def _where(span: SpanDetail) -> str:
    return f"{span.name} ({span.service})"
