"""Which row counts: of two versions of a pane the highest (revision, spans); of a late row the first.

Whatever the order in which rows come and however often, the sums are those of the true versions.
"""

from collections.abc import Iterable, Mapping, Sequence
from operator import neg, sub
from typing import NamedTuple

from spanloom_processors.core.alerts.records import Group, Hour, Source
from spanloom_processors.core.alerts.rows import Key, Row
from spanloom_processors.core.alerts.rules import PANE_MS, Rule
from spanloom_processors.core.alerts.windows import HOUR_MS, HourSum, Router, Series, hour_counts, series_of
from spanloom_processors.core.clock import frontier

AHEAD_MS = 60_000
"""A pane that starts further ahead of the clock is none of ours: spans so far ahead are late rows."""
HOUR_KEYS = 10_000
"""Keys of an hour; further ones add up as the key whose names are all `other`. Each is a record of llm.hours."""
ARRIVED = 2_000
"""Late rows that arrive in one pane and keep their sketches; of further ones only the counts."""
TOLD_MS = 30_000
"""How long after a source partition has told a pane for good its rows are kept: for a version of a higher revision."""
IGNORED = ("replaced", "told", "late_again", "too_old", "too_new")
"""Why a row changes no sum: a version at least as true is known; its pane was told for good; a late row was seen
before; its pane is too old even for its hour, or in a future that no pane can be in."""
OTHER = "other"


class Touched(NamedTuple):
    """A sum that changed: of the pane that starts at `start`, or (`hour`) of the hour that this pane is in."""

    series: Series
    group: Group
    start: int
    hour: bool


class _Pane:
    """The rows of one pane of one source partition, all of the highest revision seen."""

    __slots__ = ("revision", "rows")

    def __init__(self, revision: int) -> None:
        self.revision = revision
        self.rows: dict[Key, Row] = {}


class _LateRows:
    """Which late rows of a source partition have been seen.

    A row whose offset is below `floor` came with an earlier emission: a replay sends it again. Between `floor` and
    `top`, the prefix that the newest emission is a function of, rows are remembered one by one.
    """

    def __init__(self, told: int = 0) -> None:
        self.floor = self.top = told
        self.seen: set[tuple[int, Key]] = set()

    def advance(self, offset: int) -> None:
        if offset > self.top:
            self.floor, self.top = self.top, offset
            self.seen = {row for row in self.seen if row[0] >= self.floor}

    def first(self, offset: int, key: Key) -> bool:
        if offset < self.floor or (offset, key) in self.seen:
            return False
        self.seen.add((offset, key))
        return True


class Versions:
    """Rows by pane start, and the sums of every question kept equal to them.

    Rows are kept while a truer version may come. Once a source partition's log clock has closed a pane for good, and
    all of that emission was read, none can: rows go, and what windows may ask for is kept by group (`Series.keep`).
    A late row counts in the pane of its arrival: in every window judged after it came, however wrong its host's clock.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.series = series_of(rules, self._rows)
        """By filter and group-by, the questions that the rules ask."""
        self._router = Router(self.series.values())
        self._panes: dict[int, dict[Source, _Pane]] = {}
        self._arrived: dict[int, list[Row]] = {}
        self._late: dict[Source, _LateRows] = {}
        self._told: dict[Source, int] = {}  # panes that end by it keep no rows
        self._hours: dict[int, dict[Key, HourSum]] = {}
        self._floor = 0  # rows of panes before it count nowhere
        self._thin = 0  # sketches before it are in no window any more
        self._closed = 0  # hours before it are records, not sums of panes
        self._plain = 0
        self.ignored = dict.fromkeys(IGNORED, 0)
        """Rows so far that changed no sum, by why."""

    def restore(self, hours: Iterable[Hour], until: int, windows: int) -> None:
        """Take back closed hours that start before `until`; rows of panes fill the others.

        No window to come has panes that start before `windows`.
        """
        self._thin = windows
        kept: dict[tuple[object, ...], Hour] = {}
        for hour in hours:
            if hour["start"] < until:
                kept[(hour["start"], *self._key(hour))] = hour
        for hour in kept.values():
            for series, group in self._router.route(self._key(hour)):
                if series.hourly:
                    _, total = series.hour(hour["start"], group)
                    total.merge(hour_counts(hour), hour["minute_costs"], hour["minutes"])
            self._closed = max(self._closed, hour["start"] + HOUR_MS)
        self._closed = max(self._closed, until // HOUR_MS * HOUR_MS)

    @staticmethod
    def _key(hour: Hour) -> Key:
        names = ("environment", "service", "kind", "request", "model", "prompt_id", "prompt_version", "tenant")
        return tuple(hour[name] for name in (*names, "experiment", "run_id"))  # type: ignore[literal-required]

    def know_late(self, told: Mapping[Source, int]) -> None:
        """Take back up to which offset of each source partition late rows were told."""
        self._late = {source: _LateRows(offset) for source, offset in told.items()}

    def told_late(self) -> dict[Source, int]:
        """Up to which offset of each source partition late rows have been told."""
        return {source: rows.top for source, rows in self._late.items()}

    def advance(self, source: Source, offset: int) -> None:
        """Note the prefix of a source partition that a message's rows are a function of."""
        self._late.setdefault(source, _LateRows()).advance(offset)

    def apply(self, source: Source, revision: int, row: Row, arrival: int) -> list[Touched]:
        """Count a row of a message; return which sums changed. `arrival`: the pane in which late rows count."""
        if row.late is not None:
            if not self._late.setdefault(source, _LateRows()).first(row.late, row.key):
                self.ignored["late_again"] += 1
                return []
            row.start = arrival
            arrived = self._arrived.setdefault(arrival, [])
            if len(arrived) < ARRIVED:
                arrived.append(row)
            else:
                self._plain += 1
            return self._count(row, row.counts)
        if not self._floor <= row.start <= arrival + AHEAD_MS:
            self.ignored["too_old" if row.start < self._floor else "too_new"] += 1
            return []
        if row.start + PANE_MS <= self._told.get(source, 0):
            self.ignored["told"] += 1
            return []
        pane = self._pane(source, revision, row.start)
        old = pane.rows.get(row.key)
        if revision < pane.revision or (old and old.counts[0] >= row.counts[0]):
            self.ignored["replaced"] += 1
            return []
        pane.rows[row.key] = row
        return self._count(row, tuple(map(sub, row.counts, old.counts)) if old else row.counts)

    def told(self, source: Source, log_clock: int) -> None:
        """Note that every row of a source partition that closed for good at `log_clock` has been applied."""
        until = frontier(log_clock) - TOLD_MS
        if until <= self._told.get(source, 0):
            return
        self._told[source] = until
        for start in [start for start in self._panes if start + PANE_MS <= until]:
            pane = self._panes[start].pop(source, None)
            if not self._panes[start]:
                del self._panes[start]
            if pane:
                self._keep(start, pane.rows.values())

    def arrive(self, arrival: int) -> None:
        """Note that late rows arrive in the pane that starts at `arrival` by now, and in none before it."""
        for start in [start for start in self._arrived if start < arrival]:
            self._keep(start, self._arrived.pop(start))

    def _keep(self, start: int, rows: Iterable[Row]) -> None:
        if start >= self._thin:
            for series in self.series.values():
                series.keep(start, rows)

    def _pane(self, source: Source, revision: int, start: int) -> _Pane:
        sources = self._panes.setdefault(start, {})
        pane = sources.get(source)
        if pane is None or pane.revision < revision:
            for row in pane.rows.values() if pane else ():
                self._count(row, tuple(map(neg, row.counts)))
            pane = sources[source] = _Pane(revision)
        return pane

    def _count(self, row: Row, change: Sequence[int]) -> list[Touched]:
        start = row.start
        if start < self._thin:
            row.thin()
        hour = start // HOUR_MS * HOUR_MS
        open_hour = hour >= self._closed
        if open_hour:
            self._hour(hour, row.key).add(start, change)
        touched = []
        for series, group in self._router.route(row.key):
            if start >= self._thin:
                touched.append(Touched(series, series.add(start, group, change), start, hour=False))
            if series.hourly and open_hour:
                kept, total = series.hour(hour, group)
                total.add(start, change)
                touched.append(Touched(series, kept, start, hour=True))
        return touched

    def _hour(self, hour: int, key: Key) -> HourSum:
        keys = self._hours.setdefault(hour, {})
        if key not in keys:
            if len(keys) >= HOUR_KEYS:
                self._plain += 1
                key = tuple(name if isinstance(name, bool) else OTHER for name in key)
            return keys.setdefault(key, HourSum())
        return keys[key]

    @property
    def moved(self) -> int:
        """Rows so far past a bound: whose group or key was counted as `other`, or of which only counts were kept."""
        return self._plain + sum(series.moved for series in self.series.values())

    def _rows(self, start: int) -> Iterable[Row]:
        for pane in self._panes.get(start, {}).values():
            yield from pane.rows.values()
        yield from self._arrived.get(start, ())

    def oldest_open_hour(self) -> int | None:
        """The start of the first hour with rows that is not closed yet."""
        return min(self._hours, default=None)

    def close(self, until: int) -> list[tuple[int, Key, HourSum]]:
        """Close the hours that end by `until`: from now on their sums stand."""
        due = sorted(hour for hour in self._hours if hour + HOUR_MS <= until)
        closed = [(hour, key, total) for hour in due for key, total in self._hours.pop(hour).items()]
        self._closed = max(self._closed, until // HOUR_MS * HOUR_MS)
        return [(hour, key, total) for hour, key, total in closed if total.counts[0]]

    def forget(self, windows: int, coming: int, minutes: int, hours: int) -> None:
        """Drop what starts before: panes before `windows`, costs by minute before `minutes`, hours before `hours`.

        Rows of a pane whose hour is still open, or may be in an hour from `coming` on, lose their sketches only.
        """
        open_hour = self.oldest_open_hour()
        floor = min(windows, coming) if open_hour is None else min(windows, coming, open_hour)
        starts = self._panes.keys() | self._arrived.keys()
        for start in [start for start in starts if self._thin <= start < windows]:
            for row in self._rows(start):
                row.thin()
        for start in [start for start in starts if start < floor]:
            self._panes.pop(start, None)
        for start in [start for start in self._arrived if start < windows]:
            del self._arrived[start]
        for series in self.series.values():
            series.forget(windows, minutes, hours)
        self._floor, self._thin = floor, windows
