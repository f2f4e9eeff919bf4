"""The whole of verify: reads topics and tables, looks again at what differs, and judges.

What is read is never of one moment: between two questions a line moves on. So what differs is asked again, by new
bounds, until it agrees or the patience is over; only what still differs then is wrong.
"""

import time
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from spanloom_sinks.settings import VerifySettings
from spanloom_sinks.store import Store
from spanloom_sinks.verify import facts as f
from spanloom_sinks.verify.judging import Facts, judge
from spanloom_sinks.verify.looking import Bounds, Tables, bounds
from spanloom_sinks.verify.model import Report
from spanloom_sinks.verify.settled import FOREVER, Place
from spanloom_sinks.verify.topics import SPANS, TOPICS, Cluster, Topics

PATIENCE = 40.0
"""Seconds that what differs is asked again: hours are summed up within half a minute."""
_PAUSE = 3.0
_KEPT = ("spans", "batches", "traces", "panes")
_COMPARED = ("panes", "windows", "hours", "quantiles", "late", "trace_hours")
_DAY_MS = 86_400_000
_EDGE_MS = 600_000  # what is about to expire is left alone
_MESSAGES = 100_000  # offsets a statement, at most
_OFFSETS_SPANS = 1_000_000

Progress = Callable[[int, int, str], None]


class _Look(NamedTuple):
    """What is known of topics and tables at one moment."""

    now: int
    topic_id: str
    places: Sequence[Place]
    cluster: Cluster | None
    held: Sequence[Mapping[str, Any]]

    @property
    def bounds(self) -> Bounds:
        return bounds(self.topic_id, self.places, self.now)

    @property
    def arrived(self) -> int:
        """Messages whose log time is before this (epoch ms) are in the tables."""
        behind = [place.stored_clock for place in self.places if place.stored < place.high]
        return min([*behind, self.now])


def verify(
    settings: VerifySettings,
    since: int,
    until: int | None,
    *,
    with_topics: bool = True,
    patience: float = PATIENCE,
    progress: Progress = lambda done, total, what: None,
) -> Report:
    """The report about what came in from `since` to before `until` (epoch s; None: up to now).

    Raises StoreError when ClickHouse, TopicsError when Kafka cannot be asked.
    """
    begun = time.monotonic()
    store = Store(settings.clickhouse, timeout_seconds=300)
    topics = Topics(settings) if with_topics else None
    try:
        found = _Verification(Tables(store, topics), topics, since, until, progress).run(begun + patience)
    finally:
        store.close()
        if topics is not None:
            topics.close()
    return Report(found.range.since, found.range.until, judge(found), time.monotonic() - begun)


Name = tuple[Hashable, ...]
Task = Callable[[_Look], Any]


class _Verification:
    def __init__(
        self, tables: Tables, topics: Topics | None, since: int, until: int | None, progress: Progress
    ) -> None:
        self._tables, self._topics, self._progress = tables, topics, progress
        now = tables.now()
        kept = tables.kept(*_KEPT)
        self._kept_since = max(0, now - min(kept.values()) * _DAY_MS + _EDGE_MS) if kept else 0
        self._ledger_since = max(0, now - kept["batches"] * _DAY_MS + _DAY_MS) if "batches" in kept else 0
        self._until = min(until * 1000, now) if until is not None else now
        self._since = min(max(since * 1000, self._kept_since), self._until)
        # Minutes: those that the range touches.
        self._first, self._stop = self._since // 60_000 * 60, -(-self._until // 60_000) * 60

    def run(self, deadline: float) -> Facts:
        """Ask everything, and what differs again."""
        look = self._look()
        tasks = self._tasks(look)
        found: dict[Name, Any] = {}
        again = dict(tasks)
        while True:
            for done, (name, task) in enumerate(again.items()):
                self._progress(done, len(again), str(name[0]))
                found[name] = task(look)
            again = {name: tasks[name] for name, facts in found.items() if facts.wrong}
            if not again or time.monotonic() + _PAUSE > deadline:
                break
            time.sleep(_PAUSE)
            look = self._look()
        return self._facts(look, found)

    def _look(self) -> _Look:
        self._progress(0, 1, "topics")
        held = self._tables.places(self._since, self._until)
        now = self._tables.now()
        if self._topics is not None:
            cluster = self._topics.look(self._since, self._until, self._tables.written())
            firsts = {row["partition"]: row["first"] for row in held if row["topic_id"] == cluster.topic_id}
            places = [
                place._replace(first=min(place.first, firsts.get(place.partition, place.first)))
                for place in cluster.places
            ]
            return _Look(now, cluster.topic_id, places, cluster, held)
        topic_id = held[0]["topic_id"] if held else ""
        return _Look(now, topic_id, self._tables.places_by_tables(topic_id, held, now), None, held)

    def _tasks(self, look: _Look) -> dict[Name, Task]:
        tables, since, until = self._tables, self._since, self._until
        tasks: dict[Name, Task] = {}
        parts = tables.ledger_parts(since, until)
        for part in range(parts):
            tasks["ledger", part] = partial(self._ledger, part, parts)
        for run, low in self._runs(look):
            tasks["messages", run] = partial(_unbound, partial(tables.messages, run, low))
        for window in tables.windows(self._first, self._stop):
            tasks["contents", window] = partial(_bound, partial(tables.contents, window))
            for check in ("panes", "windows"):
                tasks[check, window] = partial(_bound, partial(tables.compare, check, window))
            tasks["quantiles", window] = partial(_bound, partial(tables.quantiles, window))
            tasks["late", window] = partial(_bound, partial(tables.late, window))
            tasks["traces", window] = partial(_bound, partial(tables.traces, window))
        for window in tables.days(self._first, self._stop):
            for check in ("hours", "trace_hours"):
                tasks[check, window] = partial(_bound, partial(tables.compare, check, window))
        return tasks

    def _ledger(self, part: int, parts: int, look: _Look) -> f.Ledger:
        return self._tables.ledger(self._since, self._until, part, parts, look.arrived, self._ledger_since)

    def _runs(self, look: _Look) -> list[tuple[f.Offsets, int]]:
        """The offsets of the range that must be in the tables, in pieces; with each the first that its topic holds."""
        spans, messages = sum(row["spans"] for row in look.held), sum(row["messages"] for row in look.held)
        size = min(_MESSAGES, max(1_000, _OFFSETS_SPANS * max(1, messages) // max(1, spans)))
        whole = [(look.topic_id, place.partition, place.first, place.end, place.low) for place in look.places]
        gone = [
            (row["topic_id"], row["partition"], row["first"], row["last"] + 1, FOREVER)
            for row in look.held
            if row["topic_id"] != look.topic_id
        ]
        return [
            (f.Offsets(topic_id, partition, at, min(at + size, stop)), low)
            for topic_id, partition, first, stop, low in whole + gone
            for at in range(first, stop, size)
        ]

    def _facts(self, look: _Look, found: Mapping[Name, Any]) -> Facts:
        def of(check: str) -> list[Any]:
            return [facts for name, facts in found.items() if name[0] == check]

        in_flight = sum(max(0, place.stop - max(place.first, place.stored)) for place in look.places)
        topic_ids = list(dict.fromkeys(row["topic_id"] for row in look.held))
        settled = min((place.panes for place in look.places), default=0)
        return Facts(
            range=f.Range(
                self._since,
                self._until,
                self._kept_since,
                settled,
                min((place.traces for place in look.places), default=0),
                in_flight,
                topic_ids,
                _log(look.cluster) if look.cluster else None,
            ),
            ledger=of("ledger"),
            messages=of("messages"),
            contents=of("contents"),
            compared={check: of(check) for check in _COMPARED},
            traces=of("traces"),
            told=self._tables.told(self._first, self._stop),
            dead=self._tables.dead(self._since, self._until),
        )


def _bound(ask: Callable[[Bounds], Any], look: _Look) -> Any:
    return ask(look.bounds)


def _unbound(ask: Callable[[], Any], _: _Look) -> Any:
    return ask()


def _log(cluster: Cluster) -> f.Log:
    """Lag, and what retention took before the sink came to it."""
    stored = {topic: _behind({at: log.sink for at, log in cluster.logs.items()}, cluster, topic) for topic in TOPICS}
    read = {(SPANS, partition): offset for partition, offset in cluster.reached.items()}
    lags = [f.Lag("sink", topic, messages) for topic, messages in stored.items()]
    lags.append(f.Lag("processors", SPANS, _behind(read, cluster, SPANS)))
    kept = {(SPANS, place.partition): place.stored for place in cluster.places}  # of this topic, not one of that name
    removed: Counter[str] = Counter()
    for at, log in cluster.logs.items():
        if 0 < (offset := kept.get(at, log.sink)) < log.low:
            removed[at[0]] += log.low - offset
    return f.Log(cluster.topic_id, lags, removed, cluster.overflow)


def _behind(offsets: Mapping[tuple[str, int], int], cluster: Cluster, topic: str) -> int:
    logs = {at: log for at, log in cluster.logs.items() if at[0] == topic}
    return sum(max(0, log.high - max(log.low, offsets.get(at, 0))) for at, log in logs.items())
