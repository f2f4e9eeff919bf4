"""For tests of whatever fills the tables: the sink's tables in memory, with no ClickHouse.

They hold what an insert brings; readers see what `FINAL` would show them. Tokens are forgotten as the real table does.
"""

import math
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl
from spanloom_schemas.panes import KEY

from spanloom_sinks.database import RollUp
from spanloom_sinks.rows import spans as span_rows
from spanloom_sinks.rows.panes import SUMS
from spanloom_sinks.source import Source
from spanloom_sinks.trace_hours_sql import KEY as TRACE_KEY

Row = dict[str, Any]
Sums = dict[tuple[Any, ...], Counter[Any]]
"""By pane key: sums by name, and counts by (sketch, index)."""

_MINUTE_NS, _MINUTE_MS, _HOUR_S, _HOUR_MS = 60_000_000_000, 60_000, 3600, 3_600_000
_HOUR_NS = _HOUR_MS * 1_000_000
_LATENCIES = ("duration", "ttft", "tpot")
_KEYS: dict[str, tuple[str, ...]] = {
    "batches": ("producer", "epoch", "sequence", "topic_id", "partition", "offset"),
    "traces": ("topic_id", "partition", "first_offset", "trace_id"),
    "panes": ("start", *KEY, "topic_id", "partition", "late_offset"),
    "alerts": ("rule", "identity", "state"),
    "dead_letters": ("topic", "topic_id", "partition", "offset", "stage"),
}
_FUTURE_DATED = 2


class MemoryDatabase:
    """`database.Database` in memory. `window`: how many tokens a table remembers."""

    def __init__(self, window: int = 10_000) -> None:
        self.rows: dict[str, list[Row]] = {}
        """By table every row inserted, in order; times are epoch integers in their column's unit."""
        self.rolled_up: dict[str, dict[int, Sums]] = {"panes_1m": {}, "panes_1h": {}}
        """By roll-up and window (epoch ms); the name `revision` has the sum of the panes' revisions."""
        self.trace_hours: dict[int, Counter[tuple[Any, ...]]] = {}
        """By hour (epoch s) and key how many traces `traces_1h` has, and by key and "spans" how many spans."""
        self._window = window
        self._tokens: dict[str, OrderedDict[str, None]] = {}
        self._spans: list[pl.DataFrame] = []

    def insert(self, table: str, rows: pl.DataFrame, token: str | None = None) -> None:
        """As `Database` says."""
        known = self._tokens.setdefault(table, OrderedDict())
        if token in known:
            return
        if token:
            known[token] = None
            while len(known) > self._window:
                known.popitem(last=False)
        plain = rows.with_columns(pl.col(pl.Datetime).cast(pl.Int64), pl.col(pl.Enum).cast(pl.String))
        self.rows.setdefault(table, []).extend(plain.iter_rows(named=True))
        if table == "spans":
            self._spans.append(plain)

    def final(self, table: str) -> list[Row]:
        """The rows that FINAL would show: of those with one key the one of the highest version, the last of equals."""
        found: dict[tuple[Any, ...], Row] = {}
        for row in self.rows.get(table, ()):
            key = _span_key(row) if table == "spans" else tuple(row[name] for name in _KEYS[table])
            if key not in found or _version(table, row) >= _version(table, found[key]):
                found[key] = row
        return list(found.values())

    def whole_panes(self) -> list[Row]:
        """Of `panes` the rows that are no late rows: of each source partition's pane the highest revision, whole."""
        rows = [row for row in self.final("panes") if row["late_offset"] < 0]
        highest: dict[tuple[Any, ...], int] = {}
        for row in rows:
            place = row["start"], row["topic_id"], row["partition"]
            highest[place] = max(row["revision"], highest.get(place, 0))
        return [row for row in rows if row["revision"] == highest[row["start"], row["topic_id"], row["partition"]]]

    def existing(self, source: Source, first: int, last: int, since: int, until: int) -> pl.DataFrame:
        """As `Database` says."""
        found = [
            (row["offset"], row["position"])
            for row in self.rows.get("spans", ())
            if (row["topic_id"], row["partition"]) == (source.topic_id, source.partition)
            and first <= row["offset"] <= last
            and since <= row["log_time"] <= until
        ]
        return pl.DataFrame(found, schema={"offset": pl.Int64, "position": pl.UInt32}, orient="row")

    def several(self, ids: Sequence[str], since: int | None = None) -> pl.DataFrame:
        """As `Database` says."""
        keys: dict[str, set[tuple[Any, ...]]] = {trace_id: set() for trace_id in ids}
        for row in self.rows.get("traces", []):
            if row["trace_id"] in keys and (since is None or row["log_clock"] >= since):
                keys[row["trace_id"]].add((row["topic_id"], row["partition"], row["first_offset"]))
        found = [trace_id for trace_id, segments in keys.items() if len(segments) > 1]
        return pl.DataFrame({"trace_id": found}, schema={"trace_id": pl.String})

    def segments(self, ids: Sequence[str]) -> pl.DataFrame:
        """As `Database` says."""
        times = {"log_clock": "ms", "log_time": "ms", "start": "ns", "end": "ns"}
        names = ("trace_id", "topic_id", "partition", "first_offset", "revision", "spans", *times)
        rows = [{name: row[name] for name in names} for row in self.final("traces") if row["trace_id"] in set(ids)]
        units = [pl.col(name).cast(pl.Datetime(unit, "UTC")) for name, unit in times.items()]  # type: ignore[arg-type]
        return pl.DataFrame(rows).with_columns(units, revision=pl.col("revision").cast(pl.Int32))

    def spans_of(self, ids: Sequence[str], since: int) -> pl.DataFrame:
        """As `Database` says."""
        if not self._spans:
            return pl.DataFrame()
        spans = pl.concat(self._spans).with_columns((pl.col("end") // _MINUTE_NS).alias("minute"))
        spans = spans.filter(pl.col("trace_id").is_in(list(ids)), pl.col("offset") >= since)
        spans = spans.sort(pl.col("timeliness") == _FUTURE_DATED, "offset", "position")
        spans = spans.unique(["minute", "trace_id", "kind", "span_id"], keep="first", maintain_order=True)
        return spans.select(
            *(pl.when(pl.col(name) != "").then(name).alias(name) for name in span_rows.TEXTS),
            *(*span_rows.FLAGS, *span_rows.NUMBERS, "documents", "scores", "offset", "position", "start", "end"),
            duration=(pl.col("end") - pl.col("start")).clip(0, None),
        )

    def reach(self, minutes: Iterable[datetime]) -> pl.DataFrame:
        """As `Database` says."""
        asked = {int(minute.timestamp()) for minute in minutes}
        found: dict[tuple[Any, ...], int] = {}
        for row in self.rows.get("panes", ()):
            minute = row["start"] // _MINUTE_MS * 60
            if minute in asked:
                place = minute, row["topic_id"], row["partition"]
                found[place] = max(row["next_offset"], found.get(place, 0))
        columns = ["minute", "topic_id", "partition", "next_offset"]
        return pl.DataFrame([(*place, end) for place, end in found.items()], schema=columns, orient="row")

    def sum_up(self, table: RollUp, windows: Iterable[datetime]) -> None:
        """As `Database` says; of scores, block reasons and worst spans nothing is kept."""
        if table == "traces_1h":
            self.trace_hours |= {int(window.timestamp()): self.traces_of(int(window.timestamp())) for window in windows}
            return
        for window in windows:
            at = int(window.timestamp()) * 1000
            held = self.rolled_up[table].setdefault(at, {})
            revision, sums = self._minute(at) if table == "panes_1m" else self._hour(at)
            for key in held.keys() | sums.keys():
                told = sums.get(key, Counter()) + Counter({"revision": revision})
                if key not in held or _rolled_version(told) >= _rolled_version(held[key]):
                    held[key] = told

    def traces_of(self, hour: int) -> Counter[tuple[Any, ...]]:
        """What `traces` holds of an hour, as `trace_hours` has it."""
        counted: Counter[tuple[Any, ...]] = Counter()
        for row in self.final("traces"):
            if row["start"] // _HOUR_NS * _HOUR_S == hour and not row["superseded"]:
                key = tuple(row[name] for name in TRACE_KEY)
                counted.update({key: 1, (*key, "spans"): row["spans"]})
        return counted

    def unfolded(self) -> list[datetime]:
        """As `Database` says: no days, for nothing expires here."""
        return []

    def fold_late(self, day: datetime) -> None:
        """As `Database` says; it is not called, for nothing expires here."""
        raise NotImplementedError

    def told_until(self) -> datetime:
        """As `Database` says."""
        newest = max((row["log_time"] for row in self.rows.get("traces", ())), default=0)
        return datetime.fromtimestamp(newest / 1000, UTC)

    def unclosed(self, before: datetime, limit: int) -> list[datetime]:
        """As `Database` says."""
        closed = max((row["start"] // 1000 for row in self.rows.get("traces_1h_closed", ())), default=-1)
        hours = {row["start"] // _HOUR_NS * _HOUR_S for row in self.rows.get("traces", ())}
        due = sorted(hour for hour in hours if closed < hour < before.timestamp())
        return [datetime.fromtimestamp(hour, UTC) for hour in due[:limit]]

    def close(self) -> None:
        """Nothing is held."""

    def _hour(self, at: int) -> tuple[int, Sums]:
        minutes = [m for start, m in self.rolled_up["panes_1m"].items() if start // _HOUR_MS * _HOUR_MS == at]
        revisions = [max((sums["revision"] for sums in minute.values()), default=0) for minute in minutes]
        total = _added(part for minute in minutes for part in minute.items())
        for sums in total.values():
            del sums["revision"]
        return sum(revisions), total

    def _minute(self, at: int) -> tuple[int, Sums]:
        whole = [row for row in self.whole_panes() if row["start"] // _MINUTE_MS * _MINUTE_MS == at]
        revisions = {(row["start"], row["topic_id"], row["partition"]): row["revision"] for row in whole}
        panes = [(_key(row), _sums(row)) for row in whole]
        late = [row for row in self.final("spans") if row["timeliness"] != 0]
        own = [(_key(row), _sums_of_span(row)) for row in late if row["end"] // _MINUTE_NS * _MINUTE_MS == at]
        return sum(revisions.values()), _added([*panes, *own])


def _rolled_version(sums: Counter[Any]) -> tuple[int, int]:
    return sums["revision"], sums["spans"]


def _added(parts: Iterable[tuple[tuple[Any, ...], Counter[Any]]]) -> Sums:
    total: Sums = {}
    for key, sums in parts:
        total.setdefault(key, Counter()).update(sums)
    return total


def _sums(pane: Row) -> Counter[Any]:
    sums: Counter[Any] = Counter({name: pane[name] for name in SUMS})
    for name in _LATENCIES:
        sums.update({(name, bucket["index"]): bucket["count"] for bucket in pane[f"{name}_sketch"]})
    return sums


def _sums_of_span(span: Row) -> Counter[Any]:
    values = {
        **span,
        "spans": 1,
        "errors": span["error"],
        "blocks": span["blocked"],
        "cache_hits": span["cached"],
        "documents": len(span["documents"]) if span["kind"] == "retrieval" else 0,
        "cited": sum(document["cited"] for document in span["documents"]),
        "unpriced": span["cost_status"] == "unpriced",
        "estimated": span["usage"] == "estimated",
        "duration": max(0, span["end"] - span["start"]),
    }
    sums: Counter[Any] = Counter({name: int(values[name] or 0) for name in SUMS})
    for name in _LATENCIES:
        if values[name] is not None:
            sums[name, math.ceil(math.log2(max(values[name], 1)) * 64) - 1] += 1
    return sums


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in KEY)


def _span_key(row: Row) -> tuple[Any, ...]:
    return row["end"] // _MINUTE_NS, row["trace_id"], row["kind"], row["span_id"]


def _version(table: str, row: Row) -> tuple[Any, ...]:
    if table == "spans":
        return row["timeliness"] != _FUTURE_DATED, -row["offset"], -row["position"]
    if table == "traces":
        return row["amended"] or row["superseded"], row["revision"], row["spans"], row["superseded"]
    if table == "panes":
        return row["revision"], row["spans"], row["final"]
    return (row["at"],) if table == "alerts" else ()
