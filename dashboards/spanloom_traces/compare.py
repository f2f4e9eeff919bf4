"""Two runs, prompt versions or traces side by side. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from spanloom_traces.model import SpanDetail, Trace
from spanloom_traces.runs import Run

Value = str | float | None
Sheet = Mapping[str, Mapping[str, Value]]
"""Values by name, by what they are about: params, metrics and so on."""


class Difference(Struct, frozen=True):
    """One value of both; None: it has none."""

    about: str
    """params, metrics, tags, stages or documents"""
    name: str
    a: Value
    b: Value

    @property
    def differs(self) -> bool:
        """Whether the values are not the same."""
        return self.a != self.b

    @property
    def change(self) -> float | None:
        """`b` - `a` of two numbers."""
        if isinstance(self.a, str) or isinstance(self.b, str) or self.a is None or self.b is None:
            return None
        return self.b - self.a

    @property
    def ratio(self) -> float | None:
        """The change as a part of `a`; None where that is 0."""
        return None if self.change is None or isinstance(self.a, str) or not self.a else self.change / abs(self.a)


class Comparison(Struct, frozen=True):
    """`a` and `b` side by side, values that are the same included."""

    kind: str
    """run, prompt or trace"""
    a: str
    b: str
    values: tuple[Difference, ...]


def compare_runs(kind: str, a: Run, b: Run) -> Comparison:
    """Compare two runs, or two prompt versions."""
    return Comparison(kind, a.run_id, b.run_id, tuple(_differences(_sheet_of_run(a), _sheet_of_run(b))))


def compare_traces(a: tuple[Trace, Sequence[SpanDetail]], b: tuple[Trace, Sequence[SpanDetail]]) -> Comparison:
    """Compare two traces with their spans."""
    return Comparison(
        "trace", a[0].trace_id, b[0].trace_id, tuple(_differences(_sheet_of_trace(*a), _sheet_of_trace(*b)))
    )


def _differences(a: Sheet, b: Sheet) -> Iterator[Difference]:
    for about in dict.fromkeys((*a, *b)):
        left, right = a.get(about, {}), b.get(about, {})
        for name in dict.fromkeys((*left, *right)):
            yield Difference(about, name, left.get(name), right.get(name))


def _sheet_of_run(run: Run) -> Sheet:
    return {"params": run.params, "metrics": run.metrics, "tags": run.tags}


def _sheet_of_trace(trace: Trace, spans: Sequence[SpanDetail]) -> Sheet:
    params: dict[str, Value] = {
        **{name: getattr(trace, name) for name in ("service", "name", "state", "status", "tenant", "run_id")},
        **{name: getattr(trace, name) for name in ("prompt_id", "prompt_version", "block_reason")},
        "models": ", ".join(trace.models) or None,
    }
    metrics: dict[str, Value] = {
        "latency_ms": trace.duration / 1e6,
        "ttft_ms": None if trace.ttft is None else trace.ttft / 1e6,
        "cost_usd": None if trace.unpriced or trace.cost is None else trace.cost / 1e9,
        **{name: float(getattr(trace, name)) for name in ("input_tokens", "output_tokens", "context_tokens")},
        **{name: float(getattr(trace, name)) for name in ("spans", "errors", "blocks", "unpriced", "cache_hits")},
        **{name: float(getattr(trace, name)) for name in ("documents", "cited")},
        **{f"score.{score.name}": score.value for score in trace.scores},
    }
    documents = {
        document.id: document.score for span in spans if span.kind == "retrieval" for document in reversed(span.named)
    }
    return {
        "params": params,
        "metrics": metrics,
        "stages": {f"{stage.kind}_ms": stage.duration / 1e6 for stage in trace.stages},
        "documents": dict(reversed(documents.items())),
    }
