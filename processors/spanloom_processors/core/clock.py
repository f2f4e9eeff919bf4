"""Log time: a partition's clock is the running maximum of its messages' log times, and nothing else moves it."""

from __future__ import annotations

import polars as pl

PANE_MS = 10_000
LATENESS_MS = 3_000
FUTURE_MS = 5_000


def frontier(log_clock: int) -> int:
    """The end (epoch ms) of the last pane that is closed for good at this log clock: nothing can be on time for it."""
    return (log_clock - LATENESS_MS) // PANE_MS * PANE_MS


def tick(messages: pl.DataFrame, log_clock: int) -> pl.DataFrame:
    """Add to messages (`offset`, `log_time` in ms) the log clock `before` and, with their own log time, `clock`."""
    clock = pl.max_horizontal(pl.col("log_time").cum_max(), pl.lit(log_clock, pl.Int64))
    return messages.select("offset", "log_time", clock.alias("clock")).with_columns(
        pl.col("clock").shift(1, fill_value=log_clock).alias("before")
    )


def pane_start(end_ns: pl.Expr) -> pl.Expr:
    """The start (epoch ms) of the pane of a span that ended at `end_ns` (epoch ns)."""
    return end_ns // (PANE_MS * 1_000_000) * PANE_MS
