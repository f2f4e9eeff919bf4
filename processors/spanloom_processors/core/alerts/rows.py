"""Rows of llm.panes in the shape the rule engine adds up: plain integers; sketches and worst spans when asked for."""

import sys
from collections.abc import Container, Iterable, Iterator

import polars as pl
from spanloom_schemas.panes import KEY

Key = tuple[str | bool, ...]
Sketch = dict[int, int]
Worst = tuple[int, str, str]
"""Value, span id, trace id: ordered as every top-k is."""

COUNTS = ("spans", "errors", "blocks", "cost", "unpriced", "tokens", "requests", "request_blocks")
SKETCHES = ("duration", "ttft", "tpot")
_TOKENS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
_REQUEST = KEY.index("request")


class Row:
    """One row of one message: a version of a pane's key, or late spans (`late` is then their message's offset).

    What is nested stays in the frame until it is asked for: most versions are replaced before anyone asks.
    """

    __slots__ = ("_frame", "counts", "index", "key", "late", "start")

    def __init__(self, frame: pl.DataFrame, index: int, key: Key, counts: tuple[int, ...]) -> None:
        self._frame: pl.DataFrame | None = frame
        self.index = index
        self.key = key
        self.counts = counts
        self.start = 0
        self.late: int | None = None

    @property
    def frame(self) -> pl.DataFrame | None:
        """The nested columns of its message; None: thinned."""
        return self._frame

    def thin(self) -> None:
        """Keep the counts only: no window reaches here any more."""
        self._frame = None


def read(panes: pl.DataFrame) -> list[Row]:
    """The rows of a frame of panes, in its order."""
    if panes.is_empty():
        return []
    # Names recur in every row, and a row that is kept keeps its own.
    columns: list[list[str | bool]] = [
        panes[name].fill_null(False).to_list()
        if name == "request"
        else list(map(sys.intern, panes[name].cast(pl.String).fill_null("").to_list()))
        for name in KEY
    ]
    keys: list[Key] = list(zip(*columns, strict=True))
    nested = panes.select(*(f"{name}_sketch" for name in SKETCHES), "worst")
    pairs = zip(keys, _counts(panes, keys), strict=True)
    rows = [Row(nested, index, key, counts) for index, (key, counts) in enumerate(pairs)]
    for row, start, late in zip(rows, panes["start"].to_list(), panes["late_offset"].to_list(), strict=True):
        row.start, row.late = start, late
    return rows


def sketches(rows: Iterable[Row], name: str) -> Iterator[tuple[Row, Sketch]]:
    """The sketch of that name of each row that still has one."""
    for frame, picked in _by_frame(rows):
        lists = frame[f"{name}_sketch"].gather([row.index for row in picked]).to_list()
        for row, buckets in zip(picked, lists, strict=True):
            yield row, {bucket["index"]: bucket["count"] for bucket in buckets or ()}


def worst(rows: Iterable[Row], whys: Container[str]) -> Iterator[tuple[Row, str, Worst]]:
    """The worst spans of each row that still has them, for those reasons."""
    for frame, picked in _by_frame(rows):
        lists = frame["worst"].gather([row.index for row in picked]).to_list()
        for row, found in zip(picked, lists, strict=True):
            for span in found or ():
                if span["why"] in whys:
                    yield row, span["why"], (span["value"] or 0, span["span_id"] or "", span["trace_id"] or "")


def _by_frame(rows: Iterable[Row]) -> Iterator[tuple[pl.DataFrame, list[Row]]]:
    frames: dict[int, tuple[pl.DataFrame, list[Row]]] = {}
    for row in rows:
        if row.frame is not None:
            frames.setdefault(id(row.frame), (row.frame, []))[1].append(row)
    yield from frames.values()


def _counts(panes: pl.DataFrame, keys: list[Key]) -> list[tuple[int, ...]]:
    plain = [panes[name].fill_null(0).to_list() for name in ("spans", "errors", "blocks", "cost", "unpriced")]
    tokens = panes.select(pl.sum_horizontal(pl.col(*_TOKENS).fill_null(0))).to_series().to_list()
    return [
        (*counts, total, counts[0], counts[2]) if key[_REQUEST] else (*counts, total, 0, 0)
        for counts, total, key in zip(zip(*plain, strict=True), tokens, keys, strict=True)
    ]
