"""The whole line in memory: the real processors and sinks over a log, a store and clocks that stand still until told.

What is simulated is the world around them: brokers, groups, crashes, sleep. Every send, commit and insert is a point at
which a process may die, or sleep while everybody else goes on.
"""

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import polars as pl
import yaml
from faust.types import TP
from spanloom_processors.assignment import Assigned
from spanloom_processors.commits import Commits, Point
from spanloom_processors.compacted import Record
from spanloom_processors.consumer import Poll
from spanloom_processors.core.alerts.rules import parse
from spanloom_processors.core.bounds import Bounds
from spanloom_processors.core.revisions import Revision
from spanloom_processors.emit import Outgoing
from spanloom_processors.settings import ProcessorSettings
from spanloom_processors.spans import Spans
from spanloom_processors.worker import Worker
from spanloom_schemas.frames.splice import Dead
from spanloom_schemas.prices.book import Book
from spanloom_schemas.prices.own import Own
from spanloom_schemas.testing import Clock, Committed, Fenced, Log
from spanloom_sinks import dead_letters, lane, pending
from spanloom_sinks.consumer import Commit
from spanloom_sinks.lane import Lane
from spanloom_sinks.service import Sink
from spanloom_sinks.source import Source
from spanloom_sinks.store import StoreError
from spanloom_sinks.tables import tables
from spanloom_sinks.testing import MemoryDatabase
from spanloom_sinks.trace_hours import TraceHours
from spanloom_sinks.writer import Writer

SPANS, PANES, TRACES, ALERTS, HOURS, DEAD = (
    *("llm.spans", "llm.panes", "llm.traces", "llm.alerts", "llm.hours"),
    "llm.dead_letters",
)
FOLDED = (SPANS, PANES, TRACES)
STORED = (SPANS, TRACES, PANES, ALERTS, DEAD)
T0 = 1_700_002_800_000 - 60_000
"""A minute before an hour."""
LINGER_S = 0.2
GRACE = timedelta(seconds=5)
"""How soon an hour of traces is over: within a story."""
BOUNDS = Bounds(pane_keys=4, pane_labels=2, trace_spans=6, held_spans=25)
FIRST = Revision(1, 0, 4, 2)
ACTIVE_MS = 60_000
"""How much of a compacted topic is in its newest segment, which is never compacted (a week, on a broker)."""
TOKENS = 12
"""Tokens that a table remembers: few, so that a block is met again that is forgotten."""


@cache
def dearer(book: Book) -> Book:
    """The book after a change: one model costs more, another has a price at last."""
    own = [("gpt-4o-mini", Decimal(3), Decimal(9)), ("own", Decimal("0.5"), Decimal(1))]
    return Book(book._providers, [Own(model=model, input=input, output=out) for model, input, out in own], "dearer")


class Silent:
    """Stands for metrics, of which nobody asks here; they cost more than all that is measured."""

    def __getattr__(self, name: str) -> Any:
        return self

    def __call__(self, *arguments: object, **named: object) -> Any:
        return self


_SILENT: Any = Silent()


class Crash(BaseException):
    """A process dies here."""


class Process:
    """A worker or a sink; dead without a `body`."""

    body: Any = None

    def __init__(self, world: "World", name: str) -> None:
        self.world, self.name = world, name
        self.generation = -1
        self.expelled = False
        """its place in the group is another's, and it does not know yet"""
        self.asleep = self.doomed = False
        self.crash_at = self.sleep_at = 0
        self.sleeps = 0
        """how many steps happen while it sleeps"""
        self.revisions, self.book = world.revisions, world.book
        """those it started with"""
        self.waits = False
        """it does not sleep, it waits for an answer: what else it has to do goes on"""

    @property
    def acts(self) -> bool:
        """It lives and is awake."""
        return self.body is not None and not self.asleep and not self.doomed

    def io(self, what: str) -> None:
        """A point at which this process may die, or sleep while others go on."""
        if self.crash_at:
            self.crash_at -= 1
            if not self.crash_at:
                self.world.tell(f"    {self.name} dies before it can {what}")
                raise Crash
        if self.sleep_at:
            self.sleep_at -= 1
            if not self.sleep_at:
                self._sleep(what)

    def _sleep(self, what: str) -> None:
        self.world.tell(f"    {self.name} {'waits' if self.waits else 'sleeps'} before it can {what}, meanwhile:")
        self.asleep = not self.waits
        self.world.go_on(self.sleeps)
        self.asleep = False
        self.world.tell(f"    {self.name} goes on to {what}")
        if self.doomed:
            raise Crash

    def kill(self) -> None:
        """Die as by kill -9."""
        if self.busy:
            self.doomed = True
        else:
            self.die()

    @property
    def busy(self) -> bool:
        """It is in the middle of something."""
        raise NotImplementedError

    def die(self) -> None:
        """Nothing of it is left."""
        self.body, self.generation, self.doomed = None, -1, False
        self.crash_at = self.sleep_at = 0


class GroupConsumer:
    """Stands for the Faust consumer of one life of a worker."""

    def __init__(self, process: "Processor") -> None:
        self.process, self.log = process, process.world.log
        self.commits = Commits()
        self.handed: dict[TP, int] = {}
        self.empty: dict[TP, tuple[int, int]] = {}
        self.topic_ids: dict[str, str] = {}

    def fetch(self, tp: TP, most: int) -> Poll | None:
        """A poll of a partition; an empty one shows that there is nothing more."""
        if self.topic_ids[tp.topic] != self.log.topic_id(tp.topic):
            return None
        position = self.handed[tp]
        records = self.log.read(*tp, position, most)
        if not records:
            self.empty[tp] = position, self.process.now_ms()
            return None
        self.handed[tp] = records[-1].offset + 1
        poll = Poll(tp, [], self.handed[tp])
        poll.messages = [(record.offset, record.log_time, record.value) for record in records]
        poll.keys = {record.offset: record.key for record in records}
        return poll

    def idle_since(self, tp: TP, folded: int) -> int | None:
        position, sent = self.empty.get(tp, (-1, 0))
        return sent if position == self.handed.get(tp) == folded else None

    def positions(self) -> dict[TP, int]:
        return dict(self.handed)

    async def log_start(self, tp: TP) -> int:
        self.process.io(f"ask where {tp.topic}[{tp.partition}] begins")
        return self.log.start(*tp)

    async def commit(self) -> bool:
        points = {tp: point for tp in self.commits.pending() if (point := self.commits.declared(tp)) is not None}
        if not points:
            return True
        self.process.io("commit")
        try:
            told = {(tp.topic, tp.partition): Committed(*point) for tp, point in points.items()}
            self.log.commit("processors", self.process.generation, told)
        except Fenced:
            self.commits.refused += 1
            return False
        self.commits.done(points)
        return True

    def vitals(self) -> Mapping[TP, Any]:
        return {}

    def suspend(self) -> None:
        pass


class Application:
    """Stands for the Faust application."""

    def __init__(self, consumer: GroupConsumer) -> None:
        self.consumer = consumer


class MemoryWorker(Worker):
    """The real worker; sends and compacted topics are the world's."""

    def __init__(self, process: "Processor") -> None:
        world = process.world
        self._process = process
        super().__init__(
            ProcessorSettings(),
            world.book,
            world.rules,
            lambda: None,  # type: ignore[arg-type, return-value]  # nobody takes llm.alerts here
            _SILENT,
            build=lambda settings, owner: Application(GroupConsumer(process)),
            spans=lambda book: Spans(book, world.revisions, BOUNDS),
            clock=lambda: process.now_ms() * 1_000_000,
        )

    async def store(self, messages: Iterable[Outgoing]) -> None:
        for message in list(messages):
            self._process.io(f"send to {message.topic}")
            self._process.world.log.append(message.topic, message.partition or 0, message.value, message.key)

    async def _whole(self, topic: str) -> list[Record]:
        records = self._process.world.log.read(topic, 0, 0)
        last = {record.key: record.offset for record in records}
        if self._process.world.compacting:
            active = records[-1].log_time - ACTIVE_MS if records else 0
            records = [r for r in records if last[r.key] == r.offset or r.log_time >= active]
        return [Record(record.offset, record.value) for record in records if record.value]


class Processor(Process):
    """A worker of llm.spans, llm.panes and llm.traces."""

    body: MemoryWorker | None = None
    skew_ms = 0

    def __init__(self, world: "World", name: str) -> None:
        super().__init__(world, name)
        self.queue: list[Poll] = []
        self._doing: set[str] = set()

    def now_ms(self) -> int:
        return T0 + self.world.elapsed_ms + self.skew_ms

    @property
    def busy(self) -> bool:
        return bool(self._doing)

    @property
    def movable(self) -> bool:
        """It can take part in a rebalance now."""
        return self.body is not None and not self.body._emitting.locked() and "assign" not in self._doing

    def start(self) -> None:
        self.body, self.queue, self.expelled = MemoryWorker(self), [], False
        self.revisions, self.book = self.world.revisions, self.world.book

    def leave(self) -> None:
        """Say the last words, which the group hears if this still is a member, and let go of everything."""
        if self.body is None:
            return
        consumer = self.body.consumer
        if consumer.handed:
            self._run("assign", self._last_words())
        if self.body is not None:
            consumer.commits.forget(list(consumer.handed))
            consumer.handed, consumer.empty = {}, {}
            self.queue.clear()
            self.body.revoked()

    def take(self, tps: Sequence[tuple[str, int]], generation: int) -> None:
        """Take partitions."""
        if self.body is None:
            return
        self.generation, self.expelled = generation, False
        consumer, log = self.body.consumer, self.world.log
        facts = {}
        for topic, partition in tps:
            found = log.committed("processors", topic, partition)
            point = Point(found.offset, found.metadata) if found else None
            bounds = log.start(topic, partition), log.end(topic, partition)
            facts[TP(topic, partition)] = Assigned(log.topic_id(topic), log.partitions(topic), point, *bounds)
        consumer.topic_ids = {topic: log.topic_id(topic) for topic in FOLDED}
        consumer.commits.known({tp: each.committed for tp, each in facts.items() if each.committed})
        consumer.handed = dict(self._run("assign", self.body.assigned(facts)) or {})

    async def _last_words(self) -> None:
        assert self.body is not None
        await self.body.revoking()
        await self.body.consumer.commit()

    def read(self, which: int, most: int, leave: int = 0) -> None:
        """Fetch from one of its partitions, and fold what was fetched but for the last `leave` polls."""
        if self.body is None or not self.acts or not self.body.consumer.handed:
            return
        consumer = self.body.consumer
        tps = sorted(consumer.handed)
        poll = consumer.fetch(tps[which % len(tps)], most)
        if poll is not None:
            self.queue.append(poll)
        while self.body is not None and len(self.queue) > leave and self.queue[0].tp.topic not in self._doing:
            poll = self.queue.pop(0)
            fold = {SPANS: self.body.fold_spans, PANES: self.body.fold_panes, TRACES: self.body.fold_traces}
            self._run(poll.tp.topic, fold[poll.tp.topic](poll))

    def beat(self) -> None:
        if self.body is not None and self.acts and not self.body._emitting.locked() and "beat" not in self._doing:
            self._run("beat", self.body.beat())

    def tick(self) -> None:
        """Say that time passes, as a worker does that has nothing to emit."""
        if self.body is not None and self.acts and "beat" not in self._doing:
            self._run("beat", self.body._tick(self.now_ms()))

    def commit(self) -> None:
        if self.body is not None and self.acts:
            self._run("commit", self.body.consumer.commit())

    def _run(self, what: str, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run to its end what never waits: the world goes on inside of `io`."""
        self._doing.add(what)
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value
        except Crash:
            self.die()
            return None
        finally:
            self._doing.discard(what)
        raise AssertionError("it waits for something that this world does not know")

    def die(self) -> None:
        super().die()
        self.queue = []


class SinkConsumer:
    """Stands for the sink's member of its group."""

    def __init__(self, process: "SinkProcess") -> None:
        self.process, self.log = process, process.world.log
        self.lanes: dict[tuple[str, int], Lane] = {}
        self.fetched: dict[tuple[str, int], int] = {}
        self.assigned = True
        self.leaving: Callable[[], None] = lambda: None
        self.topic_ids: dict[str, str] = {}

    def take(self, places: Iterable[tuple[str, int]]) -> None:
        self.topic_ids = {topic: self.log.topic_id(topic) for topic in STORED}
        self.lanes = {}
        for topic, partition in places:
            found = self.log.committed("sinks", topic, partition) or Committed(-1, "")
            source = Source(topic, self.topic_ids[topic], partition, 0)
            bounds = self.log.start(topic, partition), self.log.end(topic, partition)
            self.lanes[topic, partition] = lane.resumed(source, found.offset, found.metadata, *bounds)
        self.fetched = {place: taken.offset for place, taken in self.lanes.items()}

    def fetch(self, place: tuple[str, int], most: int) -> None:
        if self.topic_ids[place[0]] != self.log.topic_id(place[0]):
            return
        records = self.log.read(*place, self.fetched[place], most)
        if records:
            self.fetched[place] = records[-1].offset + 1
            self.lanes[place].add([(r.offset, r.log_time, r.value) for r in records], self.process.seconds())

    def commit(self, commits: Iterable[Commit]) -> bool:
        commits = list(commits)
        if not commits:
            return True
        self.process.io("commit")
        points = {
            (c.lane.source.topic, c.lane.source.partition): Committed(c.offset, pending.metadata(c.mark))
            for c in commits
        }
        try:
            self.log.commit("sinks", self.process.generation, points)
        except Fenced:
            return False
        for c in commits:
            c.lane.committed = c.offset, c.mark.last
        return True

    def progress(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        return {partition: self._progress(topic, partition) for partition in partitions}

    def _progress(self, topic: str, partition: int) -> int:
        own = self.lanes.get((topic, partition))
        if own is not None:
            return own.offset
        found = self.log.committed("sinks", topic, partition)
        return found.offset if found else 0

    def end(self, topic: str, partition: int) -> int:
        return self.log.end(topic, partition)

    def lag(self, of: Lane) -> int:
        return 0

    def topic_id(self, topic: str) -> str:
        return self.topic_ids[topic]


class Letters:
    """Stands for the sink's producer of dead letters."""

    def __init__(self, process: "SinkProcess") -> None:
        self._process = process

    def send(self, source: Source, dead: list[Dead]) -> None:
        for letter in dead:
            self._process.io("send to llm.dead_letters")
            key = f"{source.topic_id}:{source.partition}:{letter.offset}".encode()
            self._process.world.log.append(DEAD, 0, dead_letters.encode(source, letter, letter.value), key)


class Door:
    """The way of one sink to the tables, at which it may die before or after an insert."""

    def __init__(self, process: "SinkProcess", database: MemoryDatabase) -> None:
        self._process, self._database = process, database

    def insert(self, table: str, rows: pl.DataFrame, token: str | None = None) -> None:
        self._process.io(f"insert {rows.height} rows of {table}")
        world = self._process.world
        if world.no_room_for:
            world.no_room_for -= 1
            world.tell(f"    there is no room for {rows.height} rows of {table}, but their token is noted")
            self._database.insert(table, rows.clear(), token)
            raise StoreError("no room")
        self._database.insert(table, rows, token)
        self._process.io(f"hear that {rows.height} rows of {table} are inserted")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)


class SinkProcess(Process):
    """A sink of all tables."""

    body: Sink | None = None
    consumer: SinkConsumer

    def __init__(self, world: "World", name: str) -> None:
        super().__init__(world, name)
        self._doing = False

    def seconds(self) -> float:
        return 1_000 + self.world.elapsed_ms / 1000

    @property
    def busy(self) -> bool:
        return self._doing

    @property
    def movable(self) -> bool:
        """It can take part in a rebalance now."""
        return self.body is not None and not self._doing

    def start(self) -> None:
        self.revisions, self.book = self.world.revisions, self.world.book
        self.consumer = SinkConsumer(self)
        door: Any = Door(self, self.world.database)
        letters: Any = Letters(self)
        writer = Writer(door, tables(self.world.book), letters, _SILENT)
        consumer: Any = self.consumer
        self.body = Sink(consumer, door, writer, _SILENT, LINGER_S, self.seconds)
        self.body._trace_hours = TraceHours(door, self.seconds, GRACE)
        self.expelled = False

    def leave(self) -> None:
        """Say where it stands, which the group hears if this still is a member, and let go of everything."""
        if self.body is not None and self.consumer.lanes:
            self._run(self.consumer.leaving)
            self.consumer.lanes = {}

    def take(self, places: Sequence[tuple[str, int]], generation: int) -> None:
        """Take partitions."""
        if self.body is not None:
            self.generation, self.expelled = generation, False
            self.consumer.take(places)

    def read(self, which: int, most: int) -> None:
        if self.acts and self.consumer.lanes:
            places = sorted(self.consumer.lanes)
            self.consumer.fetch(places[which % len(places)], most)

    def turn(self) -> None:
        body = self.body
        if body is not None and self.acts and not self._doing:
            self._run(lambda: body.turn(self.seconds()))

    def _run(self, call: Callable[[], None]) -> None:
        self._doing = True
        try:
            call()
        except Crash:
            self.die()
        finally:
            self._doing = False


class World:
    """Everything there is. `steps`: what happens in it, one after the other; each is called with the world."""

    def __init__(
        self,
        partitions: int,
        book: Book,
        rules: str,
        steps: Sequence[Callable[["World"], None]] = (),
        *,
        compacting: bool = False,
    ) -> None:
        self.book, self.compacting = book, compacting
        self.shelf = [book]
        """the price books that there were so far, or one of them again"""
        self.rules, self.rules_said = parse(rules), yaml.safe_load(rules)["rules"]
        self.said = rules
        self.revisions: tuple[Revision, ...] = (FIRST,)
        self.clock = Clock(T0)
        self.elapsed_ms = 0
        self.log = Log(self.clock)
        for topic in (*FOLDED, ALERTS, HOURS, DEAD):
            self.log.create(topic, partitions if topic in (SPANS, TRACES) else 1)
        self.produced: list[tuple[str, int, Any, dict[str, Any] | None]] = []
        """Of llm.spans every message there ever was: topic id, partition, record, batch."""
        self.database = MemoryDatabase(TOKENS)
        self.workers = [Processor(self, f"worker {name}") for name in "AB"]
        self.sinks = [SinkProcess(self, f"sink {name}") for name in "AB"]
        self.trimmed = self.recreated = False
        self.no_room_for = 0
        """Inserts that fail next."""
        self.story: list[str] = []
        self._steps, self._at = list(steps), 0
        self._rebalancing: set[str] = set()

    def tell(self, what: str) -> None:
        self.story.append(what)

    def run(self) -> None:
        """Let everything happen."""
        self.go_on(len(self._steps))

    def go_on(self, count: int) -> None:
        """Let so many steps happen."""
        for _ in range(count):
            if self._at >= len(self._steps):
                return
            step = self._steps[self._at]
            self._at += 1
            self.tell(str(step))
            step(self)

    def pass_ms(self, ms: int) -> None:
        self.elapsed_ms += ms
        self.clock.advance(ms)

    def rebalance(self) -> None:
        """Let both groups give their partitions to the members that live and answer."""
        self.rebalance_of("worker")
        self.rebalance_of("sink")

    def rebalance_of(self, kind: str) -> None:
        """Let the group of the workers, or of the sinks, give its partitions to the members that live and answer."""
        if kind == "worker":
            self._rebalance("processors", self.workers, FOLDED)
        else:
            self._rebalance("sinks", self.sinks, STORED)

    def _rebalance(self, group: str, processes: Sequence[Any], topics: Sequence[str]) -> None:
        if group in self._rebalancing:
            return
        self._rebalancing.add(group)
        for process in processes:
            process.expelled |= process.asleep or process.doomed
        members = [each for each in processes if each.acts and not each.expelled and each.movable]
        for process in processes:
            process.expelled |= process not in members
        for member in members:
            member.leave()
        generation = self.log.rebalance(group)
        members = [each for each in members if each.acts]
        places = [(topic, number) for topic in topics for number in range(self.log.partitions(topic))]
        for number, member in enumerate(members):
            member.take(places[number :: len(members)], generation)
        self._rebalancing.discard(group)

    def rejoin(self, process: Any) -> None:
        """A process that lost its place notices it, and becomes a member again; under old rules it may not."""
        if process.acts and process.expelled and process.movable:
            process.leave()
            process.expelled = False
            if process.body is not None and (process.revisions, process.book) != (self.revisions, self.book):
                process.die()
                process.start()
