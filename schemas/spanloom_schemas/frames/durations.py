"""From when to when: a difference of two clocks' words, which may be absurd."""

import polars as pl

LONGEST_NS = 10**15
"""Eleven days: nothing that is watched takes longer, and thousands of such still add up within 64 bits."""


def lasted(start: pl.Expr, end: pl.Expr) -> pl.Expr:
    """The ns from start to end (epoch ns), 0 to LONGEST_NS; a difference that 64 bits do not hold is the longest."""
    whole = end - start
    bounded = pl.when(whole < 0).then(pl.lit(LONGEST_NS, pl.Int64)).otherwise(whole.clip(None, LONGEST_NS))
    return pl.when(end > start).then(bounded).otherwise(pl.lit(0, pl.Int64))
