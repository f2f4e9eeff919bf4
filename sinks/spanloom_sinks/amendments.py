"""One truth a trace: a trace that came in several segments is summed up again from its spans.

Late spans, a long agent run or a client that sent its spans twice make a second segment of a trace that was told
already. Two ways lead here, and the spans' own may be the slower one: a trace is summed up only when all that its
processor can have read is in `spans`. Until then the commit of llm.traces waits, so a crash only makes it happen again.
"""

from collections.abc import Iterator
from typing import NamedTuple

import polars as pl
from spanloom_schemas.frames.traces import summarise

from spanloom_sinks.consumer import Consumer
from spanloom_sinks.database import Database
from spanloom_sinks.lane import Lane
from spanloom_sinks.metrics import Metrics
from spanloom_sinks.rows import traces
from spanloom_sinks.rows.spans import FUTURE_MS

SPANS = "llm.spans"
TURN_SECONDS = 1.0
_IDS_BYTES = 64 << 10
"""Of trace ids in one query: ClickHouse takes 128 KiB in a field of a form, which is how so many are sent."""
SPANS_AT_ONCE = 100_000
"""Spans summed up in one go. A trace of more stays in its segments, each of them true, and is counted."""

LOOK_BACK_MS = 3_600_000
"""How far back, by the log clock of their source, other segments of every trace are looked for."""

_LASTED = pl.Schema({name: pl.Datetime("ns", "UTC") for name in ("start", "end")})


class _Waiting(NamedTuple):
    lane: Lane
    first: int
    ids: pl.Series
    partition: int
    end: int
    """The spans of its partition that it may need end before this offset."""


class Amendments:
    """Which traces are to be summed up again, and when their spans are there."""

    def __init__(self, store: Database, consumer: Consumer, metrics: Metrics) -> None:
        self._store, self._consumer, self._metrics = store, consumer, metrics
        self._at = 0.0
        self.clear()

    def clear(self) -> None:
        """Forget everything: whoever reads the traces again will note it again."""
        self._noted: list[tuple[Lane, int, pl.DataFrame]] = []
        self._waiting: list[_Waiting] = []

    def note(self, lane: Lane, first: int, segments: pl.DataFrame) -> None:
        """Note a block of rows of `traces` that was written; `first` is its first offset in llm.traces."""
        self._noted.append((lane, first, segments.select("trace_id", "topic_id", "partition", "log_clock", _joins())))

    def hold(self, lane: Lane) -> int | None:
        """The first offset of `lane` that is still needed here; None: nothing is."""
        firsts = [first for noted, first, _ in self._noted if noted is lane]
        return min([*firsts, *(w.first for w in self._waiting if w.lane is lane)], default=None)

    def turn(self, now: float) -> list[tuple[Lane, int, pl.DataFrame]]:
        """Do what is due, and return what changed in `traces`: as `TraceHours.note` takes it.

        Raises StoreError or KafkaException; what was not done is done at the next turn.
        """
        if now - self._at < TURN_SECONDS:
            return []
        self._at = now
        while self._noted:
            self._waiting.extend(self._several(*self._noted[0]))
            del self._noted[0]
        stored = self._consumer.progress(SPANS, {w.partition for w in self._waiting})
        ready = [w for w in self._waiting if stored[w.partition] >= w.end]
        if not ready:
            return []
        changed = self._amend(pl.concat([w.ids for w in ready]).unique())
        done = set(map(id, ready))  # they hold series, which cannot be compared
        self._waiting = [w for w in self._waiting if id(w) not in done]
        return [(w.lane, w.first, changed) for w in ready]

    def _several(self, lane: Lane, first: int, segments: pl.DataFrame) -> list[_Waiting]:
        """What of a noted block must be summed up again."""
        # By their own log clock: in a backlog other partitions may be hours ahead, and rows are told whenever it suits.
        since = segments.select(pl.col("log_clock").dt.epoch("ms").min() - LOOK_BACK_MS).item()
        found = [
            self._ask(segments["trace_id"], since),
            self._ask(segments.filter("joins")["trace_id"]),
        ]
        several = segments.join(pl.concat(found).unique(), on="trace_id", how="semi")
        here = several.filter(pl.col("topic_id") == self._consumer.topic_id(SPANS))
        waiting = [
            _Waiting(
                lane,
                first,
                group["trace_id"].unique(),
                int(str(partition)),
                self._consumer.end(SPANS, int(str(partition))),
            )
            for (partition,), group in here.group_by("partition")
        ]
        # Of a topic that is no more nothing else will come.
        gone = several.join(here, on="trace_id", how="anti")["trace_id"].unique()
        return [*waiting, _Waiting(lane, first, gone, 0, 0)] if gone.len() else waiting

    def _ask(self, ids: pl.Series, since: int | None = None) -> pl.DataFrame:
        found = [self._store.several(part, since) for part in _parts(ids)]
        return pl.concat([pl.DataFrame(schema={"trace_id": pl.String}), *(each for each in found if each.width)])

    def _amend(self, ids: pl.Series) -> pl.DataFrame:
        """Sum up these traces again; `start` and `end` of what is told of them, and of what was."""
        changed = [pl.DataFrame(schema=_LASTED)]
        for part in _parts(ids):
            segments = self._store.segments(part)
            changed.append(segments.select(*_LASTED))
            for share in self._shares(segments):
                changed.append(self._amend_share(share))
        return pl.concat([each.cast(_LASTED) for each in changed])

    def _shares(self, segments: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """The segments of traces that are not too large, some traces at a time."""
        sizes = segments.group_by("trace_id", maintain_order=True).agg(pl.col("spans").sum())
        small = sizes.filter(pl.col("spans") <= SPANS_AT_ONCE)
        self._metrics.unamended.inc(sizes.height - small.height)
        shares = small.with_columns(share=pl.col("spans").cum_sum() // SPANS_AT_ONCE)
        for _, share in shares.group_by("share", maintain_order=True):
            yield segments.join(share, on="trace_id", how="semi", maintain_order="left").drop("spans", *_LASTED)

    def _amend_share(self, segments: pl.DataFrame) -> pl.DataFrame:
        # By place in the log, not by time: feedback and spans with odd clocks lie outside of a segment's start and end.
        since = segments["first_offset"].min()
        found = self._store.spans_of(segments["trace_id"].unique().to_list(), since)  # type: ignore[arg-type]
        if found.is_empty():  # retention took them before they were stored
            return pl.DataFrame(schema=_LASTED)
        rows = traces.amended(summarise(found), segments)
        self._store.insert("traces", rows)
        self._metrics.amended.inc(segments["trace_id"].n_unique())
        return rows.select(*_LASTED)


def _joins() -> pl.Expr:
    """Whether a segment may join one that was told before the look back: all others began after it.

    A late span's segment is partial. A whole one that was sent again, or the root of a run of hours, began before what
    that segment held had come; unless its client's clock is ahead.
    """
    start, end = (pl.col(name).dt.epoch("ms") for name in ("start", "end"))
    clock = pl.col("log_clock").dt.epoch("ms")
    early = start < clock - LOOK_BACK_MS + FUTURE_MS
    return ((pl.col("reason") != "") | early | (end > clock + FUTURE_MS)).alias("joins")


def _parts(ids: pl.Series) -> list[list[str]]:
    """Distinct ids in parts that a query takes; an id is counted with its quotes, and twice: it may be escaped."""
    sizes = pl.DataFrame({"id": ids.unique(maintain_order=True)})
    sizes = sizes.with_columns(part=(pl.col("id").str.len_bytes() * 2 + 3).cum_sum() // _IDS_BYTES)
    return [part["id"].to_list() for _, part in sizes.group_by("part", maintain_order=True)]
