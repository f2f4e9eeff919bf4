"""Rows of llm.panes in the shape the rule engine adds up: plain integers, sketches as dicts, worst spans by reason."""

from collections.abc import Callable
from typing import Any, NamedTuple

import polars as pl

from spanloom_processors.core.alerts.records import KEY_COLUMNS

Key = tuple[str | bool, ...]
Sketch = dict[int, int]
Worst = tuple[int, str, str]
"""Value, span id, trace id: ordered as every top-k is."""

COUNTS = ("spans", "errors", "blocks", "cost", "unpriced", "tokens", "requests", "request_blocks")
SKETCHES = ("duration", "ttft", "tpot")
_TOKENS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
_REQUEST = KEY_COLUMNS.index("request")


class Wanted(NamedTuple):
    """What the rules want to know of rows of one key."""

    sketches: frozenset[str]
    whys: frozenset[str]


class Row:
    """One row of one message: a version of a pane's key, or late spans (`late` is then their message's offset)."""

    __slots__ = ("counts", "key", "late", "sketches", "start", "worst")

    def __init__(self, start: int, key: Key, late: int | None, counts: tuple[int, ...]) -> None:
        self.start = start
        self.key = key
        self.late = late
        self.counts = counts
        self.sketches: dict[str, Sketch] = {}
        self.worst: dict[str, list[Worst]] = {}

    def thin(self) -> None:
        """Keep the counts only: no window reaches here any more."""
        self.sketches = {}
        self.worst = {}


def read(panes: pl.DataFrame, wanted: Callable[[Key], Wanted]) -> list[Row]:
    """The rows of a frame of panes, in its order; nested columns only where a rule wants them."""
    if panes.is_empty():
        return []
    columns = [panes[name].fill_null(False if name == "request" else "").to_list() for name in KEY_COLUMNS]
    keys: list[Key] = list(zip(*columns, strict=True))
    rows = [
        Row(start, key, late, counts)
        for start, key, late, counts in zip(
            panes["start"].to_list(), keys, panes["late_offset"].to_list(), _counts(panes, keys), strict=True
        )
    ]
    wants = [wanted(key) for key in keys]
    for name in SKETCHES:
        picked = [i for i, want in enumerate(wants) if name in want.sketches]
        for i, bucket in zip(picked, _sketches(panes[f"{name}_sketch"], picked), strict=True):
            rows[i].sketches[name] = bucket
    picked = [i for i, want in enumerate(wants) if want.whys]
    for i, worst in zip(picked, _worst(panes["worst"], picked), strict=True):
        rows[i].worst = {why: found for why, found in worst.items() if why in wants[i].whys}
    return rows


def _counts(panes: pl.DataFrame, keys: list[Key]) -> list[tuple[int, ...]]:
    plain = [panes[name].fill_null(0).to_list() for name in ("spans", "errors", "blocks", "cost", "unpriced")]
    tokens = panes.select(pl.sum_horizontal(pl.col(*_TOKENS).fill_null(0))).to_series().to_list()
    return [
        (*counts, total, counts[0], counts[2]) if key[_REQUEST] else (*counts, total, 0, 0)
        for counts, total, key in zip(zip(*plain, strict=True), tokens, keys, strict=True)
    ]


def _flat(column: pl.Series, picked: list[int]) -> tuple[list[int], pl.Series]:
    """The lengths of the picked lists, and all their items behind one another."""
    lists = column.gather(picked)
    lengths = lists.list.len().fill_null(0).to_list()
    return lengths, lists.filter(lists.list.len() > 0).explode()


def _sketches(column: pl.Series, picked: list[int]) -> list[Sketch]:
    if not picked or column.dtype == pl.Null:
        return [{} for _ in picked]
    lengths, items = _flat(column, picked)
    indices = items.struct.field("index").to_list()
    counts = items.struct.field("count").to_list()
    found, at = [], 0
    for length in lengths:
        found.append(dict(zip(indices[at : at + length], counts[at : at + length], strict=True)))
        at += length
    return found


def _worst(column: pl.Series, picked: list[int]) -> list[dict[str, list[Worst]]]:
    if not picked or column.dtype == pl.Null:
        return [{} for _ in picked]
    lengths, items = _flat(column, picked)
    fields: list[list[Any]] = [items.struct.field(name).to_list() for name in ("why", "value", "span_id", "trace_id")]
    found, at = [], 0
    for length in lengths:
        by_why: dict[str, list[Worst]] = {}
        for why, value, span_id, trace_id in zip(*(field[at : at + length] for field in fields), strict=True):
            by_why.setdefault(why, []).append((value or 0, span_id or "", trace_id or ""))
        found.append(by_why)
        at += length
    return found
