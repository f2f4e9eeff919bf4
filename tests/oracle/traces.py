"""What one row a trace must hold, however many segments it came in."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.oracle.spans import Span


@dataclass
class Trace:
    """Totals over the distinct spans of a trace, by the names of the table's columns."""

    start: int = 0
    end: int = 0
    sums: Counter[str] = field(default_factory=Counter)
    """spans, errors, blocks, cost (of what is priced), unpriced, estimated, cache_hits, documents, cited, …_tokens"""
    reason: str | None = None
    """why it is not whole: no_root, orphans; None: it is"""
    first: dict[tuple[str, int], int] = field(default_factory=dict)
    """by topic id and partition the offset of its first span there"""


def of_spans(spans: Iterable[Span]) -> dict[str, Trace]:
    """By trace_id the trace of all copies of spans; a span id counts once, by its first copy."""
    copies: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        copies[span.trace_id].append(span)
    return {trace_id: _trace(found) for trace_id, found in copies.items()}


def _trace(copies: list[Span]) -> Trace:
    trace = Trace()
    distinct: dict[str, Span] = {}
    for span in sorted(copies, key=lambda span: span.place):
        distinct.setdefault(span.span_id, span)
        trace.first.setdefault((span.topic_id, span.partition), span.offset)
    spans = list(distinct.values())
    timed = [span for span in spans if span.kind != "feedback"] or spans
    trace.start = min(span.start for span in timed)
    trace.end = max(span.end for span in timed)
    for span in spans:
        trace.sums.update(span.counts)
    if not any(span.parent_id is None and span.kind != "feedback" for span in spans):
        trace.reason = "no_root"
    elif any(span.parent_id is not None and _lost(span, distinct) for span in spans):
        trace.reason = "orphans"
    return trace


def _lost(span: Span, known: dict[str, Span]) -> bool:
    return span.parent_id not in known or span.parent_id == span.span_id
