import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from spanloom_traces.model import Span, Step, Trace
from spanloom_traces.tree import arrange
from spanloom_viewer.waterfall import bar, waterfall

MS = 1_000_000


def span(span_id: str, parent_id: str | None, name: str, kind: str, start: int, end: int, **facts) -> Span:
    return Span(span_id, parent_id, False, name, kind, "chat", start * MS, end * MS, **facts)


def trace(**facts) -> Trace:
    known = {
        "trace_id": "ab" * 16,
        "service": "chat",
        "name": "POST /chat",
        "start": 0,
        "end": 900 * MS,
        "duration": 900 * MS,
        "spans": 3,
        "prompt_id": "answer",
        "prompt_version": "2",
        "models": ("gpt-4o",),
        "input_tokens": 1234,
        "output_tokens": 40,
        "cost": 123_456_000,
        "critical_path": tuple(Step(name, name, "other", 1) for name in "ac"),
    }
    return Trace(**(known | facts))


SPANS = [
    span("a", None, "POST /chat", "request", 0, 900),
    span("b", "a", "retrieve", "retrieval", 10, 110, documents=12, cited=2),
    span(
        "c", "a", "chat gpt-4o", "llm", 120, 880,
        model="gpt-4o", input_tokens=1234, output_tokens=40, cost=123_456_000, cost_status="priced", ttft=60 * MS,
    ),
]  # fmt: skip


def shown(about: Trace | None, spans: list[Span], width: int = 140) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(waterfall(about, arrange(spans), width))
    return console.file.getvalue()


def line(text: str, name: str) -> str:
    return next(one for one in text.splitlines() if name in one and "█" in one)


def test_a_span_shows_its_duration_tokens_cost_and_model():
    llm = line(shown(trace(), SPANS), "chat gpt-4o")
    for fact in ("760 ms", "1,234→40", "$0.123456", "gpt-4o", "first token 60.0 ms"):
        assert fact in llm


def test_a_bar_stands_where_the_span_was():
    text = shown(trace(), SPANS)
    root, retrieve, llm = (line(text, name) for name in ("POST /chat", "retrieve", "chat gpt-4o"))
    assert root.index("█") <= retrieve.index("█") < llm.index("█")
    assert root.count("█") > llm.count("█") > 6 * retrieve.count("█") > 0


def test_the_critical_path_is_marked():
    text = shown(trace(), SPANS)
    assert [one.startswith("●") for one in (line(text, name) for name in ("POST /chat", "retrieve", "chat gpt"))] == [
        True,
        False,
        True,
    ]
    assert "2 of 3 spans decide" in text


def test_errors_blocks_and_orphans_are_said():
    text = shown(trace(status="error", block_reason="malware"), [
        span("a", None, "POST /chat", "request", 0, 900, status="error", error_type="TimeoutError"),
        span("b", "a", "check", "safety", 1, 9, block_reason="malware"),
        span("c", "lost", "stray", "other", 1, 9),
    ])  # fmt: skip
    for fact in ("✗ TimeoutError", "⊘ malware", "parent missing", "blocked: malware"):
        assert fact in text


def test_an_unknown_cost_is_never_zero():
    unpriced = [span("a", None, "x", "llm", 0, 9, cost_status="unpriced")]
    text = shown(trace(cost=0, unpriced=1, spans=1), unpriced)
    assert "unknown" in line(text, "x")
    assert "1 span · " in text
    assert "cost unknown (1 span unpriced)" in text
    assert "$0.00" not in text


def test_a_cost_known_in_part_is_a_lower_bound():
    assert "cost ≥ $0.123456 (2 spans unpriced)" in shown(trace(unpriced=2), SPANS)


def test_a_trace_that_is_not_assembled_is_shown_and_said_to_be_so():
    assert "not assembled yet" in shown(None, SPANS)


def test_a_trace_whose_spans_have_expired_is_still_shown_as_a_whole():
    text = shown(trace(), [])
    assert "POST /chat" in text
    assert "its spans have expired" in text


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal(width):
    long = span("d", "c", "a name " * 40, "tool", 130, 140, error_type="E" * 200, status="error")
    body = shown(trace(), [*SPANS, long], width).splitlines()[4:]
    assert max(map(len, body)) <= width


def test_text_from_a_span_cannot_steer_the_terminal():
    hostile = "\x1b]0;title\x07\x1b[2Jgone\r\n\x9b31m\u202ereversed [bold]markup[/bold]"
    text = shown(trace(name=hostile, tenant=hostile), [
        span("a", None, hostile, "request", 0, 9, error_type=hostile, status="error", block_reason=hostile),
    ], 400)  # fmt: skip
    assert not [one for one in text if one != "\n" and unicodedata.category(one) in ("Cc", "Cf")]
    assert "[bold]markup[/bold]" in text


@given(st.integers(-5, 105), st.integers(-5, 105), st.integers(1, 90))
def test_a_bar_is_never_empty_and_never_past_the_axis(start, end, width):
    drawn = bar(span("a", None, "x", "llm", start, end), 0, 100 * MS, width, on_path=True)
    assert 1 <= len(drawn.plain) <= width
    assert drawn.plain.strip()
