"""The lines that lead to each span of a tree."""

from collections.abc import Sequence

from spanloom_traces.tree import Node

_DEEPEST = 14  # levels; what is deeper is indented no further: a chain of 10,000 spans stays readable, and small


def guides(nodes: Sequence[Node]) -> list[str]:
    """What stands before the name of each node; empty before a root."""
    drawn = []
    below: list[str] = []
    for node in nodes:
        del below[max(0, node.depth - 1) :]
        drawn.append("".join(below[:_DEEPEST]) + ("└ " if node.last else "├ ") if node.depth else "")
        if node.depth:
            below.append("  " if node.last else "│ ")
    return drawn
