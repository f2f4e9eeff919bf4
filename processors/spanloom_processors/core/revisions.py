"""Revisions: price book, key set, caps and lateness under one number, effective from a pane start announced ahead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl


class Revision(NamedTuple):
    """A numbered set of rules for panes that start at `effective_ms` (epoch ms) or later, until the next revision.

    `pane_keys`, `pane_labels`: as in Bounds; None: what Bounds has.
    """

    number: int
    effective_ms: int
    pane_keys: int | None = None
    pane_labels: int | None = None


def in_effect(start_ms: int, revisions: Sequence[Revision]) -> Revision:
    """The revision in effect at a time; before the first one, the first one."""
    ordered = sorted(revisions, key=lambda revision: revision.effective_ms)
    return next((each for each in reversed(ordered) if each.effective_ms <= start_ms), ordered[0])


def revision_at(start_ms: pl.Expr, revisions: Sequence[Revision]) -> pl.Expr:
    """The number (Int32) of the revision in effect at a time; before the first one, the first one."""
    ordered = sorted(revisions, key=lambda revision: revision.effective_ms)
    number = pl.lit(ordered[0].number, pl.Int32)
    for revision in ordered[1:]:
        number = pl.when(start_ms >= revision.effective_ms).then(pl.lit(revision.number, pl.Int32)).otherwise(number)
    return number
