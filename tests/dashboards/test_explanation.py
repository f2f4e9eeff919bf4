"""What the terminal shows of explanations, logs and runs: foreign text is cleaned, nothing empty is titled."""

import io
import unicodedata

import pytest
from rich.console import Console
from spanloom_traces.compare import compare_runs
from spanloom_traces.explain import explain
from spanloom_traces.logs import logs
from spanloom_traces.model import Document, Event, Score, SpanDetail, Trace
from spanloom_traces.runs import Run
from spanloom_viewer import run_tables, tables
from spanloom_viewer.explanation import explanation

HOSTILE = "\x1b]0;title\x07\x1b[2Jgone\r\n\x9b31m\u202ereversed [bold]markup[/bold]"


def shown(renderable, width: int = 400) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(renderable)
    return console.file.getvalue()  # type: ignore[attr-defined]


def hostile_span(kind: str) -> SpanDetail:
    texts = ("error_type", "block_reason", "model", "prompt_id", "prompt_version", "provider", "request_model",
             "response_model", "service_tier", "tool_name", "input", "output")  # fmt: skip
    return SpanDetail(
        "s", None, False, HOSTILE, kind, HOSTILE, 0, 9, status="error", **dict.fromkeys(texts, HOSTILE),
        finish_reasons=(HOSTILE,), named=(Document(HOSTILE, 0.5, True),), scores=(Score(HOSTILE, 1.0),),
        events=(Event(f"retry {HOSTILE}", 1, {HOSTILE: HOSTILE}),), user_tokens=3,
    )  # fmt: skip


def hostile_run(n: int) -> Run:
    metrics = dict.fromkeys(("requests", "latency_ms_p50", "latency_ms_p95", "error_rate", "tokens_per_request"), n)
    named = {"llm.model": f"{HOSTILE}{n}", "prompt.id": HOSTILE}
    return Run(f"{HOSTILE}{n}", n, n, named, metrics | {f"score.{HOSTILE}": n}, {HOSTILE: f"{HOSTILE}{n}"})


@pytest.mark.parametrize(
    "renderable",
    [
        explanation(explain("ab" * 16, None, [hostile_span(kind) for kind in ("llm", "tool", "safety", HOSTILE)])),
        tables.logs(logs([hostile_span("llm")], "debug")),
        run_tables.runs([hostile_run(1)]),
        run_tables.comparison(compare_runs("run", hostile_run(1), hostile_run(2)), everything=True),
    ],
)
def test_text_from_data_cannot_steer_the_terminal(renderable):
    text = shown(renderable)
    assert not [one for one in text if one != "\n" and unicodedata.category(one) in ("Cc", "Cf")]
    assert "markup[/bold]" in text


def test_sections_with_nothing_in_them_are_left_out():
    trace = Trace("ab" * 16, "chat", "POST /chat", 0, 9, 9, 1)
    text = shown(
        explanation(explain(trace.trace_id, trace, [SpanDetail("s", None, False, "x", "request", "chat", 0, 9)]))
    )
    assert "nothing stands out" in text
    for title in ("documents", "prompt", "model calls", "tools", "failures", "blocks", "scores", "question"):
        assert title not in text


def test_no_line_of_an_explanation_is_wider_than_the_terminal():
    spans = [hostile_span("llm"), SpanDetail("t", "s", False, "name " * 30, "tool", "chat", 0, 9, tool_name="t" * 90)]
    assert max(map(len, shown(explanation(explain("ab" * 16, None, spans)), 80).splitlines())) <= 80


def test_of_many_documents_the_best_are_shown_and_the_rest_counted():
    found = tuple(Document(f"doc-{n}", 1.0 / (n + 1), False) for n in range(30))
    text = shown(
        explanation(explain("ab" * 16, None, [SpanDetail("s", None, False, "x", "retrieval", "c", 0, 9, named=found)]))
    )
    assert "doc-11" in text
    assert "doc-12" not in text
    assert "18 more documents" in text
