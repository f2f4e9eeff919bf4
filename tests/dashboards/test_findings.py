"""What stands out in a trace: each finding names its span, and stays silent where nothing is wrong."""

import pytest
from spanloom_traces.findings import findings
from spanloom_traces.model import Document, Event, Score, SpanDetail, Step, Trace

FOUND = (Document("a", 1.0, False), Document("b", 0.5, True))


def span(span_id: str = "s", kind: str = "llm", parent_id: str | None = None, **facts) -> SpanDetail:
    return SpanDetail(span_id, parent_id, False, span_id, kind, "chat", 0, 9, **facts)


def trace(self: float, duration: float = 4.0) -> Trace:
    steps = (Step("r", "r", "request", 10**8), Step("s", "s", "retrieval", int(self * 1e9)))
    return Trace("ab" * 16, "chat", "POST", 0, 10, int(duration * 1e9), 2, critical_path=steps)


HEALTHY = [
    span("r", "request"),
    span("search", "retrieval", "r", named=FOUND, retriever_k=2, scores=(Score("hit_at_k", 1.0),)),
    span("prompt", "prompt", "r", context_tokens=300, user_tokens=100),
    span("s", "llm", "r", request_model="gpt-4o", response_model="gpt-4o-2024-08-06", temperature=0.2,
         finish_reasons=("stop",), events=(Event("response.start", 5, {}),)),
]  # fmt: skip


def test_nothing_stands_out_in_a_healthy_trace():
    assert findings(trace(self=1.9), HEALTHY) == ()
    assert findings(trace(self=1.9, duration=1.95), HEALTHY) == ()
    assert findings(None, []) == ()


def test_what_another_instrumentation_does_not_tell_is_not_taken_for_none():
    foreign = {"attributes": {"otel.scope.name": "opentelemetry.instrumentation.qdrant"}}
    searches = [span("a", "retrieval", "r", **foreign), span("b", "retrieval", "r", named=FOUND[:1], **foreign)]
    assert findings(None, [span("r", "request"), *searches]) == ()
    few = span("c", "retrieval", "r", named=FOUND, retriever_k=5, **foreign)
    assert "found 2 of the 5" in findings(None, [span("r", "request"), few])[0].text


@pytest.mark.parametrize(
    ("facts", "about", "said"),
    [
        ({"kind": "safety", "block_reason": "jailbreak"}, "block", "s (chat) blocked it: jailbreak"),
        ({"status": "error", "error_type": "TimeoutError"}, "error", "s (chat) failed: TimeoutError"),
        (
            {"kind": "tool", "tool_name": "search_docs", "status": "error"},
            "error",
            "the tool search_docs s (chat)",
        ),
        ({"parent_id": "lost"}, "missing", "the span above s (chat) is missing"),
        ({"kind": "retrieval"}, "retrieval", "s (chat) found no documents"),
        ({"kind": "retrieval", "named": FOUND, "retriever_k": 5}, "retrieval", "found 2 of the 5 documents"),
        ({"kind": "retrieval", "named": FOUND[:1]}, "retrieval", "none of the 1 documents retrieved is cited"),
        ({"kind": "rerank", "scores": (Score("context_precision", 0.25),)}, "retrieval", "context_precision of s"),
        ({"scores": (Score("hit_at_k", 0.0),)}, "retrieval", "lacks the document that answers"),
        ({"context_truncated": True}, "prompt", "cut its context"),
        ({"context_tokens": 5800, "user_tokens": 100}, "prompt", "context is 5,800 of the 5,900 tokens (98 %)"),
        ({"finish_reasons": ("length",), "max_tokens": 256}, "answer", "cut off at its longest (max_tokens 256)"),
        ({"finish_reasons": ("content_filter",)}, "answer", "the provider's filter stopped"),
        ({"cached": True}, "answer", "the application's own cache"),
        ({"events": (Event("llm.fallback", 3, {}),)}, "answer", "s (chat) notes llm.fallback"),
        ({"request_model": "gpt-4o", "response_model": "gpt-3.5"}, "model", "asked gpt-4o, and gpt-3.5 answered"),
        ({"temperature": 1.3}, "model", "the temperature of s (chat) is 1.3"),
        ({"kind": "feedback", "scores": (Score("thumbs", 0.0),)}, "feedback", "a person rated the answer down"),
    ],
)
def test_what_stands_out_names_its_span(facts, about, said):
    (found,) = findings(None, [span(**facts)])
    assert found.about == about
    assert said in found.text
    assert found.span_id in ("s", None)


def test_the_span_that_decides_how_long_a_trace_takes_is_named():
    (found,) = findings(trace(self=2.4), [span("r", "request"), span("s", "retrieval", "r", named=FOUND)])
    assert (found.about, found.span_id) == ("latency", "s")
    assert found.text == "s (chat) decides how long it took: 2.4 s of 4 s (60 %)"


def test_an_error_is_where_it_began_and_not_where_it_was_passed_on():
    failed = [span(n, "tool", parent, status="error") for n, parent in (("r", None), ("a", "r"), ("b", "a"))]
    assert [found.span_id for found in findings(None, failed)] == ["b"]


def test_the_likeliest_cause_comes_first():
    spans = [span("c", cached=True), span("t", "tool", status="error"), span("b", "safety", block_reason="pii")]
    assert [found.about for found in findings(None, spans)] == ["block", "error", "answer"]
