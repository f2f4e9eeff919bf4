"""Which topic becomes rows of which tables, and how."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import polars as pl
from spanloom_schemas.frames.splice import Decoded
from spanloom_schemas.prices.book import Book

from spanloom_sinks.rows import alerts, batches, dead_letters, panes, samples, spans, traces
from spanloom_sinks.source import Source


class Table(NamedTuple):
    """A table and the pure function that makes its rows of a block of decoded messages."""

    name: str
    rows: Callable[[Decoded, Source], pl.DataFrame]
    labels: tuple[str, ...] = ()
    """Columns of text that are to be sent dictionary-encoded."""


def tables(book: Book) -> Mapping[str, tuple[Table, ...]]:
    """Tables by topic, in the order in which a block is written to them."""
    return {
        "llm.spans": (
            Table("spans", partial(spans.rows, book=book), spans.LABELS),
            Table("batches", batches.rows),
        ),
        "llm.traces": (Table("traces", traces.rows),),
        "llm.panes": (Table("panes", panes.rows),),
        "llm.alerts": (Table("alerts", alerts.rows),),
        "llm.samples": (Table("samples", samples.rows),),
        "llm.dead_letters": (Table("dead_letters", dead_letters.rows),),
    }
