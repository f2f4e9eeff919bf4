"""Expressions that several tables share."""

import polars as pl

from spanloom_sinks.source import Source


def time_ns(name: str) -> pl.Expr:
    """Epoch ns as a DateTime64(9)."""
    return pl.col(name).cast(pl.Datetime("ns", "UTC"))


def time_ms(name: str) -> pl.Expr:
    """Epoch ms as a DateTime64(3)."""
    return pl.col(name).cast(pl.Datetime("ms", "UTC"))


def text(*names: str) -> pl.Expr:
    """Text, '' where there is none."""
    return pl.col(*names).cast(pl.String).fill_null("")


def encoded(frame: pl.DataFrame, *names: str) -> pl.DataFrame:
    """The frame with columns of few texts dictionary-encoded: polars, Arrow and ClickHouse then move numbers."""
    return frame.with_columns(frame[name].cast(pl.Enum(frame[name].unique().sort())) for name in names)


def place(source: Source) -> list[pl.Expr]:
    """The partition that a row came from."""
    return [pl.lit(source.topic_id).alias("topic_id"), pl.lit(source.partition, pl.Int32).alias("partition")]
