"""The tables as the sink knows them: rows in, and the few questions that exactness needs, each by name.

`testing.MemoryDatabase` answers the same ones without ClickHouse.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal, Protocol

import polars as pl

from spanloom_sinks import rollup_sql, trace_hours_sql
from spanloom_sinks.rows import spans
from spanloom_sinks.source import Source
from spanloom_sinks.store import Store

RollUp = Literal["panes_1m", "panes_1h", "traces_1h"]

_EXISTING = """
SELECT offset, position FROM spans
WHERE topic_id = {topic_id:String} AND partition = {partition:Int32} AND offset BETWEEN {first:Int64} AND {last:Int64}
  AND log_time BETWEEN fromUnixTimestamp64Milli({since:Int64}) AND fromUnixTimestamp64Milli({until:Int64})
"""
_SEVERAL = """
SELECT trace_id FROM traces
WHERE {condition} GROUP BY trace_id HAVING uniqExact(topic_id, partition, first_offset) > 1
"""
_EVER = "trace_id IN {ids:Array(String)}"
_SINCE = f"log_clock >= fromUnixTimestamp64Milli({{since:Int64}}) AND {_EVER}"
_SEGMENTS = """
SELECT trace_id, topic_id, partition, first_offset, revision, log_clock, log_time, spans, start, end
FROM traces FINAL WHERE trace_id IN {ids:Array(String)}
"""
_TEXTS = [name for name in spans.TEXTS if name not in ("input", "output", "input_hash", "output_hash")]
# The columns are those of the derived span frame.
_SPANS = f"""
SELECT
    {", ".join(f"nullIf(toString({name}), '') AS {name}" for name in _TEXTS)},
    {", ".join((*spans.FLAGS, *spans.NUMBERS, "duration", "documents", "scores", "offset", "position"))},
    toUnixTimestamp64Nano(s.start) AS start, toUnixTimestamp64Nano(s.end) AS end
FROM spans AS s FINAL
WHERE trace_id IN {{ids:Array(String)}} AND offset >= {{since:Int64}}
SETTINGS use_skip_indexes_if_final = 1
"""
_REACH = """
SELECT toUnixTimestamp(toStartOfMinute(start)) AS minute, topic_id, partition, max(next_offset) AS next_offset
FROM panes WHERE toStartOfMinute(start) {window} GROUP BY ALL
"""
_STATEMENTS = {"panes_1m": rollup_sql.minutes, "panes_1h": rollup_sql.hours, "traces_1h": trace_hours_sql.hours}


class Database(Protocol):
    """The tables. Every call raises StoreError where the answer is not known; call again then."""

    def insert(self, table: str, rows: pl.DataFrame, token: str | None = None) -> None:
        """Insert `rows` (columns by name); a second insert with the same token changes nothing."""

    def existing(self, source: Source, first: int, last: int, since: int, until: int) -> pl.DataFrame:
        """Of a source's messages `first` to `last`, logged from `since` to `until` (epoch ms), the rows that `spans`
        has: `offset`, `position`.
        """

    def several(self, ids: Sequence[str], since: int | None = None) -> pl.DataFrame:
        """Those of the traces (`trace_id`) that stand in several segments; `since`: told when the log clock of their
        source partition was this (epoch ms) or later.
        """

    def segments(self, ids: Sequence[str]) -> pl.DataFrame:
        """The segments of traces: their keys, `revision`, `log_clock`, `log_time`, how many `spans` they hold, and from
        when to when they are told to last (`start`, `end`).
        """

    def spans_of(self, ids: Sequence[str], since: int) -> pl.DataFrame:
        """The spans of traces, each once, as a derived span frame; none is in a message before offset `since`."""

    def reach(self, minutes: Iterable[datetime]) -> pl.DataFrame:
        """How far in its source (`topic_id`, `partition`) the panes of each `minute` (epoch s) reach: `next_offset`."""

    def sum_up(self, table: RollUp, windows: Iterable[datetime]) -> None:
        """Compute windows of a roll-up again from what the other tables hold now."""

    def unfolded(self) -> list[datetime]:
        """Days of log time whose late spans are to be folded before `spans` loses them, the first one first."""

    def fold_late(self, day: datetime) -> None:
        """Sum up the late spans of a day (of log time) by minutes, which from then on are taken from there."""

    def told_until(self) -> datetime:
        """The log time of the newest row of `traces`; the epoch where there is none."""

    def unclosed(self, before: datetime, limit: int) -> list[datetime]:
        """The first hours with traces behind the last one of `traces_1h_closed` and before a moment."""

    def close(self) -> None:
        """Let go of the connection."""


class ClickHouse(Store):
    """The tables in a ClickHouse database."""

    def existing(self, source: Source, first: int, last: int, since: int, until: int) -> pl.DataFrame:
        """As `Database` says."""
        where = {"topic_id": source.topic_id, "partition": source.partition, "first": first, "last": last}
        found = self.query(_EXISTING, **where, since=since, until=until)
        return found.cast({"offset": pl.Int64, "position": pl.UInt32}) if found.height else found

    def several(self, ids: Sequence[str], since: int | None = None) -> pl.DataFrame:
        """As `Database` says."""
        if since is None:
            return self.query(_SEVERAL.replace("{condition}", _EVER), ids=list(ids))
        return self.query(_SEVERAL.replace("{condition}", _SINCE), ids=list(ids), since=since)

    def segments(self, ids: Sequence[str]) -> pl.DataFrame:
        """As `Database` says."""
        return self.query(_SEGMENTS, ids=list(ids))

    def spans_of(self, ids: Sequence[str], since: int) -> pl.DataFrame:
        """As `Database` says."""
        return self.query(_SPANS, ids=list(ids), since=since)

    def reach(self, minutes: Iterable[datetime]) -> pl.DataFrame:
        """As `Database` says."""
        return self.query(_REACH.replace("{window}", rollup_sql.among(minutes)))

    def sum_up(self, table: RollUp, windows: Iterable[datetime]) -> None:
        """As `Database` says."""
        statement = _STATEMENTS[table](windows)
        # Of two sums of traces that overlap, the one that began later has seen more.
        version = {"version": self.query(trace_hours_sql.NOW).item()} if table == "traces_1h" else {}
        self.command(statement, **version)

    def unfolded(self) -> list[datetime]:
        """As `Database` says."""
        return [datetime.fromtimestamp(day, UTC) for (day,) in self.query(rollup_sql.UNFOLDED).iter_rows()]

    def fold_late(self, day: datetime) -> None:
        """As `Database` says."""
        self.command(rollup_sql.fold(day))
        self.insert("late_1m_folded", pl.DataFrame({"day": [day.date()]}))

    def told_until(self) -> datetime:
        """As `Database` says."""
        return datetime.fromtimestamp(self.query(trace_hours_sql.TOLD).item(), UTC)

    def unclosed(self, before: datetime, limit: int) -> list[datetime]:
        """As `Database` says."""
        if (seconds := int(before.timestamp())) <= 0:
            return []
        found = self.query(trace_hours_sql.DUE, before=seconds, limit=limit)
        return [datetime.fromtimestamp(hour, UTC) for (hour,) in found.iter_rows()]
