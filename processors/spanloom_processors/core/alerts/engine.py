"""The rule engine: one pure fold over llm.panes, with that topic's log time as its clock.

The promise: live = restart = backtest over one llm.panes log. What a message leads to depends on the messages before it
and on nothing else: not on how a poll cut the log, not on the wall clock, not on which process reads.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, cast

import polars as pl
from spanloom_schemas.panes import KEY

from spanloom_processors.core.alerts import baseline, budget
from spanloom_processors.core.alerts.machines import Machines
from spanloom_processors.core.alerts.metrics import Fold
from spanloom_processors.core.alerts.progress import Progress
from spanloom_processors.core.alerts.records import Alert, Group, Hour, SafePoint, Source, newest
from spanloom_processors.core.alerts.requests import Requests
from spanloom_processors.core.alerts.reread import is_settled, last_words
from spanloom_processors.core.alerts.retired import Retired
from spanloom_processors.core.alerts.rows import COUNTS, Key, Row, read
from spanloom_processors.core.alerts.rules import PANE_MS, Budget, Rule
from spanloom_processors.core.alerts.transitions import Moment, active, resolve, step
from spanloom_processors.core.alerts.verdicts import judge
from spanloom_processors.core.alerts.versions import Touched, Versions
from spanloom_processors.core.alerts.windows import HOUR_MS, HourSum, Series, Sum, reach
from spanloom_processors.core.clock import FUTURE_MS

CHECKPOINT_MS = 1_000
_HEADER = (
    *("offset", "log_time", "topic_id", "partition", "partitions", "revision"),
    *("log_clock", "progress", "next_offset"),
)


class Engine:
    """The state of all rules.

    Life: `restore` once, then `fold` every message of llm.panes from the safe offset on (from offset 0 the first time),
    `fold_traces` every message of llm.traces. What they return is to be sent to llm.alerts (key: `records.alert_key`),
    `closed_hours()` to llm.hours (key: `records.hour_key`), and after them a tombstone for each key of `retired()` to
    llm.alerts. Once all are flushed, `safe()` may be committed for llm.panes (`SafePoint.offset` with
    `SafePoint.metadata()`) and, for llm.traces, the next offset with `traces_metadata`.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = [rule for rule in rules if rule.metric.fold not in (Fold.TRACE, Fold.SAMPLES)]
        self._requests = Requests([rule for rule in rules if rule.metric.fold is Fold.TRACE])
        self._machines = Machines([rule for rule in rules if rule.metric.fold is Fold.SAMPLES])
        self._labels = {rule.name: rule.labels for rule in rules}
        self._orphans: dict[tuple[str, Group], Alert] = {}
        self._reach = max([reach(rule) for rule in self._rules], default=PANE_MS)
        self._versions = Versions(self._rules)
        self._states: dict[tuple[str, Group], Alert] = {}
        self._retired = Retired()
        self._hours: list[Hour] = []
        self._closed: list[Hour] = []
        self._resumed = 0
        self._read_from = 0
        self._progress: Progress | None = None
        self._checkpoints: deque[tuple[int, int, dict[Source, int]]] = deque()

    def restore(
        self,
        alerts: Iterable[Alert],
        hours: Iterable[Hour],
        judged: int = 0,
        late: Mapping[Source, int] = MappingProxyType({}),
    ) -> None:
        """Take back the records of llm.alerts and llm.hours (in log order; a key's newest counts), before any fold.

        `judged`, `late`: of the committed safe point (`SafePoint.judged_from(metadata)`, `late_from`), if there is one.
        """
        states = newest(alerts)
        known = {key: state for key, state in states.items() if _names(key[1]) == self._labels.get(key[0])}
        self._orphans = {key: state for key, state in states.items() if key not in known}
        self._requests.restore(known.values())
        self._machines.restore(known.values())
        judged_here = {rule.name for rule in self._rules}
        self._states = {key: state for key, state in known.items() if key[0] in judged_here}
        self._retired.restore([*self._states.values(), *self._orphans.values()])
        self._hours = list(hours)
        self._resumed = judged
        self._versions.know_late(late)

    def fold(self, headers: pl.DataFrame, panes: pl.DataFrame) -> list[Alert]:
        """Fold messages of llm.panes; return the transitions they lead to, in order.

        `headers`, `panes`: `headers` and `rows` of `splice.decode("pane_batch", messages)`, any number of messages in
        offset order. Partition -1 is a tick: only its log time counts. Where one emission of a source partition is
        split over messages, only the last of them may carry a `progress` that reaches its `log_clock`.
        """
        if panes["start"].null_count():
            panes = panes.filter(pl.col("start").is_not_null())
        settled = is_settled(headers, self._progress.judged if self._progress else self._resumed)
        if settled:
            told = panes.height
            panes = last_words(headers, panes, self._progress.clock if self._progress else 0)
            self._versions.ignored["replaced"] += told - panes.height
        rows = read(panes)
        offsets = panes["offset"].to_list()
        found: list[Alert] = []
        at = 0
        for header in headers.select(_HEADER).iter_rows(named=True):
            end = bisect_right(offsets, header["offset"], lo=at)
            found += self._message(header, rows[at:end], settled)
            at = end
        return found

    def fold_traces(self, headers: pl.DataFrame, traces: pl.DataFrame) -> list[Alert]:
        """Fold messages of one partition of llm.traces for rules about one request; return the transitions.

        `headers`, `traces`: `headers` and `rows` of `splice.decode("trace_batch", messages)`, in offset order.
        """
        return self._requests.fold(headers, traces)

    def resume_traces(self, partition: int, metadata: str | None) -> None:
        """Begin on a partition of llm.traces from a commit that says `metadata`."""
        self._requests.resume(partition, metadata)

    def traces_metadata(self, partition: int) -> str:
        """What a commit of all that was folded of a partition of llm.traces must say."""
        return self._requests.metadata(partition)

    def idle_traces(self, partition: int, now_ms: int) -> list[Alert]:
        """Resolve what is due on a partition of llm.traces whose fetch sent at `now_ms` came back empty."""
        return self._requests.expire(partition, now_ms)

    def fold_samples(self, headers: pl.DataFrame, samples: pl.DataFrame) -> list[Alert]:
        """Fold messages of llm.samples for rules about machines; return the transitions.

        `headers`, `samples`: `headers` and `rows` of `splice.decode("sample_batch", messages)`, in offset order.
        """
        return self._machines.fold(headers, samples)

    def resume_samples(self, judged: int) -> None:
        """Judge no message of llm.samples before the offset `judged` (that of the committed `safe_samples()`)."""
        self._machines.judged = judged

    def idle_samples(self, now_ms: int) -> list[Alert]:
        """Resolve what is due on llm.samples, whose fetch sent at `now_ms` came back empty."""
        return self._machines.expire(now_ms)

    def safe_samples(self) -> SafePoint | None:
        """As `safe`, for llm.samples, where `judged` is the first offset not judged."""
        safe = self._machines.safe()
        return SafePoint(*safe) if safe else None

    def closed_hours(self) -> list[Hour]:
        """Hours closed since the last call. Before they are flushed, `safe()` must not be committed."""
        closed, self._closed = self._closed, []
        return closed

    def ignored(self) -> dict[str, int]:
        """Rows of panes so far that changed no sum, by why (`versions.IGNORED`): replays and versions overtaken."""
        return dict(self._versions.ignored)

    def moved(self) -> int:
        """Rows of panes, and of samples, so far that were added up as the group `other`: there were too many groups."""
        return self._versions.moved + self._machines.moved

    def retired(self) -> list[bytes]:
        """Keys of llm.alerts whose groups were over long ago, since the last call: their records are to be deleted."""
        return [*self._retired.take(), *self._requests.retired(), *self._machines.retired.take()]

    def safe(self) -> SafePoint | None:
        """The point from which a restart rebuilds this state: commit it for llm.panes; None: nothing folded yet."""
        if self._progress is None:
            return None
        while len(self._checkpoints) > 1 and _reads_from(self._checkpoints[1][1]) <= self._needed():
            self._checkpoints.popleft()
        offset, _, late = self._checkpoints[0]
        return SafePoint(offset, self._progress.judged, late)

    def safe_offset(self) -> int | None:
        """The first offset of llm.panes still needed."""
        point = self.safe()
        return point.offset if point else None

    def _needed(self) -> int:
        """The start of the first pane that a verdict or an hour to come may need.

        An hour is needed whole before its first pane has come: it is closed by whoever has read all of it.
        """
        assert self._progress is not None
        windows = self._progress.judged + PANE_MS - self._reach
        hour = self._versions.oldest_open_hour()
        return min(windows, self._coming_hour()) if hour is None else min(windows, self._coming_hour(), hour)

    def _coming_hour(self) -> int:
        """The start of the first hour that a pane to come may be in."""
        assert self._progress is not None
        return self._progress.oldest_to_come() // HOUR_MS * HOUR_MS

    def _message(self, header: dict[str, Any], rows: list[Row], settled: bool) -> list[Alert]:
        """Fold a message; `settled`: whatever it made true at once is a record already."""
        progress = self._advance(header["offset"], header["log_time"])
        self._retired.forget(progress.clock)
        arrival = progress.clock // PANE_MS * PANE_MS
        self._versions.arrive(arrival)
        if header["partition"] < 0:
            return self._settle(progress)
        source = header["topic_id"], header["partition"]
        progress.source(header["partition"], header["partitions"], header["progress"])
        self._versions.advance(source, header["next_offset"])
        touched: dict[Touched, None] = {}
        for row in rows:
            touched.update(dict.fromkeys(self._versions.apply(source, header["revision"], row, arrival)))
        if header["progress"] >= header["log_clock"]:
            self._versions.told(source, header["log_clock"])
        return [*self._early(progress, () if settled else touched), *self._settle(progress)]

    def _advance(self, offset: int, log_time: int) -> Progress:
        """Move the clock; the first message says from which pane start on everything is read."""
        if self._progress is None:
            self._progress = Progress(self._resumed, log_time)
            self._read_from = 0 if offset == 0 else _reads_from(log_time)
            self._versions.restore(self._hours, self._read_from, self._progress.judged + PANE_MS - self._reach)
            self._hours = []
            self._checkpoints.append((offset, log_time, self._versions.told_late()))
        self._progress.tick(log_time)
        if log_time >= self._checkpoints[-1][1] + CHECKPOINT_MS:
            self._checkpoints.append((offset, log_time, self._versions.told_late()))
        return self._progress

    def _early(self, progress: Progress, touched: Iterable[Touched]) -> Iterator[Alert]:
        """Fire what a growing sum has made true in a window that is still open."""
        for series, group, start, hour in touched:
            for rule in series.budgets if hour else series.early:
                for end in _open_ends(rule, series, start, progress.judged):
                    if alert := self._fire_early(rule, series, group, progress.clock, end):
                        yield alert
                        break

    def _fire_early(self, rule: Rule, series: Series, group: Group, clock: int, end: int) -> Alert | None:
        start = end - rule.window
        state = self._states.get((rule.name, group))
        known = state is not None and (active(state) or clock < state["at"])
        if known or (start < self._read_from and not isinstance(rule.condition, Budget)):
            return None
        total = series.window_of(group, start, end)
        return self._judge(rule, series, group, total, Moment(clock, start, end, min(clock, end), False))

    def _settle(self, progress: Progress) -> list[Alert]:
        """Judge every window that is due, in the order of their ends; close hours; forget what nothing needs."""
        found: list[Alert] = []
        while due := progress.due():
            end, overdue = due
            found += self._judge_all(end, overdue, progress.clock)
            progress.done(end)
            self._forget(end)
        while until := progress.hours_until(self._versions.oldest_open_hour()):
            closed = self._versions.close(until)
            self._closed += [_hour(*hour) for hour in closed if hour[0] >= self._read_from]
        return found

    def _judge_all(self, end: int, overdue: bool, at: int) -> Iterator[Alert]:
        yield from self._resolved(end, at)
        windows: dict[tuple[int, int], dict[Group, Sum]] = {}
        for rule in self._rules:
            if end - reach(rule) < self._read_from and not isinstance(rule.condition, Budget):
                continue
            series = self._versions.series[rule.where, rule.group_by]
            key = id(series), rule.window
            if key not in windows:
                windows[key] = series.window(end - rule.window, end)
            groups = windows[key].keys() | self._candidates(rule, series, end)
            for group in sorted(groups):
                total = windows[key].get(group) or Sum()
                if alert := self._judge(rule, series, group, total, Moment(at, end - rule.window, end, end, overdue)):
                    yield alert

    def _candidates(self, rule: Rule, series: Series, end: int) -> set[Group]:
        """Groups to judge though they may have nothing in the window: they fire, or just fell silent."""
        active_groups = {group for (name, group), state in self._states.items() if name == rule.name and active(state)}
        return active_groups | series.panes.get(end - reach(rule), {}).keys()

    def _judge(self, rule: Rule, series: Series, group: Group, total: Sum, now: Moment) -> Alert | None:
        state = self._states.get((rule.name, group))
        if state and now.end <= state["window_end"]:
            return None
        verdict = judge(rule, series, group, total, now.end, active(state))
        if not verdict.true and active(state) and _true_in_open_window(rule, series, group, now.end):
            return None
        why, window = rule.metric.why, (now.start, now.end)
        if isinstance(rule.condition, Budget):
            now = now._replace(start=budget.period_start(now.end - PANE_MS, rule.condition.period))
        worst = partial(series.worst, group, why, *window)
        alert = step(rule, group, state, verdict, now, worst)
        if alert:
            self._states[rule.name, group] = alert
            self._retired.note(alert)
        return alert

    def _resolved(self, end: int, at: int) -> Iterator[Alert]:
        """Resolve what fires for a rule that the rules file does not have any more, or not with such labels."""
        orphans, self._orphans = self._orphans, {}
        for state in orphans.values():
            if active(state):
                resolved = resolve(state, Moment(at, end, end, state["since"], False), None)
                self._retired.note(resolved)
                yield resolved

    def _forget(self, judged: int) -> None:
        minutes = judged // HOUR_MS * HOUR_MS - baseline.HISTORY_MS - 2 * HOUR_MS
        windows = judged + PANE_MS - self._reach
        self._versions.forget(windows, self._coming_hour(), minutes, judged - budget.LONGEST_MS - 2 * HOUR_MS)
        for key, state in list(self._states.items()):
            if not active(state) and state["window_end"] <= judged:
                del self._states[key]


def _open_ends(rule: Rule, series: Series, start: int, judged: int) -> Iterable[int]:
    """The ends of windows not judged yet that have data and that a pane is in; of a budget the first one is enough."""
    first = max(start, judged) + PANE_MS
    if isinstance(rule.condition, Budget):
        return (first,)
    return range(first, min(start + rule.window, max(series.panes) + PANE_MS) + PANE_MS, PANE_MS)


def _true_in_open_window(rule: Rule, series: Series, group: Group, judged: int) -> bool:
    """A sum that is over the limit in a later window already: resolving it would page again at once."""
    if not rule.early or isinstance(rule.condition, Budget):
        return False
    ends = range(judged + PANE_MS, max(series.panes, default=0) + 2 * PANE_MS, PANE_MS)
    return any(
        judge(rule, series, group, series.window_of(group, end - rule.window, end), end, True).true for end in ends
    )


def _names(group: Group) -> tuple[str, ...]:
    return tuple(name for name, _ in group)


def _reads_from(log_time: int) -> int:
    """The first pane start of which every row is in the log from a message with this log time on.

    A pane is written after its spans, which are at most FUTURE_MS ahead of the log.
    """
    return -(-(log_time + FUTURE_MS) // PANE_MS) * PANE_MS


def _hour(start: int, key: Key, total: HourSum) -> Hour:
    sums = dict(zip(COUNTS, total.counts, strict=True))
    counted = {name: sums[name] for name in ("spans", "errors", "blocks", "cost", "unpriced")}
    minutes = {"minute_costs": total.costs, "minutes": total.minutes}
    names = dict(zip(KEY, key, strict=True))
    return cast(Hour, {"start": start, **names, **counted, "total_tokens": sums["tokens"], **minutes})
