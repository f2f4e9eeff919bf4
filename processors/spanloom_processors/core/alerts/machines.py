"""Rules about machines: a pure fold over llm.samples, where each machine has a time of its own.

A message is a machine's whole pane of ten seconds, and final. So the window that ends with it is judged when it comes,
by the machine's time, and waits for no other. What a message leads to depends on the messages before it: of those, the
ones that are no older than KEEP_MS by the log's clock are remembered, and a restart reads them again without judging.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import polars as pl

from spanloom_processors.core.alerts.records import Alert, group_of
from spanloom_processors.core.alerts.retired import Question, Retired
from spanloom_processors.core.alerts.rules import LONGEST_WINDOW_MS, PANE_MS, Above, Below, Rule
from spanloom_processors.core.alerts.transitions import Moment, active, resolve, step
from spanloom_processors.core.alerts.verdicts import Verdict
from spanloom_processors.core.clock import FUTURE_MS

KEEP_MS = 2 * LONGEST_WINDOW_MS
SILENCE_MS = 60_000
"""A group that nobody has told about for so long, by the log's clock, is not underused: it is gone."""
GROUPS = 10_000
"""Of all rules together; of further ones each rule has one group, `other`."""
LABEL = 256
"""Characters of a name that a group has at most."""
RATIO = 1e6
"""Samples have shares in millionths, as the schema says."""


class _Told(NamedTuple):
    """A message that is remembered, and what it added: question, sum and count."""

    offset: int
    log_time: int
    key: tuple[Any, ...]
    added: list[tuple[Question, int, int]]

    @property
    def start(self) -> int:
        return int(self.key[-1])


class Machines:
    """The state of all rules about machines."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = {rule.name: rule for rule in rules}
        self._states: dict[Question, Alert] = {}
        self._heard: dict[Question, int] = {}
        """When somebody told last about a group that has panes or fires."""
        self._panes: dict[Question, dict[int, tuple[int, int]]] = {}
        self._told: deque[_Told] = deque()
        self._keys: set[tuple[Any, ...]] = set()
        self._clock = 0
        self._next = 0
        self.retired = Retired()
        self.moved = 0
        """Readings so far of groups past GROUPS, added up as `other`."""
        self.judged = 0
        """The first offset to judge: messages before it only rebuild sums."""

    def restore(self, alerts: Iterable[Alert]) -> None:
        """Take back the last records of these rules."""
        own = [alert for alert in alerts if alert["rule"] in self._rules]
        for alert in own:
            question = alert["rule"], group_of(alert)
            self._states[question] = alert
            if active(alert):
                self._heard[question] = alert["at"]
        self.retired.restore(own)

    def fold(self, headers: pl.DataFrame, samples: pl.DataFrame) -> list[Alert]:
        """Fold messages of llm.samples, in offset order; return the transitions."""
        wanted = {rule.metric.of for rule in self._rules.values()}
        rows: dict[int, list[dict[str, Any]]] = {}
        answered = pl.col("quantity").is_in(wanted) & (pl.col("count") > 0) & pl.col("sum").is_not_null()
        for row in samples.filter(answered).iter_rows(named=True):
            rows.setdefault(row["offset"], []).append(row)
        found: list[Alert] = []
        for header in headers.iter_rows(named=True):
            found += self._message(header, rows.get(header["offset"], []))
        return found

    def expire(self, now: int) -> list[Alert]:
        """Resolve the firing groups that nobody has told about until `now`, by the log's clock or an empty fetch."""
        due = [
            question
            for question, state in self._states.items()
            if active(state) and self._heard[question] + SILENCE_MS <= now
        ]
        return [self._gone(question) for question in sorted(due)]

    def safe(self) -> tuple[int, int] | None:
        """The first offset still needed, and the first one not judged; None: nothing folded yet."""
        if not self._next:
            return None
        return (self._told[0].offset if self._told else self._next), max(self._next, self.judged)

    def _message(self, header: dict[str, Any], rows: list[dict[str, Any]]) -> list[Alert]:
        offset, start = header["offset"], header["start"]
        self._clock = max(self._clock, header["log_time"])
        self._next = offset + 1
        self._forget()
        judging = offset >= self.judged
        found = self.expire(self._clock) if judging else []
        key = header["environment"], header["host"], header["epoch"], start
        if key in self._keys or start % PANE_MS or start + PANE_MS > header["log_time"] + FUTURE_MS:
            return found
        told = _Told(offset, self._clock, key, list(self._added(header, rows)))
        # Sorted, and once each: a question may be told by several GPUs.
        judged = sorted({question for question, _, _ in told.added if start > self._newest(question)})
        self._told.append(told)
        self._keys.add(key)
        for question, total, count in told.added:
            self._count(question, start, total, count)
            self._heard[question] = max(self._clock, self._heard.get(question, 0))
        if judging:
            found += [alert for question in judged if (alert := self._judge(question, start + PANE_MS))]
        return found

    def _newest(self, question: Question) -> int:
        """The start of its newest pane: a window that ends with an older one, or with the same, was judged."""
        return max(self._panes.get(question, ()), default=-1)

    def _added(self, header: dict[str, Any], rows: list[dict[str, Any]]) -> Iterator[tuple[Question, int, int]]:
        for row in rows:
            said = {"environment": header["environment"], "host": header["host"], "gpu_id": row["gpu_id"]}
            labels = {name: value[:LABEL] for name, value in said.items()}
            for rule in self._rules.values():
                if row["quantity"] == rule.metric.of and all(labels[name] in values for name, values in rule.where):
                    group = tuple((name, labels[name]) for name in rule.group_by)
                    yield self._admitted((rule.name, group)), row["sum"], row["count"]

    def _admitted(self, question: Question) -> Question:
        rule, group = question
        if question in self._panes or len(self._panes) < GROUPS:
            return question
        self.moved += 1
        return rule, tuple((name, "other") for name, _ in group)

    def _judge(self, question: Question, end: int) -> Alert | None:
        rule, state = self._rules[question[0]], self._states.get(question)
        if state and end <= state["window_end"]:
            return None
        panes = self._panes[question]
        within = [panes[start] for start in range(end - rule.window, end, PANE_MS) if start in panes]
        total, count = sum(total for total, _ in within), sum(count for _, count in within)
        verdict = _verdict(rule, total, count)
        alert = step(rule, question[1], state, verdict, Moment(self._clock, end - rule.window, end, end, False), list)
        return self._keep(question, alert) if alert else None

    def _gone(self, question: Question) -> Alert:
        """The record of a group that fell silent: of the window that was judged last, so a replay judges none again."""
        state, at = self._states[question], self._heard[question] + SILENCE_MS
        end = max(state["window_end"], self._newest(question) + PANE_MS)
        return self._keep(question, resolve(state, Moment(at, state["window_start"], end, at, False), None))

    def _keep(self, question: Question, alert: Alert) -> Alert:
        self._states[question] = alert
        self.retired.note(alert)
        return alert

    def _count(self, question: Question, start: int, total: int, count: int) -> None:
        panes = self._panes.setdefault(question, {})
        before = panes.get(start, (0, 0))
        panes[start] = before[0] + total, before[1] + count
        if not panes[start][1]:
            del panes[start]
        if not panes:
            del self._panes[question]
            if not active(self._states.get(question)):
                self._heard.pop(question, None)

    def _forget(self) -> None:
        while self._told and self._told[0].log_time <= self._clock - KEEP_MS:
            told = self._told.popleft()
            self._keys.discard(told.key)
            for question, total, count in told.added:
                self._count(question, told.start, -total, -count)
        for question in self.retired.forget(self._clock):
            self._states.pop(question, None)


def _verdict(rule: Rule, total: int, count: int) -> Verdict:
    value = total / count / RATIO if count else None
    limit = rule.condition.limit if isinstance(rule.condition, Above | Below) else 0.0
    if value is None or count < rule.minimum:
        return Verdict(False, value, limit)
    return Verdict(value > limit if isinstance(rule.condition, Above) else value < limit, value, limit)
