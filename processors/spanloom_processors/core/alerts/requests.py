"""Rules about one request: a fold over llm.traces, each source partition by its own log time.

A request over the limit fires its group (the rule's labels, and the partition, since another worker may read the
others) for one window; further ones in that window belong to the same alert. It resolves when the window has passed, so
the last record is all of the state but for the clock, which travels in the commit: a replay, or a newer version of a
trace that the record names, fires nothing again.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from spanloom_processors.core.alerts.records import EXEMPLARS, Alert, Group, group_of, number_from
from spanloom_processors.core.alerts.retired import Retired
from spanloom_processors.core.alerts.rules import Above, Rule
from spanloom_processors.core.alerts.transitions import Moment, active, fire, resolve
from spanloom_processors.core.alerts.verdicts import Verdict
from spanloom_processors.core.alerts.windows import NANO


class Requests:
    """The state of all rules about one request."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = {rule.name: rule for rule in rules}
        self._states: dict[tuple[str, Group], Alert] = {}
        self._clocks: dict[int, int] = {}
        self._retired: dict[str, Retired] = defaultdict(Retired)  # by partition, each by its own clock

    def restore(self, alerts: Iterable[Alert]) -> None:
        """Take back the last records of these rules."""
        own = [alert for alert in alerts if alert["rule"] in self._rules]
        self._states.update({(alert["rule"], group_of(alert)): alert for alert in own})
        for alert in sorted(own, key=lambda alert: alert["at"]):
            self._retired[_partition(group_of(alert))].note(alert)

    def resume(self, partition: int, metadata: str | None) -> None:
        """Take back the clock of a partition from the metadata of the commit from where it is read."""
        self._clocks[partition] = number_from(metadata, "clock")

    def metadata(self, partition: int) -> str:
        """What a commit of all that was folded of a partition says of its clock, for `resume`."""
        return f"clock={self._clocks.get(partition, 0)}"

    def fold(self, headers: pl.DataFrame, traces: pl.DataFrame) -> list[Alert]:
        """Fold messages of one partition; return the transitions."""
        if not self._rules:
            return []
        dear = self._dear(traces)
        found: list[Alert] = []
        for offset, log_time, partition in headers.select("offset", "log_time", "partition").iter_rows():
            clock = self._clocks[partition] = max(log_time, self._clocks.get(partition, 0))
            found += self.expire(partition, clock)
            for question in self._retired[str(partition)].forget(clock):
                self._states.pop(question, None)
            for rule in self._rules.values():
                found += self._judge(rule, partition, clock, dear.get(offset, []))
        return found

    def expire(self, partition: int, now: int) -> list[Alert]:
        """Resolve the firing groups of a partition whose window has passed."""
        due = [
            (key, state)
            for key, state in self._states.items()
            if active(state) and state["window_end"] <= now and _partition(key[1]) == str(partition)
        ]
        found = [self._keep(self._expired(state)) for _, state in due]
        return sorted(found, key=lambda alert: (alert["window_end"], alert["rule"]))

    def retired(self) -> list[bytes]:
        """The keys of records that are to be deleted, since the last call."""
        return [key for retired in self._retired.values() for key in retired.take()]

    def _dear(self, traces: pl.DataFrame) -> dict[int, list[dict[str, Any]]]:
        """The traces over the lowest limit, by message."""
        lowest = min(rule.condition.limit for rule in self._rules.values() if isinstance(rule.condition, Above))
        found: dict[int, list[dict[str, Any]]] = {}
        if traces.is_empty():
            return found
        dear = traces.filter(pl.col("cost") > lowest * NANO).sort("cost", "trace_id", descending=True)
        for trace in dear.iter_rows(named=True):
            found.setdefault(trace["offset"], []).append(trace)
        return found

    def _judge(self, rule: Rule, partition: int, clock: int, traces: list[dict[str, Any]]) -> list[Alert]:
        assert isinstance(rule.condition, Above)
        groups: dict[Group, list[dict[str, Any]]] = {}
        for trace in traces:
            if trace["cost"] > rule.condition.limit * NANO and all(
                trace[name] in values for name, values in rule.where
            ):
                groups.setdefault(_group(rule, trace, partition), []).append(trace)
        return [alert for group, dear in groups.items() if (alert := self._fire(rule, group, clock, dear))]

    def _fire(self, rule: Rule, group: Group, clock: int, dear: list[dict[str, Any]]) -> Alert | None:
        state = self._states.get((rule.name, group))
        if state and clock < state["window_end"]:
            return None
        dear = [trace for trace in dear if not state or trace["trace_id"] not in state["trace_ids"]]
        if not dear:
            return None
        assert isinstance(rule.condition, Above)
        verdict = Verdict(True, dear[0]["cost"] / NANO, rule.condition.limit)
        now = Moment(clock, clock, clock + rule.window, clock, False)
        trace_ids = list(dict.fromkeys(trace["trace_id"] for trace in dear))[:EXEMPLARS]
        return self._keep(fire(rule, group, verdict, now, trace_ids))

    def _expired(self, state: Alert) -> Alert:
        end = state["window_end"]
        return resolve(state, Moment(end, state["window_start"], end, state["since"], False), state["value"])

    def _keep(self, alert: Alert) -> Alert:
        group = group_of(alert)
        self._states[alert["rule"], group] = alert
        self._retired[_partition(group)].note(alert)
        return alert


def _group(rule: Rule, trace: dict[str, Any], partition: int) -> Group:
    labels = [(name, str(trace[name] or "")) for name in rule.group_by]
    return tuple(sorted([*labels, ("partition", str(partition))]))


def _partition(group: Group) -> str:
    return dict(group).get("partition", "")  # a record from when the rule was about something else has none
