"""Spans of the steps that no instrumentation sees: by OpenTelemetry's GenAI conventions, or by OpenInference."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import Span
from rag_service.retrieval import Hit

_tracer = trace.get_tracer("otel_service")


@contextmanager
def guardrail(name: str) -> Iterator[Span]:
    with _tracer.start_as_current_span(f"run_guardrail {name}") as span:
        span.set_attribute("gen_ai.operation.name", "run_guardrail")
        span.set_attribute("gen_ai.guardrail.component.name", name)
        yield span


def deny(span: Span, reason: str) -> None:
    span.set_attribute("gen_ai.guardrail.verdict.type", "deny")
    span.set_attribute("gen_ai.security.risk.category", reason)


@contextmanager
def retrieval(source: str, k: int) -> Iterator[Span]:
    with _tracer.start_as_current_span(f"retrieval {source}") as span:
        span.set_attribute("gen_ai.operation.name", "retrieval")
        span.set_attribute("gen_ai.data_source.id", source)
        span.set_attribute("gen_ai.retrieval.top_k", k)
        yield span


def found(span: Span, hits: Sequence[Hit]) -> None:
    documents = [{"id": hit.id, "score": hit.score} for hit in hits]
    span.set_attribute("gen_ai.retrieval.documents", json.dumps(documents))


@contextmanager
def rerank(k: int) -> Iterator[Span]:
    with _tracer.start_as_current_span("rerank") as span:
        span.set_attribute("openinference.span.kind", "RERANKER")
        span.set_attribute("reranker.top_k", k)
        yield span


def ranked(span: Span, hits: Sequence[Hit]) -> None:
    for number, hit in enumerate(hits):
        span.set_attribute(f"reranker.output_documents.{number}.document.id", hit.id)
        span.set_attribute(f"reranker.output_documents.{number}.document.score", hit.score)


def judged(span: Span, name: str, score: float) -> None:
    said: dict[str, str | float] = {"gen_ai.evaluation.name": name, "gen_ai.evaluation.score.value": score}
    span.add_event("gen_ai.evaluation.result", said)


def sent() -> None:
    """Have the SDK send what it holds: uvicorn ends by a signal, and Python's own goodbye is then not said."""
    flush = getattr(trace.get_tracer_provider(), "force_flush", None)
    if flush is not None:
        flush()
