"""What the rules about one request must say of a log of llm.traces: a plain reading of docs/alerts.md.

Each partition is a story of its own. A trace over the limit opens an alert of its group for one window of log
time; what is over the limit in that window belongs to it, and so does any later version of a trace that it named.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.oracle.alerts import Group, Rule, Said, Told, amount, milliseconds

NAMED = 5
"""Traces that an alert names, the dearest first."""


@dataclass
class _Partition:
    clock: int = 0
    open: dict[tuple[str, Group], Said] = field(default_factory=dict)
    closed: dict[tuple[str, Group], Said] = field(default_factory=dict)
    named: dict[tuple[str, Group], list[str]] = field(default_factory=dict)


def requests_of(log: Iterable[Told], rules: Sequence[Rule], partition: int, now: int) -> list[Said]:
    """Every transition on one partition of llm.traces, given the whole log and that it is `now`."""
    state, said = _Partition(), []
    for message in log:
        state.clock = max(state.clock, message.log_time_ms)
        said += _over(state, state.clock)
        for rule in rules:
            if rule["metric"] == "trace_cost":
                said += _dear(state, rule, message.batch["traces"], partition)
    return [*said, *_over(state, now)]


def _over(state: _Partition, now: int) -> Iterator[Said]:
    for key, alert in list(state.open.items()):
        if alert.window_end <= now:
            state.closed[key] = state.open.pop(key)._replace(state="resolved", at=alert.window_end)
            yield state.closed[key]


def _dear(state: _Partition, rule: Rule, traces: Sequence[dict[str, Any]], partition: int) -> Iterator[Said]:
    groups: dict[Group, list[dict[str, Any]]] = {}
    for trace in traces:
        if (trace["cost"] or 0) / 1e9 > amount(rule["above"]):
            labels = [(name, trace[name] or "") for name in rule["group_by"]]
            groups.setdefault(tuple(sorted([*labels, ("partition", str(partition))])), []).append(trace)
    for group, dear in groups.items():
        key = rule["name"], group
        dearest = sorted(dear, key=lambda trace: (trace["cost"], trace["trace_id"]), reverse=True)
        names = [trace["trace_id"] for trace in dearest if trace["trace_id"] not in state.named.get(key, ())]
        before = state.closed.get(key)
        if key in state.open or (before and state.clock < before.window_end) or not names:
            continue
        state.named[key] = list(dict.fromkeys(names))[:NAMED]
        end = state.clock + milliseconds(rule["window"])
        state.open[key] = Said(rule["name"], group, "firing", state.clock, end, False)
        yield state.open[key]
