"""Arranges the spans of a trace as a tree, whatever their parents say."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from spanloom_viewer.model import Span

_WIDEST = 28  # columns; what is deeper is indented no further: a chain of 10,000 spans stays readable, and small


@dataclass(frozen=True, slots=True)
class Row:
    """A span where it stands in the tree. `guide` is the lines that lead to it."""

    span: Span
    guide: str
    orphan: bool  # its parent is not among the spans, though it is no service's entry
    cycle: bool  # its parents lead back to itself


def arrange(spans: Sequence[Span]) -> list[Row]:
    """Every span exactly once, parents before children, siblings by start.

    A span without a known parent is a root. Spans whose parents form a cycle hang from the earliest of them.
    """
    ordered = sorted(
        {span.span_id: span for span in spans}.values(), key=lambda span: (span.start, span.end, span.span_id)
    )
    known = {span.span_id for span in ordered}
    children: dict[str, list[Span]] = defaultdict(list)
    roots = []
    for span in ordered:
        if span.parent_id is None or span.parent_id not in known:
            roots.append(span)
        else:
            children[span.parent_id].append(span)
    rows: list[Row] = []
    placed: set[str] = set()
    for root in roots:
        orphan = root.parent_id is not None and not root.parent_remote
        _place(root, children, placed, rows, orphan=orphan, cycle=False)
    for span in ordered:
        if span.span_id not in placed:
            _place(span, children, placed, rows, orphan=False, cycle=True)
    return rows


def _place(
    root: Span, children: dict[str, list[Span]], placed: set[str], rows: list[Row], *, orphan: bool, cycle: bool
) -> None:
    """Depth first, without recursion: a trace may be 10,000 spans deep."""
    stack = [(root, "", "", orphan, cycle)]
    while stack:
        span, guide, below, orphan, cycle = stack.pop()
        if span.span_id in placed:
            continue
        placed.add(span.span_id)
        rows.append(Row(span, guide, orphan, cycle))
        under = [child for child in children[span.span_id] if child.span_id not in placed]
        for position, child in enumerate(reversed(under)):
            last = position == 0
            deeper = below + ("  " if last else "│ ") if len(below) < _WIDEST else below
            stack.append((child, below + ("└ " if last else "├ "), deeper, False, False))
