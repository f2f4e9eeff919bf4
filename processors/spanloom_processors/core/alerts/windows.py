"""Windows as sums of panes: for each question (filter and group-by) the sums of every pane, added up on demand."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import add
from typing import Any

from spanloom_schemas.panes import KEY

from spanloom_processors.core.alerts.metrics import Fold, Metric
from spanloom_processors.core.alerts.records import EXEMPLARS, Group, Hour
from spanloom_processors.core.alerts.rows import COUNTS, Key, Row, Sketch, Worst
from spanloom_processors.core.alerts.rows import sketches as row_sketches
from spanloom_processors.core.alerts.rows import worst as row_worst
from spanloom_processors.core.alerts.rules import PANE_MS, Absent, Band, Budget, Rule, Where
from spanloom_processors.core.sketch import quantile

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
GROUPS = 1000
"""Groups of one question in one pane; further ones are added up as the group `other`, and counted."""
ROUTES = 20_000
NANO = 1e9
ZERO = (0,) * len(COUNTS)


class Sum:
    """The sums of some panes of one group; `sketches` by name."""

    __slots__ = ("counts", "sketches")

    def __init__(self) -> None:
        self.counts = list(ZERO)
        self.sketches: dict[str, Sketch] = {}

    def add(self, counts: Sequence[int], sketches: Mapping[str, Sketch]) -> None:
        """Add the sums of a pane."""
        self.counts = list(map(add, self.counts, counts))
        for name, sketch in sketches.items():
            merge_into(self.sketches.setdefault(name, {}), sketch)

    def of(self, name: str) -> int:
        """One of COUNTS."""
        return self.counts[COUNTS.index(name)]


class HourSum:
    """The sums of one hour: `minutes` is a bit mask of minutes with spans, `costs` nano-dollars by minute."""

    __slots__ = ("costs", "counts", "minutes")

    def __init__(self) -> None:
        self.counts = list(ZERO)
        self.costs = [0] * 60
        self.minutes = 0

    def add(self, start: int, change: Sequence[int]) -> None:
        """Add what changed in a pane that starts at `start`."""
        self.counts = list(map(add, self.counts, change))
        minute = start % HOUR_MS // MINUTE_MS
        self.costs[minute] += change[_COST]
        self.minutes |= 1 << minute

    def merge(self, counts: Sequence[int], costs: Sequence[int], minutes: int) -> None:
        """Add an hour's sums."""
        self.counts = list(map(add, self.counts, counts))
        self.costs = list(map(add, self.costs, costs))
        self.minutes |= minutes


def merge_into(total: Sketch, sketch: Sketch) -> None:
    """Add a sketch's counts to another's."""
    for index, count in sketch.items():
        total[index] = total.get(index, 0) + count


_COST = COUNTS.index("cost")


class Series:
    """One question, (filter, group-by), and its sums by pane and group; by hour too where a baseline or budget asks."""

    def __init__(
        self, where: Where, group_by: tuple[str, ...], rules: Sequence[Rule], rows: Callable[[int], Iterable[Row]]
    ) -> None:
        self.where = [(KEY.index(name), values) for name, values in where]
        self.group_by = [(name, KEY.index(name)) for name in group_by]
        self.other: Group = tuple((name, "other") for name in group_by)
        self._wanted = {rule.metric.of for rule in rules if rule.metric.fold is Fold.QUANTILE}
        self.hourly = any(isinstance(rule.condition, Band | Budget) for rule in rules)
        self._whys = {rule.metric.why for rule in rules if rule.metric.why}
        self.early = [rule for rule in rules if rule.early and not isinstance(rule.condition, Budget)]
        """Rules that fire as soon as the sum of a window is over their limit."""
        self.budgets = [rule for rule in rules if isinstance(rule.condition, Budget)]
        """Rules that fire as soon as the sum of hours is."""
        self.moved = 0
        """Changes so far of groups past GROUPS, added up as `other`."""
        self.panes: dict[int, dict[Group, list[int]]] = {}
        self.hours: dict[int, dict[Group, HourSum]] = {}
        self._sketches: dict[int, dict[Group, dict[str, Sketch]]] = {}
        self._rows: dict[int, dict[Group, list[Row]]] = {}
        self._rows_at = rows
        self._told_sketches: dict[int, dict[Group, dict[str, Sketch]]] = {}
        self._told_worst: dict[int, dict[Group, dict[str, list[Worst]]]] = {}

    def group(self, key: Key) -> Group | None:
        """The group that a pane's key belongs to; None: the filter leaves it out."""
        if all(key[at] in values for at, values in self.where):
            return tuple((name, str(key[at])) for name, at in self.group_by)
        return None

    def add(self, start: int, group: Group, change: Sequence[int]) -> Group:
        """Add what changed in the counts of a pane; return the group that it went to."""
        groups = self.panes.setdefault(start, {})
        kept = self._admitted(groups, group)
        self.moved += kept != group
        groups[kept] = list(map(add, groups.get(kept, ZERO), change))
        self._sketches.pop(start, None)
        self._rows.pop(start, None)
        return kept

    def window(self, start: int, end: int) -> dict[Group, Sum]:
        """The sums of [start, end) by group."""
        found: dict[Group, Sum] = {}
        for pane in range(start, end, PANE_MS):
            groups = self.panes.get(pane, {})
            sketches = self._sketches_at(pane) if groups and self._wanted else {}
            for group, counts in groups.items():
                found.setdefault(group, Sum()).add(counts, sketches.get(group, {}))
        return found

    def window_of(self, group: Group, start: int, end: int) -> Sum:
        """The counts (no sketches) of one group in [start, end)."""
        panes = (self.panes.get(pane) for pane in range(start, end, PANE_MS))
        parts = [groups[group] for groups in panes if groups and group in groups]
        total = Sum()
        if parts:
            total.counts = [sum(column) for column in zip(*parts, strict=True)]
        return total

    def rows(self, start: int) -> dict[Group, list[Row]]:
        """The rows of a pane by group; remembered until the pane changes."""
        found = self._rows.get(start)
        if found is None:
            found = self._rows[start] = self._by_group(start, self._rows_at(start))
        return found

    def keep(self, start: int, rows: Iterable[Row]) -> None:
        """Keep, of a pane's rows that nothing will replace, the merged sketches and the worst spans of each group.

        From now on `rows` must not give them any more.
        """
        self._sketches.pop(start, None)
        self._rows.pop(start, None)
        groups = self._by_group(start, rows) if self._wanted or self._whys else {}
        self._merge_sketches(self._told_sketches.setdefault(start, {}), groups)
        told = self._told_worst.setdefault(start, {})
        for group, why, span in self._worst_of(groups, self._whys):
            told.setdefault(group, {}).setdefault(why, []).append(span)
        for reasons in told.values():
            for why, spans in reasons.items():
                reasons[why] = list(_one_a_trace(spans))[:EXEMPLARS]

    def _by_group(self, start: int, rows: Iterable[Row]) -> dict[Group, list[Row]]:
        found: dict[Group, list[Row]] = {}
        for row in rows:
            group = self.group(row.key)
            if group is not None:
                found.setdefault(self._admitted(self.panes.get(start, {}), group), []).append(row)
        return found

    def _merge_sketches(self, found: dict[Group, dict[str, Sketch]], groups: Mapping[Group, list[Row]]) -> None:
        of = {id(row): group for group, rows in groups.items() for row in rows}
        for name in self._wanted:
            for row, sketch in row_sketches((row for rows in groups.values() for row in rows), name):
                merge_into(found.setdefault(of[id(row)], {}).setdefault(name, {}), sketch)

    def _worst_of(self, groups: Mapping[Group, list[Row]], whys: set[str]) -> Iterator[tuple[Group, str, Worst]]:
        of = {id(row): group for group, rows in groups.items() for row in rows}
        for row, why, span in row_worst((row for rows in groups.values() for row in rows), whys):
            yield of[id(row)], why, span

    def _sketches_at(self, start: int) -> dict[Group, dict[str, Sketch]]:
        """The merged sketches of a pane by group; remembered until the pane changes."""
        told = self._told_sketches.get(start, {})
        if not self.rows(start):
            return told
        found = self._sketches.get(start)
        if found is None:
            found = self._sketches[start] = {
                group: {name: dict(sketch) for name, sketch in sketches.items()} for group, sketches in told.items()
            }
            self._merge_sketches(found, self.rows(start))
        return found

    def worst(self, group: Group, why: str, start: int, end: int) -> list[str]:
        """The trace ids of the worst spans of a group in [start, end), worst first, EXEMPLARS at most."""
        spans: list[Worst] = []
        for pane in range(start, end, PANE_MS):
            spans += self._told_worst.get(pane, {}).get(group, {}).get(why, ())
            open_rows = {group: self.rows(pane).get(group, [])}
            spans += [span for _, _, span in self._worst_of(open_rows, {why})]
        return [trace_id for _, _, trace_id in _one_a_trace(spans)][:EXEMPLARS]

    def hour(self, start: int, group: Group) -> tuple[Group, HourSum]:
        """The sums of an hour and group, made where there are none, and the group that they are of."""
        groups = self.hours.setdefault(start, {})
        kept = self._admitted(groups, group)
        if kept not in groups:
            groups[kept] = HourSum()
        return kept, groups[kept]

    def forget(self, windows: int, minutes: int, hours: int) -> None:
        """Drop panes, costs by minute, and hours that start before these times."""
        remembered: tuple[dict[int, Any], ...] = (
            *(self.panes, self._sketches, self._rows),
            *(self._told_sketches, self._told_worst),
        )
        for panes in remembered:
            for start in [start for start in panes if start < windows]:
                del panes[start]
        for start in [start for start in self.hours if start < hours]:
            del self.hours[start]
        for start in [start for start in self.hours if start < minutes]:
            for total in self.hours[start].values():
                total.costs = []

    def _admitted(self, groups: Mapping[Group, object], group: Group) -> Group:
        """The group, or `other` where a pane has too many already. Decided from the log alone, so a replay agrees."""
        return group if group in groups or len(groups) < GROUPS else self.other


def _one_a_trace(spans: Iterable[Worst]) -> Iterator[Worst]:
    """The worst span of each trace, worst first."""
    seen: set[str] = set()
    for span in sorted(spans, reverse=True):
        if span[2] not in seen:
            seen.add(span[2])
            yield span


def series_of(
    rules: Iterable[Rule], rows: Callable[[int], Iterable[Row]]
) -> dict[tuple[Where, tuple[str, ...]], Series]:
    """The distinct questions of the rules; `rows` gives the rows of a pane by its start."""
    asked: dict[tuple[Where, tuple[str, ...]], list[Rule]] = {}
    for rule in rules:
        if rule.metric.fold not in (Fold.TRACE, Fold.SAMPLES):
            asked.setdefault((rule.where, rule.group_by), []).append(rule)
    return {question: Series(*question, about, rows) for question, about in asked.items()}


def reach(rule: Rule) -> int:
    """How far before a window's end the panes go that a rule needs, in ms."""
    if isinstance(rule.condition, Budget):
        return PANE_MS
    return rule.window + PANE_MS * isinstance(rule.condition, Absent)


def measure(metric: Metric, total: Sum, window: int) -> tuple[float | None, int]:
    """The metric's value in its unit (None: nothing to measure), and the count that `minimum` is about."""
    match metric.fold:
        case Fold.QUANTILE:
            sketch = total.sketches.get(metric.of, {})
            count = sum(sketch.values())
            found = quantile(sketch, metric.quantile)
            return (None if found is None else found / NANO), count
        case Fold.RATIO | Fold.BLOCKED:
            events, trials = rate(metric, total.counts)
            return (events / trials if trials else None), trials
        case Fold.PER_MINUTE:
            return amount(metric, total.of(metric.of)) * MINUTE_MS / window, total.of("spans")
        case _:
            return amount(metric, total.of(metric.of)), total.of("spans")


def rate(metric: Metric, counts: Sequence[int]) -> tuple[int, int]:
    """Events and trials of a rate. A block shows on the request, on a span below it, or on both: it is counted once."""
    named = dict(zip(COUNTS, counts, strict=True))
    if metric.fold is Fold.BLOCKED:
        below = named["blocks"] - named["request_blocks"]
        return min(max(named["request_blocks"], below), named["requests"]), named["requests"]
    return named[metric.of], named[metric.per]


def amount(metric: Metric, total: int) -> float:
    """A sum in the metric's unit."""
    return total / NANO if metric.of == "cost" else float(total)


class Router:
    """Which questions a pane's key takes part in; remembered by key, since keys recur every second."""

    def __init__(self, series: Iterable[Series]) -> None:
        self._series = list(series)
        self._routes: dict[Key, list[tuple[Series, Group]]] = {}

    def route(self, key: Key) -> list[tuple[Series, Group]]:
        """The questions and groups of a key."""
        found = self._routes.get(key)
        if found is None:
            if len(self._routes) >= ROUTES:
                self._routes.clear()
            found = [(series, group) for series in self._series if (group := series.group(key)) is not None]
            self._routes[key] = found
        return found


def hour_counts(hour: Hour) -> tuple[int, ...]:
    """The counts of a record of llm.hours, in the order of COUNTS."""
    own = (hour["spans"], hour["errors"], hour["blocks"], hour["cost"], hour["unpriced"], hour["total_tokens"])
    return (*own, hour["spans"], hour["blocks"]) if hour["request"] else (*own, 0, 0)
