"""Windows as sums of panes: for each question (filter and group-by) the sums of every pane, added up on demand."""

from collections.abc import Iterable, Sequence

from spanloom_processors.core.alerts.metrics import Fold, Metric
from spanloom_processors.core.alerts.records import KEY_COLUMNS, Group, Hour
from spanloom_processors.core.alerts.rows import COUNTS, Key, Sketch, Wanted
from spanloom_processors.core.alerts.rules import PANE_MS, Absent, Band, Budget, Rule, Where
from spanloom_processors.core.sketch import quantile

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
GROUPS = 1000
"""Groups of one question in one pane; further ones are added up as the group `other`, and counted."""
ROUTES = 50_000
NANO = 1e9


class Sum:
    """The sums of some panes of one group; `sketches` by name. All integers: exact under adding and taking away."""

    __slots__ = ("counts", "sketches")

    def __init__(self) -> None:
        self.counts = [0] * len(COUNTS)
        self.sketches: dict[str, Sketch] = {}

    def add(self, counts: Sequence[int], sketches: dict[str, Sketch], sign: int = 1) -> None:
        """Add or take away."""
        self.counts = [mine + sign * other for mine, other in zip(self.counts, counts, strict=True)]
        for name, sketch in sketches.items():
            mine = self.sketches.setdefault(name, {})
            for index, count in sketch.items():
                mine[index] = mine.get(index, 0) + sign * count

    def of(self, name: str) -> int:
        """One of COUNTS."""
        return self.counts[COUNTS.index(name)]


class HourSum:
    """The sums of one hour: `minutes` is a bit mask of minutes with spans, `costs` nano-dollars by minute."""

    __slots__ = ("costs", "counts", "minutes")

    def __init__(self) -> None:
        self.counts = [0] * len(COUNTS)
        self.costs = [0] * 60
        self.minutes = 0

    def add(self, start: int, counts: Sequence[int], sign: int) -> None:
        """Add or take away the row of a pane that starts at `start`."""
        self.counts = [mine + sign * other for mine, other in zip(self.counts, counts, strict=True)]
        minute = start % HOUR_MS // MINUTE_MS
        self.costs[minute] += sign * counts[_COST]
        self.minutes |= 1 << minute

    def merge(self, counts: Sequence[int], costs: Sequence[int], minutes: int) -> None:
        """Add an hour's sums."""
        self.counts = [mine + other for mine, other in zip(self.counts, counts, strict=True)]
        self.costs = [mine + other for mine, other in zip(self.costs, costs, strict=True)]
        self.minutes |= minutes


_COST = COUNTS.index("cost")


class Series:
    """One question, (filter, group-by), and its sums by pane and group; by hour too where a baseline or budget asks."""

    def __init__(self, where: Where, group_by: tuple[str, ...], rules: Sequence[Rule]) -> None:
        self.where = [(KEY_COLUMNS.index(name), values) for name, values in where]
        self.group_by = [(name, KEY_COLUMNS.index(name)) for name in group_by]
        self.other: Group = tuple((name, "other") for name in group_by)
        self.wanted = Wanted(
            frozenset(rule.metric.of for rule in rules if rule.metric.fold is Fold.QUANTILE),
            frozenset(rule.metric.why for rule in rules if rule.metric.why),
        )
        self.hourly = any(isinstance(rule.condition, Band | Budget) for rule in rules)
        self.early = [rule for rule in rules if rule.early]
        self.panes: dict[int, dict[Group, Sum]] = {}
        self.hours: dict[int, dict[Group, HourSum]] = {}

    def group(self, key: Key) -> Group | None:
        """The group that a pane's key belongs to; None: the filter leaves it out."""
        if all(key[at] in values for at, values in self.where):
            return tuple((name, str(key[at])) for name, at in self.group_by)
        return None

    def window(self, start: int, end: int) -> dict[Group, Sum]:
        """The sums of [start, end) by group."""
        found: dict[Group, Sum] = {}
        for pane in range(start, end, PANE_MS):
            for group, part in self.panes.get(pane, {}).items():
                total = found.get(group)
                if total is None:
                    total = found[group] = Sum()
                total.add(part.counts, part.sketches)
        return found

    def window_of(self, group: Group, start: int, end: int) -> Sum:
        """The counts (no sketches) of one group in [start, end)."""
        panes = (self.panes.get(pane) for pane in range(start, end, PANE_MS))
        parts = [groups[group].counts for groups in panes if groups and group in groups]
        total = Sum()
        if parts:
            total.counts = [sum(column) for column in zip(*parts, strict=True)]
        return total

    def hour(self, start: int, group: Group) -> HourSum:
        """The sums of an hour and group, made where there are none."""
        groups = self.hours.setdefault(start, {})
        return groups.setdefault(self.admitted(groups, group), HourSum())

    def forget(self, panes: int, minutes: int, hours: int) -> None:
        """Drop the sums of panes, costs by minute, and hours that start before these times."""
        for start in [start for start in self.panes if start < panes]:
            del self.panes[start]
        for start in [start for start in self.hours if start < hours]:
            del self.hours[start]
        for start in [start for start in self.hours if start < minutes]:
            for total in self.hours[start].values():
                total.costs = []

    def admitted(self, groups: dict[Group, Sum] | dict[Group, HourSum], group: Group) -> Group:
        """The group, or `other` where a pane has too many already. Decided from the log alone, so a replay agrees."""
        return group if group in groups or len(groups) < GROUPS else self.other


def series_of(rules: Iterable[Rule]) -> dict[tuple[Where, tuple[str, ...]], Series]:
    """The distinct questions of the rules."""
    asked: dict[tuple[Where, tuple[str, ...]], list[Rule]] = {}
    for rule in rules:
        if rule.metric.fold is not Fold.TRACE:
            asked.setdefault((rule.where, rule.group_by), []).append(rule)
    return {question: Series(*question, about) for question, about in asked.items()}


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
        self._routes: dict[Key, tuple[list[tuple[Series, Group]], Wanted]] = {}

    def route(self, key: Key) -> list[tuple[Series, Group]]:
        """The questions and groups of a key."""
        return self._find(key)[0]

    def wanted(self, key: Key) -> Wanted:
        """What these questions want of its rows."""
        return self._find(key)[1]

    def _find(self, key: Key) -> tuple[list[tuple[Series, Group]], Wanted]:
        found = self._routes.get(key)
        if found is None:
            if len(self._routes) >= ROUTES:
                self._routes.clear()
            matches = [(series, group) for series in self._series if (group := series.group(key)) is not None]
            sketches = frozenset[str]().union(*(series.wanted.sketches for series, _ in matches))
            whys = frozenset[str]().union(*(series.wanted.whys for series, _ in matches))
            found = self._routes[key] = matches, Wanted(sketches, whys)
        return found


def hour_counts(hour: Hour) -> tuple[int, ...]:
    """The counts of a record of llm.hours, in the order of COUNTS."""
    own = (hour["spans"], hour["errors"], hour["blocks"], hour["cost"], hour["unpriced"], hour["total_tokens"])
    return (*own, hour["spans"], hour["blocks"]) if hour["request"] else (*own, 0, 0)
