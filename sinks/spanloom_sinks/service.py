"""The sink's loop: fetch, cut blocks, mark them, write them, commit. One thread, so nothing overlaps.

Exactly once, for llm.spans: a block's boundaries are committed as pending before it is written, and it is written under
a token made of them (`pending`). The other topics are upserts: written, then committed; after a crash, written again.
"""

import logging
import math
import threading
import time
from collections.abc import Callable

from confluent_kafka import KafkaException
from spanloom_schemas import registry
from spanloom_schemas.fault import reach
from spanloom_schemas.prices.book import Book
from spanloom_schemas.registry import RegistryError

from spanloom_sinks.amendments import Amendments
from spanloom_sinks.consumer import SESSION_SECONDS, Commit, Consumer
from spanloom_sinks.database import ClickHouse, Database
from spanloom_sinks.dead_letters import DeadLetters
from spanloom_sinks.lane import Block, Lane
from spanloom_sinks.metrics import Metrics
from spanloom_sinks.pending import Mark
from spanloom_sinks.rollups import Rollups
from spanloom_sinks.settings import SinkSettings
from spanloom_sinks.source import Source
from spanloom_sinks.store import StoreError
from spanloom_sinks.tables import tables
from spanloom_sinks.trace_hours import TraceHours
from spanloom_sinks.writer import Writer

log = logging.getLogger(__name__)

EXACT = "llm.spans"
_COMMIT_SECONDS = 1.0  # at most between a write and its commit
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0


class Sink:
    """A running sink, made of its parts; `build` makes it from settings. `clock`: seconds that only grow."""

    def __init__(
        self,
        consumer: Consumer,
        database: Database,
        writer: Writer,
        metrics: Metrics,
        linger: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._consumer, self._database, self._writer, self._metrics = consumer, database, writer, metrics
        consumer.leaving, consumer.bury, consumer.lost = self.leave, writer.bury, self._lost
        self._linger, self._clock = linger, clock
        self._rollups = Rollups(database, consumer)
        self._amendments = Amendments(database, consumer, metrics)
        self._trace_hours = TraceHours(database, clock)
        self._pause = self._retry_at = self._committed_at = 0.0

    @classmethod
    def build(cls, settings: SinkSettings, book: Book, metrics: Metrics) -> "Sink":
        """A sink that is to `run`. Raises ConsumerError when Kafka or a topic is not there."""
        database, by_topic, own = ClickHouse(settings.clickhouse), tables(book), registry.of(settings)
        consumer = Consumer(settings, list(by_topic))
        writer = Writer(database, by_topic, DeadLetters(settings, own), metrics, own)
        return cls(consumer, database, writer, metrics, settings.sink_linger_ms / 1000)

    def run(self, stop: threading.Event, ready: Callable[[], None]) -> None:
        """Work until `stop` is set; `ready` is called once, when partitions are assigned.

        Raises ConsumerError when it cannot go on.
        """
        told = False
        try:
            while not stop.is_set():
                self._consumer.poll(min(0.1, self._linger / 2))
                if self._consumer.assigned and not told:
                    told = True
                    ready()
                self.turn(self._clock())
            self._commit()
        finally:
            self._consumer.close()
            self._database.close()

    def turn(self, now: float) -> None:
        """Write what was fetched, sum up what is due, commit from time to time."""
        if now < self._retry_at or not self._consumer.lanes:
            return
        try:
            self._write([lane for lane in self._consumer.lanes.values() if lane.block or lane.cut(now, self._linger)])
            self._rollups.turn(now)
            for changed in self._amendments.turn(now):
                self._trace_hours.note(*changed)
            self._trace_hours.turn(now)
        except (StoreError, KafkaException, RegistryError) as error:
            self._back_off(now, error)
            return
        if self._pause:
            log.warning("writing again")
            self._pause = 0.0
        if now - self._committed_at >= _COMMIT_SECONDS:
            self._commit()

    def _write(self, lanes: list[Lane]) -> None:
        """Write the lanes' blocks: marked, then inserted. Gives up quietly when the group will not have it."""
        blocks = [(lane, lane.block) for lane in lanes if lane.block is not None]
        for _, block in blocks:
            if block.rows is None:
                self._writer.prepare(block)
        marked_at = -math.inf
        for lane, block in blocks:
            # A process that slept may have been replaced: the commit is refused then, and nothing is written.
            if _exact(lane) and self._clock() - marked_at > SESSION_SECONDS / 2:
                reach("sink.before_pending")
                if not self._commit():
                    return
                marked_at = self._clock()
                reach("sink.after_pending")
            self._writer.write(block)
            reach("sink.after_insert")
            lane.finish()
            self._note(lane, block)

    def _note(self, lane: Lane, block: Block) -> None:
        for table, rows in block.rows or ():
            if table == "panes":
                self._rollups.note(block.first, rows)
            elif table == "traces":
                self._amendments.note(lane, block.first, rows)
                self._trace_hours.note(lane, block.first, rows)

    def _commit(self) -> bool:
        """Commit where every lane stands, and what it is about to write."""
        self._committed_at = self._clock()
        for lane in self._consumer.lanes.values():
            self._metrics.lag.labels(lane.source.topic, lane.source.partition).set(self._consumer.lag(lane))
        commits = [self._where(lane) for lane in self._consumer.lanes.values()]
        done = self._consumer.commit(c for c in commits if (c.offset, c.mark.last) != c.lane.committed)
        reach("sink.after_commit")
        return done

    def _where(self, lane: Lane) -> Commit:
        if _exact(lane):
            return Commit(lane, lane.offset, lane.mark())
        holds = (part.hold(lane) for part in (self._rollups, self._amendments, self._trace_hours))
        offset = min([lane.offset, *(hold for hold in holds if hold is not None)])
        return Commit(lane, offset, Mark(lane.source.topic_id, lane.source.log_clock))

    def leave(self) -> None:
        """All lanes are about to go: commit them. What is not done will be done by whoever gets them."""
        self._commit()
        self._rollups.clear()
        self._amendments.clear()
        self._trace_hours.clear()

    def _lost(self, source: Source, messages: int) -> None:
        self._metrics.lost.labels(source.topic, source.partition).inc(messages)

    def _back_off(self, now: float, error: Exception) -> None:
        """Try again later, for ever; Kafka keeps what is not written. One line when it begins."""
        self._metrics.retries.inc()
        if not self._pause:
            log.warning("cannot write, trying again until it works: %s", error)
        self._pause = min(_LONGEST_PAUSE, self._pause * 2 or _FIRST_PAUSE)
        self._retry_at = now + self._pause


def _exact(lane: Lane) -> bool:
    return lane.source.topic == EXACT
