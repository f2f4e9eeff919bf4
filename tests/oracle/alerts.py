"""What the rules must say of a log of llm.panes: a plain reading of docs/alerts.md, message by message.

All kinds of rules but those about one request (`tests/oracle/requests.py`: they fold llm.traces). Everything is
added up again from the rows for every verdict.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median
from typing import Any, NamedTuple

from tests.oracle.spans import LATENESS_MS, PANE_MS, TOKENS, Key
from tests.oracle.stored import BASE

WAIT_MS, SILENCE_MS, AHEAD_MS, MINUTE_MS, HOUR_MS = 30_000, 2_000, 60_000, 60_000, 3_600_000
LEARNT_MINUTES = 30
_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": HOUR_MS}
_RATES = {"error_rate": "errors", "request_error_rate": "errors", "unpriced_share": "unpriced"}

Rule = Mapping[str, Any]
"""A rule as its YAML has it."""
Group = tuple[tuple[str, str], ...]


class Told(NamedTuple):
    """A message of llm.panes, decoded."""

    offset: int
    log_time_ms: int
    batch: dict[str, Any]


class Said(NamedTuple):
    """A transition of a group of a rule; times are epoch ms."""

    rule: str
    group: Group
    state: str
    at: int
    window_end: int
    partial: bool


class Firing(NamedTuple):
    """What people are paged for once: a group of a rule that fires, and since when (epoch ms)."""

    rule: str
    group: Group
    since: int


class _Row(NamedTuple):
    start: int
    key: Key
    counts: dict[str, Any]


@dataclass
class _State:
    panes: dict[tuple[str, int, int], tuple[int, dict[Key, _Row]]] = field(default_factory=dict)
    """by topic id, partition and start: revision and rows"""
    late: list[_Row] = field(default_factory=list)
    """with the pane of their arrival as start"""
    seen: set[tuple[str, int, int, Key]] = field(default_factory=set)
    clock: int = 0
    judged: int = 0
    waited: int = 0
    partitions: int = 0
    passed: dict[int, int] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    """window ends that the clock has passed, with what had been waited then"""
    last: dict[tuple[str, Group], Said] = field(default_factory=dict)
    since: dict[tuple[str, Group], int] = field(default_factory=dict)
    firings: dict[Firing, bool] = field(default_factory=dict)
    """whether each is over"""

    groups: dict[tuple[str, Key], Group | None] = field(default_factory=dict)
    """of each rule and key, once they were looked for"""

    def rows(self, rule: Rule, first: int, end: int) -> Iterator[tuple[Group, _Row]]:
        """The rows that a rule is about, of panes that start in [first, end), with their groups."""
        for (_, _, start), (_, rows) in self.panes.items():
            if first <= start < end:
                yield from self.about(rule, rows.values())
        yield from self.about(rule, (row for row in self.late if first <= row.start < end))

    def about(self, rule: Rule, rows: Iterable[_Row]) -> Iterator[tuple[Group, _Row]]:
        for row in rows:
            asked = rule["name"], row.key
            if asked not in self.groups:
                self.groups[asked] = _group(rule, row.key)
            group = self.groups[asked]
            if group is not None:
                yield group, row

    def newest(self, rule: Rule) -> int:
        """The start of the newest pane that a rule is about."""
        starts = {start for _, _, start in self.panes} | {row.start for row in self.late}
        about = (start for start in sorted(starts, reverse=True) if any(self.rows(rule, start, start + 1)))
        return next(about, 0)


def alerts_of(log: Iterable[Told], rules: Sequence[Rule]) -> list[Said]:
    """Every transition that the rules must lead to, given the whole log."""
    return Reading(rules).read(log)


class Reading:
    """The rules over a log that is read on as it grows."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._state = _State()
        self._rules = [rule for rule in rules if rule["metric"] != "trace_cost"]

    @property
    def firings(self) -> Mapping[Firing, bool]:
        """Everything that people must be paged for by now, and whether it is over."""
        return self._state.firings

    def read(self, log: Iterable[Told]) -> list[Said]:
        """The transitions that further messages lead to."""
        state, said = self._state, []
        for message in log:
            if not state.clock:
                state.clock, state.judged = message.log_time_ms, message.log_time_ms // PANE_MS * PANE_MS
            _tick(state, message.log_time_ms)
            touched = _apply(state, message.batch) if message.batch["partition"] >= 0 else []
            said += [alert for rule in self._rules if _early(rule) for alert in _fire_early(state, rule, touched)]
            while (due := _due(state)) is not None:
                end, partial = due
                for rule in self._rules:
                    said += _judge_all(state, rule, end, partial)
                state.judged = end
                state.ends.pop(end, None)
        return said


def _tick(state: _State, log_time: int) -> None:
    if log_time > state.clock:
        state.waited += min(log_time - state.clock, SILENCE_MS)
        state.clock = log_time
    for end in range(max([state.judged, *state.ends]) + PANE_MS, state.clock + 1, PANE_MS):
        state.ends[end] = state.waited


def _apply(state: _State, batch: dict[str, Any]) -> list[_Row]:
    """Take the rows of a message; returns those that changed something, by what they now count in."""
    state.partitions = batch["partitions"]
    state.passed[batch["partition"]] = max(batch["progress"], state.passed.get(batch["partition"], 0))
    arrival = state.clock // PANE_MS * PANE_MS
    source = batch["topic_id"], batch["partition"]
    touched = []
    for said in batch["panes"]:
        key = Key(*((said[name] or False) if name == "request" else (said[name] or "") for name in Key._fields))
        row = _Row(said["start"], key, said)
        if said["late_offset"] is not None:
            if (*source, said["late_offset"], key) not in state.seen:
                state.seen.add((*source, said["late_offset"], key))
                state.late.append(row._replace(start=arrival))
                touched.append(state.late[-1])
            continue
        if row.start > arrival + AHEAD_MS:
            continue
        revision, rows = state.panes.get((*source, row.start), (batch["revision"], {}))
        if batch["revision"] > revision:
            revision, rows = batch["revision"], {}
        if batch["revision"] == revision and (key not in rows or rows[key].counts["spans"] < said["spans"]):
            rows[key] = row
            touched.append(row)
        state.panes[*source, row.start] = revision, rows
    return touched


def _due(state: _State) -> tuple[int, bool] | None:
    end = state.judged + PANE_MS
    passed = [state.passed.get(number, 0) >= end + LATENESS_MS for number in range(state.partitions)]
    if passed and all(passed):
        return end, False
    return (end, True) if end in state.ends and state.waited - state.ends[end] >= WAIT_MS else None


def _fire_early(state: _State, rule: Rule, touched: Sequence[_Row]) -> Iterator[Said]:
    window = milliseconds(rule.get("window", "1m"))
    newest = state.newest(rule) if touched else 0
    for group, start in dict.fromkeys((group, row.start) for group, row in state.about(rule, touched)):
        last = state.last.get((rule["name"], group))
        if last and (last.state != "resolved" or state.clock < last.at):
            continue
        first = max(start, state.judged) + PANE_MS
        stop = first if "budget" in rule else min(start + window, newest + PANE_MS)
        for end in range(first, stop + 1, PANE_MS):
            if (not last or end > last.window_end) and _true(state, rule, group, end, active=False):
                yield _note(
                    state, rule, Said(rule["name"], group, "firing", state.clock, end, False), min(state.clock, end)
                )
                break


def _judge_all(state: _State, rule: Rule, end: int, partial: bool) -> Iterator[Said]:
    window = milliseconds(rule.get("window", "1m"))
    reach = PANE_MS if "budget" in rule else window + PANE_MS * ("absent" in rule)
    held = {group for group, _ in state.rows(rule, end - max(window, reach), end)}
    active = {group for (name, group), last in state.last.items() if name == rule["name"] and last.state != "resolved"}
    hold = milliseconds(rule.get("for", "0s"))
    for group in sorted(held | active):
        last = state.last.get((rule["name"], group))
        is_active = last is not None and last.state != "resolved"
        if last and end <= last.window_end:
            continue
        now = state.clock
        if _true(state, rule, group, end, is_active):
            if not is_active:
                verdict = "firing" if hold <= 0 else "pending"
                yield _note(state, rule, Said(rule["name"], group, verdict, now, end, partial), end)
            elif last.state == "pending" and end - state.since[rule["name"], group] >= hold:
                since = state.since[rule["name"], group]
                yield _note(state, rule, Said(rule["name"], group, "firing", now, end, partial), since)
        elif is_active and not _true_later(state, rule, group, end):
            yield _note(state, rule, Said(rule["name"], group, "resolved", now, end, partial), 0)


def _true_later(state: _State, rule: Rule, group: Group, judged: int) -> bool:
    """A sum that is over the limit in an open window: resolving it would page again at once."""
    if not _early(rule) or "budget" in rule:
        return False
    newest = state.newest(rule)
    return any(_true(state, rule, group, end, True) for end in range(judged + PANE_MS, newest + 2 * PANE_MS, PANE_MS))


def _note(state: _State, rule: Rule, said: Said, since: int) -> Said:
    key = rule["name"], said.group
    if said.state == "firing":
        state.firings[Firing(*key, since)] = False
    elif said.state == "resolved" and (over := Firing(*key, state.since[key])) in state.firings:
        state.firings[over] = True
    state.last[key] = said
    state.since[key] = since
    return said


def _true(state: _State, rule: Rule, group: Group, end: int, active: bool) -> bool:
    """Whether a rule's condition is true of a group in the window that ends then."""
    window = milliseconds(rule.get("window", "1m"))
    if "budget" in rule:
        first, last = _period_start(end - PANE_MS, rule["budget"]["period"]), -(-end // HOUR_MS) * HOUR_MS
        own = [row for of, row in state.rows(rule, first, last) if of == group]
        value, count = _measure(rule["metric"], own, window)
        return count >= rule.get("minimum", 1) and value > amount(rule["budget"]["limit"])
    inside = [row for of, row in state.rows(rule, end - window, end) if of == group]
    if "absent" in rule:
        before = [row for of, row in state.rows(rule, end - window - PANE_MS, end - window) if of == group]
        return not _sum(inside, "spans") and (active or _sum(before, "spans") > 0)
    value, count = _measure(rule["metric"], inside, window)
    if value is None or count < rule.get("minimum", 1):
        return False
    if "band" in rule:
        hour = (end - window) // HOUR_MS * HOUR_MS
        past = [row for of, row in state.rows(rule, hour - 24 * HOUR_MS, end - window) if of == group]
        return _unusual(rule, past, inside, value, (end - window) // MINUTE_MS * MINUTE_MS)
    return value > amount(rule["above"]) if "above" in rule else value < amount(rule["below"])


def _unusual(rule: Rule, past: Sequence[_Row], inside: Sequence[_Row], value: float, begun: int) -> bool:
    """Whether a window is outside of what a group's past teaches; the minute that `begun` begins is none of it yet."""
    cost_of: dict[int, int] = defaultdict(int)
    for row in past:
        cost_of[row.start // MINUTE_MS * MINUTE_MS] += row.counts["cost"] or 0
    costs = [cost for minute, cost in cost_of.items() if minute < begun]
    if len(costs) < LEARNT_MINUTES:
        return False
    if rule["metric"] == "cost_per_minute":
        middle, width = median(costs), rule["band"].get("width", 6)
        spread = width * max(1.4826 * median(abs(cost - middle) for cost in costs), 0.05 * middle)
        low = rule["band"].get("side") == "both" and value < (middle - spread) / 1e9
        return low or value > (middle + spread) / 1e9
    events, trials = _events(rule["metric"], inside)
    usual, of = _events(rule["metric"], past)
    return _chance(events, trials, usual + 0.5, of - usual + 0.5) < rule["band"]["p_value"]


def _chance(events: int, trials: int, a: float, b: float) -> float:
    """Of so many events or more, when their rate is only known as a Beta distribution."""

    def log_beta(x: float, y: float) -> float:
        return math.lgamma(x) + math.lgamma(y) - math.lgamma(x + y)

    return sum(
        math.comb(trials, k) * math.exp(log_beta(k + a, trials - k + b) - log_beta(a, b))
        for k in range(events, trials + 1)
    )


def _events(metric: str, rows: Sequence[_Row]) -> tuple[int, int]:
    """Of a rate: how many events, in how many trials."""
    if metric != "block_rate":
        return _sum(rows, _RATES[metric]), _sum(rows, "spans")
    requests = _sum([row for row in rows if row.key.request], "spans")
    on = _sum([row for row in rows if row.key.request], "blocks")
    return min(max(on, _sum(rows, "blocks") - on), requests), requests


def _measure(metric: str, rows: Sequence[_Row], window: int) -> tuple[Any, int]:
    """A metric's value (None: nothing to measure), and the count that `minimum` is about."""
    base, _, digits = metric.rpartition("_p")
    if base in ("request", "duration", "ttft", "tpot") and digits.isdigit():
        sketch: Counter[int] = Counter()
        for row in rows:
            for bucket in row.counts[f"{base.replace('request', 'duration')}_sketch"] or ():
                sketch[bucket["index"]] += bucket["count"]
        return _quantile(sketch, int(digits) / 10 ** len(digits)), sketch.total()
    spans = _sum(rows, "spans")
    if metric in _RATES or metric == "block_rate":
        events, trials = _events(metric, rows)
        return (events / trials if trials else None), trials
    if metric in ("cost", "cost_per_minute"):
        cost = _sum(rows, "cost") / 1e9
        return (cost * 60_000 / window if metric == "cost_per_minute" else cost), spans
    if metric == "tokens":
        return float(sum(_sum(rows, f"{name}_tokens") for name in TOKENS)), spans
    return float(_sum(rows, "spans" if metric == "requests" else metric)), spans


def _quantile(sketch: Mapping[int, int], q: float) -> float | None:
    rank, seen = max(1, math.ceil(q * sum(sketch.values()))), 0
    for index in sorted(sketch):
        seen += sketch[index]
        if seen >= rank:
            return 2 * BASE ** (index + 1) / (BASE + 1) / 1e9
    return None


def _sum(rows: Iterable[_Row], name: str) -> int:
    return sum(row.counts[name] or 0 for row in rows)


def _group(rule: Rule, key: Key) -> Group | None:
    """The group that rows of a key are in; None: the rule is not about them."""
    about = key._asdict()
    requests = rule["metric"].startswith("request_p") or rule["metric"] in ("request_error_rate", "requests")
    if requests and not key.request:
        return None
    for name, values in rule.get("where", {}).items():
        if about[name] not in (values if isinstance(values, list) else [values]):
            return None
    return tuple((name, str(about[name])) for name in sorted(rule.get("group_by", ())))


def _early(rule: Rule) -> bool:
    grows = rule["metric"] in ("spans", "requests", "errors", "blocks", "tokens", "cost", "cost_per_minute")
    return "budget" in rule or ("above" in rule and grows and not milliseconds(rule.get("for", "0s")))


def _period_start(at: int, period: str) -> int:
    day = datetime.fromtimestamp(at / 1000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return int((day if period == "day" else day.replace(day=1)).timestamp()) * 1000


def milliseconds(text: str) -> int:
    number = text.rstrip("mshu")
    return round(float(number) * _UNITS[text[len(number) :].strip()])


def amount(given: Any) -> float:
    text = str(given).replace(",", "").strip()
    if text.endswith("%"):
        return float(text[:-1]) * 0.01
    if text.endswith("s"):
        return milliseconds(text) / 1000
    return float(text.removeprefix("$"))


def by_group(said: Iterable[Said]) -> dict[tuple[str, Group], list[Said]]:
    """The transitions of each rule and group, in order."""
    found: dict[tuple[str, Group], list[Said]] = defaultdict(list)
    for alert in said:
        found[alert.rule, alert.group].append(alert)
    return found
