"""What a partition may hold at most, decided from the log alone so that a replay meets each bound at the same span."""

from __future__ import annotations

from typing import NamedTuple


class Bounds(NamedTuple):
    """Limits of one source partition; what passes one is counted in `Emission.overflow` under the field's name."""

    pane_keys: int = 2_000
    """distinct keys of a pane; spans of further keys go to the key whose dimensions are all `other`"""
    pane_labels: int = 64
    """distinct score names, and block reasons, of a pane; further ones become `other`"""
    trace_spans: int = 10_000
    """spans of a trace, after which it is emitted and begun anew"""
    held_spans: int = 250_000
    """spans of the partition that may follow the first of an open trace, before it is emitted"""


DEFAULT = Bounds()
