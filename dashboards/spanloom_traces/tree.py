"""Arranges the spans of a trace as a tree, whatever their parents say."""

from collections import defaultdict
from collections.abc import Sequence

from msgspec import Struct

from spanloom_traces.model import Span


class Node(Struct, frozen=True):
    """A span where it stands in the tree."""

    span: Span
    depth: int
    """0: a root."""
    last: bool
    """No sibling comes after it."""
    orphan: bool
    """Its parent is not among the spans, though it is no service's entry."""
    cycle: bool
    """Its parents lead back to itself; it was made a root."""


def arrange(spans: Sequence[Span]) -> tuple[Node, ...]:
    """Every span exactly once, parents before children, siblings by start: the deeper ones after a node are below it.

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
    nodes: list[Node] = []
    placed: set[str] = set()
    for root in roots:
        orphan = root.parent_id is not None and not root.parent_remote
        _place(Node(root, 0, True, orphan, False), children, placed, nodes)
    for span in ordered:
        if span.span_id not in placed:
            _place(Node(span, 0, True, False, True), children, placed, nodes)
    return tuple(nodes)


def _place(root: Node, children: dict[str, list[Span]], placed: set[str], nodes: list[Node]) -> None:
    """Depth first, without recursion: a trace may be 10,000 spans deep."""
    stack = [root]
    while stack:
        node = stack.pop()
        if node.span.span_id in placed:
            continue
        placed.add(node.span.span_id)
        nodes.append(node)
        under = [child for child in children[node.span.span_id] if child.span_id not in placed]
        for position, child in enumerate(reversed(under)):
            stack.append(Node(child, node.depth + 1, position == 0, False, False))
