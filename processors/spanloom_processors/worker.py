"""One worker: the parts of the line that it has, and what happens to them when partitions come and go."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from faust.types import TP
from spanloom_schemas import codec, registry
from spanloom_schemas.fault import reach
from spanloom_schemas.frames.splice import Dead, Decoded
from spanloom_schemas.prices.book import Book
from spanloom_schemas.registry import RegistryError

from spanloom_processors import app as faust_app
from spanloom_processors import compacted, dead_letters, emit
from spanloom_processors.alerting import ALERTS, HOURS, PANES_TP, SAMPLES, SAMPLES_TP, Alerting
from spanloom_processors.assignment import Assigned
from spanloom_processors.commits import Point
from spanloom_processors.compacted import Record
from spanloom_processors.consumer import Consumer, Poll
from spanloom_processors.core.alerts.rules import Rule
from spanloom_processors.deliver import deliver
from spanloom_processors.delivery.route import Route
from spanloom_processors.emit import PANES, TRACES, Outgoing
from spanloom_processors.metrics import Metrics
from spanloom_processors.notifying import ALERTS_TP, Notifying
from spanloom_processors.settings import ProcessorSettings
from spanloom_processors.settling import Settling
from spanloom_processors.spans import TOPIC as SPANS
from spanloom_processors.spans import Spans
from spanloom_processors.watchdog import Vital

log = logging.getLogger(__name__)

T = TypeVar("T")

REGISTRY_PAUSE_S = 1.0


class Worker:
    """The owner of a Faust application's partitions. Make it inside the running event loop.

    `build` makes the application (`app.build`), whose consumer and producer are all that is used of it here; `spans`
    makes its state of llm.spans; `clock` says the epoch time in ns.
    """

    def __init__(
        self,
        settings: ProcessorSettings,
        book: Book,
        rules: Sequence[Rule],
        route: Callable[[], Route],
        metrics: Metrics,
        *,
        build: Callable[..., Any] = faust_app.build,
        spans: Callable[[Book], Spans] = Spans,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.metrics = metrics
        self._registry = registry.of(settings)
        self._waiting = 0  # for the registry
        self.notifying = Notifying(route, self._registry)
        self.spans = spans(book)
        self.alerting = Alerting(rules, self._registry)
        self._librdkafka = settings.librdkafka()
        self._topic_ids: dict[str, str] = {}
        self._emitting = asyncio.Lock()
        self._settling = Settling()
        self._assignments = 0  # so far: what was begun under one must not go on under the next
        self._clock = clock
        self.app = build(settings, owner=self)

    @property
    def consumer(self) -> Consumer:
        """The application's consumer."""
        return self.app.consumer  # type: ignore[no-any-return]

    # What the agents call.

    async def fold_spans(self, poll: Poll) -> None:
        """Fold a poll of llm.spans."""
        assignment = self._assignments
        read = await self._read("span_batch", poll, self.spans.derive)
        log_start = await self.consumer.log_start(poll.tp) if self.spans.skips(poll) else 0
        if assignment != self._assignments:
            return
        self.spans.fold(poll, [spans for _, spans in read], log_start)
        for decoded, _ in read:
            self.spans.hear(poll.tp, decoded.headers)
            self.metrics.read(poll.tp.partition, decoded)

    async def fold_panes(self, poll: Poll) -> None:
        """Fold a poll of llm.panes; what it leads to is stored, and the commit declared, before this returns."""
        assignment = self._assignments
        for decoded, _ in await self._read("pane_batch", poll, lambda decoded: None):
            if assignment == self._assignments:
                await self._record(self.alerting.fold_panes(decoded))
        if assignment == self._assignments:
            self._declare(poll.tp, self.alerting.point())

    async def fold_traces(self, poll: Poll) -> None:
        """Fold a poll of llm.traces, as `fold_panes`."""
        assignment = self._assignments
        for decoded, _ in await self._read("trace_batch", poll, lambda decoded: None):
            if assignment == self._assignments:
                await self._record(self.alerting.fold_traces(decoded))
        if assignment == self._assignments:
            self._declare(poll.tp, self.alerting.traces_point(poll.tp.partition, poll.position))

    async def fold_samples(self, poll: Poll) -> None:
        """Fold a poll of llm.samples, as `fold_panes`."""
        assignment = self._assignments
        for decoded, _ in await self._read("sample_batch", poll, lambda decoded: None):
            if assignment == self._assignments:
                await self._record(self.alerting.fold_samples(decoded))
        if assignment == self._assignments:
            self._declare(poll.tp, self.alerting.samples_point())

    async def _record(self, alerts: Sequence[Outgoing]) -> None:
        await self.store(alerts)
        if alerts:
            reach("alerts.after_record")

    async def take_alerts(self, poll: Poll) -> None:
        """Hand a poll of llm.alerts to the notifier, its dead letters stored; the commit follows the deliveries."""
        assignment = self._assignments
        alerts, dead = await self._ask(lambda: self.notifying.readable(poll))
        await self._bury(poll, [*dead_letters.packed(poll), *dead])
        if assignment == self._assignments:
            self.notifying.take(alerts, poll.position)

    async def _read(self, schema: str, poll: Poll, derive: Callable[[Decoded], T]) -> list[tuple[Decoded, T]]:
        """Decode a poll and derive from it; dead letters are stored before this returns, so before any commit."""
        read, dead = await self._ask(lambda: dead_letters.read(schema, poll.unfolded, derive, self._registry))
        await self._bury(poll, [*dead_letters.packed(poll), *dead])
        return read

    async def _ask(self, call: Callable[[], T]) -> T:
        """Call what may ask the schema registry, again and again while that is away; meanwhile nothing moves on."""
        if self._registry is None:
            return call()
        self._waiting += 1
        try:
            while True:
                try:
                    return await asyncio.to_thread(call)
                except RegistryError as error:
                    log.warning("%s; trying again", error)
                    await asyncio.sleep(REGISTRY_PAUSE_S)
        finally:
            self._waiting -= 1

    async def _bury(self, poll: Poll, dead: Sequence[Dead]) -> None:
        # A line a poll and reason: poison comes in floods.
        for reason, count in Counter(message.reason for message in dead).items():
            self.metrics.dead.labels(reason).inc(count)
            first = next(message.offset for message in dead if message.reason == reason)
            log.warning("dead letters=%d reason=%s topic=%s partition=%d from=%d", count, reason, *poll.tp, first)
        await self.store(dead_letters.letters(poll, self._topic_ids.get(poll.tp.topic, ""), dead))

    async def store(self, messages: Iterable[Outgoing]) -> None:
        """Send messages and wait until they are stored."""
        outgoing = list(messages)
        if self._registry is not None:
            own = self._registry
            outgoing = await self._ask(
                lambda: [m._replace(value=codec.reframed(m.value, own)) if m.value else m for m in outgoing]
            )
        for refused in await deliver(self.app.producer, outgoing):
            self.metrics.unsendable.labels(refused.topic).inc()
            log.error(
                "dropped a message of %d bytes, more than topic=%s takes", len(refused.value or b""), refused.topic
            )

    def _declare(self, tp: TP, point: Point | None) -> None:
        if point is not None:
            self.consumer.commits.declare(tp, point)

    # What happens every second.

    async def beat(self) -> None:
        """Send what changed, then say that time passes."""
        await self.emit()
        await self._tick(self._clock() // 1_000_000)
        self._notified()
        self.metrics.settled(self._settling.settled(self.consumer.commits))
        self.metrics.judged(self.alerting.engine)
        self.metrics.progress(self.consumer.vitals(), self.consumer.commits)

    async def emit(self) -> None:
        """Send what changed in the partitions of llm.spans, and declare what is safe once that is stored."""
        async with self._emitting:
            now = self._clock()
            for tp, point in self.spans.announcements():
                self._declare(tp, point)
            reports = list(self.spans.report(self.consumer.idle_since, now, self.consumer.commits.committed))
            await self.store(message for report in reports for message in report.messages)
            reach("processor.after_flush")
            for report in reports:
                if self.spans.holds(report.held, report.tp):
                    self._declare(report.tp, report.point)
                    self._settling.wait(report)
                    self.metrics.emitted(report, now)

    async def _tick(self, now: int) -> None:
        """Tell llm.panes that time passes, if it is this worker's, and the rules about traces what is idle."""
        assigned = self.consumer.positions()
        outgoing = [emit.tick(now, self.alerting.overflow())] if PANES_TP in assigned else []
        for tp, position in assigned.items():
            idle = self.consumer.idle_since(tp, position) if tp.topic == TRACES else None
            if idle is not None:
                outgoing += self.alerting.idle_traces(tp.partition, idle)
        if SAMPLES_TP in assigned:
            idle = self.consumer.idle_since(SAMPLES_TP, assigned[SAMPLES_TP])
            outgoing += self.alerting.idle_samples(idle) if idle is not None else []
        await self.store(outgoing)

    def _notified(self) -> None:
        """Declare what is delivered of llm.alerts, if it is this worker's."""
        if (failure := self.notifying.failure()) is not None:
            raise failure
        self._declare_delivered()

    def _declare_delivered(self) -> None:
        if ALERTS_TP in self.consumer.positions():
            self._declare(ALERTS_TP, self.notifying.point())
            self.metrics.delivered(self.notifying.counts)

    # What happens at a rebalance.

    async def assigned(self, partitions: Mapping[TP, Assigned]) -> Mapping[TP, int]:
        """Take partitions; returns where to read each from."""
        self._topic_ids = {tp.topic: facts.topic_id for tp, facts in partitions.items()}
        self.metrics.assigned(partitions)
        positions = {tp: self._resume(tp, facts) for tp, facts in partitions.items()}
        alerts = await self._whole(ALERTS)
        if any(tp.topic in (PANES, TRACES, SAMPLES) for tp in partitions):
            committed = {tp: facts.committed for tp, facts in partitions.items()}
            hours = await self._whole(HOURS)
            self.alerting.restore(alerts, hours, committed)
        if ALERTS_TP in partitions:
            self.notifying.start(alerts, positions[ALERTS_TP])
        reach("processor.at_assignment")
        return positions

    def _resume(self, tp: TP, facts: Assigned) -> int:
        if tp.topic == SPANS:
            return self.spans.assign(tp, facts)
        return max(facts.committed.offset, facts.log_start) if facts.committed else facts.log_start

    async def _whole(self, topic: str) -> list[Record]:
        return await asyncio.to_thread(compacted.read_whole, self._librdkafka, topic)

    async def revoking(self) -> None:
        """Say the last of what was folded."""
        reach("processor.at_rebalance")
        await self.emit()
        self._declare_delivered()

    def revoked(self) -> None:
        """Count what was committed, and forget the partitions."""
        self.metrics.settled(self._settling.settled(self.consumer.commits))
        self._settling.clear()
        self._assignments += 1
        self.spans.clear()
        self.notifying.stop()
        self.metrics.forget()

    async def leave(self) -> None:
        """Stop reading, say the last of what was folded, and commit it."""
        self.consumer.suspend()
        await self.emit()
        self._declare_delivered()
        await self.consumer.commit()

    def vitals(self) -> dict[TP, Vital]:
        """Signs of life of each partition, none while the registry is waited for; called from another thread."""
        return {} if self._waiting else self.consumer.vitals()
