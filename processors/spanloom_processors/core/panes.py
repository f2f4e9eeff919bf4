"""Panes: 10 s of event time of one partition, a row for each key; a row is a function of a prefix of the log.

Rows are upserts whose version is the span count. A span that is late, or dated in the future, is in no pane: it is in a
*late row*, which is complete with its message and forgotten once emitted.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from spanloom_processors.core import aggregate
from spanloom_processors.core.bounds import Bounds
from spanloom_processors.core.clock import PANE_MS
from spanloom_processors.core.revisions import Revision, in_effect, revision_at

DIMENSIONS = {
    "environment": pl.String,
    "service": pl.String,
    "kind": pl.String,
    "request": pl.Boolean,
    "model": pl.String,
    "prompt_id": pl.String,
    "prompt_version": pl.String,
    "tenant": pl.String,
    "experiment": pl.String,
    "run_id": pl.String,
}
OTHER = "other"

_SPAN = ["start", "trace_id", "span_id"]

_KEY_SCHEMA = {"group": pl.Int64, "start": pl.Int64, **DIMENSIONS, "late_offset": pl.Int64}
_REQUEST = list(DIMENSIONS).index("request")
_WORST = pl.Struct({"why": pl.String, "value": pl.Int64, "trace_id": pl.String, "span_id": pl.String})
_WORST_FIELDS = [field.name for field in _WORST.fields]
_BUCKET = pl.Struct({"index": pl.Int32, "count": pl.Int64})
_LISTS = {
    "duration_sketch": ("duration", _BUCKET),
    "ttft_sketch": ("ttft", _BUCKET),
    "tpot_sketch": ("tpot", _BUCKET),
    "scores": ("scores", pl.Struct({"name": pl.String, "count": pl.Int64, "sum": pl.Int64})),
    "block_reasons": ("block_reasons", pl.Struct({"reason": pl.String, "count": pl.Int64})),
}

SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "start": pl.Int64,
    **DIMENSIONS,
    "late_offset": pl.Int64,
    "final": pl.Boolean,
    "spans": pl.Int64,
    **dict.fromkeys(aggregate.COUNTS, pl.Int64),
    **{name: pl.List(_BUCKET) for name in ("duration_sketch", "ttft_sketch", "tpot_sketch")},
    "latency_le": pl.List(pl.Int64),
    **{name: pl.List(_LISTS[name][1]) for name in ("scores", "block_reasons")},
    "worst": pl.List(_WORST),
    "revision": pl.Int32,
}
"""Columns of pane rows: llm.panes' Pane and the `revision` that a message carries in its header."""


def _listed(column: str, fact: str, item: pl.Struct) -> pl.Expr:
    names = [pl.col("name").alias("reason") if field.name == "reason" else pl.col(field.name) for field in item.fields]
    return pl.struct(names).filter(pl.col("fact") == fact).alias(column)


_LISTED = [_listed(column, *of) for column, of in _LISTS.items()]
_ASSEMBLED = [
    *(pl.col(column).fill_null(pl.lit([], pl.List(item))) for column, (_, item) in _LISTS.items()),
    pl.concat_list(aggregate.BUCKETS).alias("latency_le"),
    pl.col("worst").fill_null(pl.lit([], pl.List(_WORST))),
]

Key = tuple[str | bool, ...]


class Panes:
    """The open panes of a partition. `overflow` and `duplicates` count spans since it was made."""

    def __init__(self, bounds: Bounds, revisions: Sequence[Revision]) -> None:
        self.overflow = {"pane_keys": 0, "pane_labels": 0}
        self.duplicates = 0
        self._bounds = bounds
        self._revisions = revisions
        self._next_group = 0
        self._keys: dict[int, tuple[int, Key, int | None]] = {}  # group → pane start, key, late offset
        self._groups: dict[int, dict[Key, int]] = {}  # pane start → key → group
        self._labels: dict[tuple[int, str], set[str]] = {}  # (pane start, fact) → names
        self._ids: list[pl.DataFrame] = []  # of the spans that open panes hold
        self._hashes: dict[int, set[int]] = {}  # pane start → hashes of these ids
        self._first: dict[int, tuple[int, int]] = {}  # pane start → first offset, log clock before it
        self._changed: set[int] = set()
        self._wide = [pl.DataFrame(schema=aggregate.WIDE)]
        self._tall = [pl.DataFrame(schema=aggregate.TALL)]
        self._worst = [pl.DataFrame(schema=aggregate.WORST)]

    def fold(self, spans: pl.DataFrame) -> None:
        """Fold derived spans in log order, with their pane's `start`, a `late_offset` (null: on time) and `before`."""
        spans = self._first_copies(spans)
        if spans.is_empty():
            return
        firsts = spans.filter(pl.col("late_offset").is_null()).group_by("start").agg(pl.col("offset", "before").first())
        for start, offset, before in firsts.iter_rows():
            self._first.setdefault(start, (offset, before))
        spans = self._grouped(spans)
        scores = self._named(aggregate.scores_of(spans), "scores")
        reasons = self._named(aggregate.reasons_of(spans), "block_reasons")
        self._wide.append(aggregate.wide(spans))
        self._tall.append(aggregate.tall(spans, scores, reasons))
        self._worst.append(aggregate.worst(spans))

    def emit(self, frontier: int) -> pl.DataFrame:
        """Rows (`SCHEMA`) changed since the last call, late rows and, `final`, the panes the frontier has passed."""
        closed = {
            group for group, (start, _, late) in self._keys.items() if late is None and start + PANE_MS <= frontier
        }
        late = {group for group in self._changed if self._keys[group][2] is not None}
        told = self._changed | closed
        self._changed = set()
        if not told:
            return pl.DataFrame(schema=SCHEMA)
        self._merge()
        rows = self._rows(told, frontier)
        self._forget(closed | late, frontier)
        return rows

    def silence(self, frontier: int) -> int:
        """Forget the open panes that end at or before `frontier`, and tell how many spans they held."""
        lost = {group for group, (start, _, late) in self._keys.items() if late is None and start + PANE_MS <= frontier}
        held = sum(len(ids) for start, ids in self._hashes.items() if start + PANE_MS <= frontier)
        if lost:
            self._merge()
            self._forget(lost, frontier)
        return held

    def needed(self) -> tuple[int, int] | None:
        """The first offset that an open pane needs, and the log clock before it."""
        return min(self._first.values(), default=None)

    def _first_copies(self, spans: pl.DataFrame) -> pl.DataFrame:
        """Without spans that their pane already holds."""
        hashed = pl.col("trace_id").hash() ^ pl.col("span_id").hash(1)
        ids = spans.select(*_SPAN, hash=hashed).with_row_index("row").filter(spans["late_offset"].is_null())
        suspected = False
        for start, hashes in ids.group_by("start").agg("hash").iter_rows():
            known, fresh = self._hashes.setdefault(start, set()), set(hashes)
            suspected |= len(fresh) < len(hashes) or not known.isdisjoint(fresh)
            known |= fresh
        copies = self._copies(ids) if suspected else []
        self._ids.append(ids.select(_SPAN))
        self.duplicates += len(copies)
        return spans.filter(~pl.int_range(pl.len()).is_in(copies)) if copies else spans

    def _copies(self, ids: pl.DataFrame) -> list[int]:
        """The rows that repeat a span, by the ids themselves: hashes only say where to look."""
        held = pl.concat(self._ids) if self._ids else ids.select(_SPAN).clear()
        again = ids.join(held, on=_SPAN, how="semi")["row"]
        return pl.concat([again, ids.filter(~pl.struct(_SPAN).is_first_distinct())["row"]]).unique().to_list()

    def _grouped(self, spans: pl.DataFrame) -> pl.DataFrame:
        """With the column `group`; keys are admitted in the order in which the log brings them."""
        dimensions = [pl.col(name).cast(dtype) for name, dtype in DIMENSIONS.items()]
        filled = [each if each.meta.output_name() == "request" else each.fill_null("") for each in dimensions]
        spans = spans.with_columns(filled).with_row_index("row")
        spans = spans.with_columns(pl.col("row").first().over("start", "late_offset", *DIMENSIONS).alias("first"))
        heads = spans.group_by("first", maintain_order=True).agg(pl.len().alias("size"))
        keys = spans.select("start", "late_offset", *DIMENSIONS)[heads["first"]]
        groups = [
            self._group(start, tuple(key), late, size)
            for (start, late, *key), size in zip(keys.iter_rows(), heads["size"], strict=True)
        ]
        self._changed.update(groups)
        lookup = pl.DataFrame({"first": heads["first"], "group": groups}, schema_overrides={"group": pl.Int64})
        return spans.with_columns(
            spans.select("first").join(lookup, on="first", how="left", maintain_order="left")["group"]
        )

    def _group(self, start: int, key: Key, late_offset: int | None, size: int) -> int:
        if late_offset is not None:
            return self._new_group(start, key, late_offset)
        groups = self._groups.setdefault(start, {})
        if key not in groups and len(groups) >= self._bounds_at(start).pane_keys:
            self.overflow["pane_keys"] += size
            key = tuple(OTHER if isinstance(value, str) else value for value in key)
        if key not in groups:
            groups[key] = self._new_group(start, key, None)
        return groups[key]

    def _new_group(self, start: int, key: Key, late_offset: int | None) -> int:
        self._next_group += 1
        self._keys[self._next_group] = (start, key, late_offset)
        return self._next_group

    def _named(self, found: pl.DataFrame, fact: str) -> pl.DataFrame:
        """With names past the bound of their pane as `other`."""
        if found.is_empty():
            return found
        on_time = found.filter(pl.col("late_offset").is_null()).select("start", "name")
        beyond = [name for name in on_time.unique(maintain_order=True).iter_rows() if not self._admits(fact, *name)]
        if not beyond:
            return found
        marks = pl.DataFrame(beyond, schema={"start": pl.Int64, "name": pl.String}, orient="row")
        marks = marks.with_columns(beyond=pl.col("start").is_not_null() & pl.lit(True))
        marked = found.join(marks, on=["start", "name"], how="left")
        moved = pl.col("beyond").is_not_null() & pl.col("late_offset").is_null()
        self.overflow["pane_labels"] += marked.select(moved.sum()).item()
        return marked.with_columns(pl.when(moved).then(pl.lit(OTHER)).otherwise("name").alias("name"))

    def _admits(self, fact: str, start: int, name: str) -> bool:
        names = self._labels.setdefault((start, fact), set())
        if name not in names and len(names) < self._bounds_at(start).pane_labels:
            names.add(name)
        return name in names

    def _bounds_at(self, start: int) -> Bounds:
        own = in_effect(start, self._revisions)
        keys, labels = own.pane_keys, own.pane_labels
        return self._bounds._replace(
            pane_keys=self._bounds.pane_keys if keys is None else keys,
            pane_labels=self._bounds.pane_labels if labels is None else labels,
        )

    def _merge(self) -> None:
        self._wide = [aggregate.add_wide(self._wide)]
        self._tall = [aggregate.add_tall(self._tall)]
        self._worst = [aggregate.add_worst(self._worst)]

    def _rows(self, told: set[int], frontier: int) -> pl.DataFrame:
        keys = [(group, start, *key, late) for group in sorted(told) for start, key, late in [self._keys[group]]]
        rows = pl.DataFrame(keys, schema=_KEY_SCHEMA, orient="row")
        told_only = rows.select("group")
        tall = self._tall[0].join(told_only, on="group", how="semi").sort("group", "fact", "index", "name")
        worst = self._worst[0].join(told_only, on="group", how="semi", maintain_order="left")
        facts = [
            self._wide[0],
            tall.group_by("group").agg(_LISTED),
            worst.group_by("group", maintain_order=True).agg(pl.struct(_WORST_FIELDS).alias("worst")),
        ]
        for each in facts:
            rows = rows.join(each, on="group", how="left", maintain_order="left")
        final = pl.col("late_offset").is_null() & (pl.col("start") + PANE_MS <= frontier)
        revision = revision_at(pl.col("start"), self._revisions)
        return rows.with_columns(*_ASSEMBLED, final=final, revision=revision).select(SCHEMA.keys())

    def _forget(self, groups: set[int], frontier: int) -> None:
        for group in groups:
            del self._keys[group]
        self._changed -= groups
        for start in [start for start in self._groups if start + PANE_MS <= frontier]:
            del self._groups[start], self._hashes[start], self._first[start]
        self._ids = [ids for ids in self._ids if (ids["start"].max() or 0) + PANE_MS > frontier]  # type: ignore[operator]
        self._labels = {(start, fact): names for (start, fact), names in self._labels.items() if start in self._groups}
        if groups:
            gone = pl.DataFrame({"group": list(groups)}, schema={"group": pl.Int64})
            for held in (self._wide, self._tall, self._worst):
                held[:] = [frame.join(gone, on="group", how="anti", maintain_order="left") for frame in held]
