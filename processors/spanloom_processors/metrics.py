"""Every metric of one worker but the `llm_*` ones, which are in `model_totals.py`.

A counter begins with 0 for all that can be known beforehand (reasons, topics, partitions, outcomes): Prometheus sees no
growth in a series whose first value is its first event.
"""

from collections.abc import Hashable, Iterable, Mapping

import polars as pl
from faust.types import TP
from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector
from spanloom_schemas import codec, drops, topics
from spanloom_schemas.bounds import OUT_OF_BOUNDS
from spanloom_schemas.frames.spans import shortened
from spanloom_schemas.frames.splice import Decoded

from spanloom_processors.commits import Commits
from spanloom_processors.core.alerts.engine import Engine
from spanloom_processors.dead_letters import UNPROCESSED
from spanloom_processors.model_totals import ModelTotals
from spanloom_processors.spans import TOPIC as SPANS
from spanloom_processors.spans import Report
from spanloom_processors.watchdog import Vital

SERVICES = 1_000  # services whose skew is told
REASONS = 100  # reasons of drops that are told apart
OUTCOMES = ("taken", "retried", "refused", "dropped")  # of deliveries


class Metrics:
    """The metrics in a registry of their own; advanced from the event loop, read from another thread."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.models = ModelTotals()
        registry.register(self.models)
        ProcessCollector(registry=registry)

        def counter(name: str, documentation: str, *labels: str) -> Counter:
            return Counter(f"spanloom_{name}", documentation, labels, registry=registry)

        def gauge(name: str, documentation: str, *labels: str) -> Gauge:
            return Gauge(f"spanloom_{name}", documentation, labels, registry=registry)

        self.spans = counter("spans", "Spans read, replayed ones included.", "partition")
        self.late = counter("late_spans", "Spans that came after their pane had closed.", "partition")
        self.future = counter("future_dated_spans", "Spans dated more than 5 s ahead of their message.", "partition")
        self.duplicates = counter("duplicate_spans", "Spans that their pane already held.", "partition")
        self.silenced = counter("silenced_spans", "Spans of panes that retention may have beheaded.", "partition")
        self.lost = counter("lost_messages", "Messages that retention took before they were read.", "partition")
        self.dropped = counter("dropped_spans", "Spans that producers say they dropped.", "reason")
        self.dead = counter("dead_letters", "Messages that could not be read.", "reason")
        self.unsendable = counter("unsendable_messages", "Messages too large for their topic, and dropped.", "topic")
        self.unpriced = counter("unpriced_spans", "Spans that use tokens and have no price.", "partition")
        self.overflow = counter("overflow_spans", "Spans that a bound moved elsewhere.", "partition", "reason")
        self.commits = counter("commits", "Commits, by outcome.", "outcome")
        self.deliveries = counter("alert_deliveries", "Deliveries of alerts.", "route", "outcome")
        self.ignored = counter("ignored_rows", "Rows of llm.panes that changed no sum of a rule.", "reason")
        self.groups = counter(
            "alert_overflow_rows",
            "Rows of llm.panes and llm.samples past a bound of the rules: as `other`, or counts alone.",
        )
        self.others = counter("other_spans", "Spans counted as `other` in llm_* metrics: too many names to tell apart.")
        self.lag = gauge("lag", "Messages not yet read.", "topic", "partition")
        self.freshness = gauge(
            "freshness_seconds", "How far the last emission of a partition is behind now.", "partition"
        )
        self.skew = gauge("clock_skew_seconds", "Log time minus send time of a service's last batch.", "service")
        self._told: dict[Hashable, int] = {}
        self._services: set[str] = set()
        self._reasons = set(drops.REASONS)
        for family, known in (
            (self.dead, (*codec.REASONS, OUT_OF_BOUNDS, UNPROCESSED)),
            (self.dropped, drops.REASONS),
            (self.unsendable, topics.load()),
            (self.commits, ("made", "refused")),
        ):
            for label in known:
                family.labels(label)

    def assigned(self, partitions: Iterable[TP]) -> None:
        """These partitions are this worker's now."""
        for topic, partition in partitions:
            if topic == SPANS:
                for family in (self.spans, self.late, self.future, self.duplicates, self.silenced, self.lost):
                    family.labels(partition)
                self.unpriced.labels(partition)

    def read(self, partition: int, decoded: Decoded) -> None:
        """Messages of llm.spans were decoded."""
        self.spans.labels(partition).inc(decoded.rows.height)
        skew = (pl.col("log_time") / 1e3 - pl.col("sent") / 1e9).last()
        headers = shortened(decoded.headers)
        for service, seconds in headers.group_by("service").agg(skew).iter_rows():
            if service in self._services or len(self._services) < SERVICES:
                self._services.add(service)
                self.skew.labels(service).set(seconds)

    def emitted(self, report: Report, now_ns: int) -> None:
        """What a partition said is stored."""
        emission, partition = report.emission, report.tp.partition
        for family, so_far in (
            (self.late, emission.late),
            (self.future, emission.skewed),
            (self.duplicates, emission.duplicates),
            (self.silenced, emission.silenced),
            (self.lost, emission.lost),
        ):
            family.labels(partition).inc(self._more((id(report.held), id(family)), so_far))
        for reason, so_far in emission.overflow.items():
            self.overflow.labels(partition, reason).inc(self._more((id(report.held), reason), so_far))
        self.freshness.labels(partition).set(max(now_ns / 1e9 - emission.progress / 1e3, 0))

    def settled(self, reports: Iterable[Report]) -> None:
        """What partitions said is committed: nobody will say it again."""
        for report in reports:
            if (closed := report.emission.closed).height:
                self.models.add(closed)
                self.unpriced.labels(report.tp.partition).inc(int(closed["unpriced"].sum()))
            for reason, spans in report.dropped.items():
                self._drop(reason, spans)
        self.others.inc(self._more("models", self.models.moved))

    def progress(self, vitals: Mapping[TP, Vital], commits: Commits) -> None:
        """Where reading and committing stand; partitions that were taken away are no longer told."""
        self.commits.labels("made").inc(self._more("made", commits.made))
        self.commits.labels("refused").inc(self._more("refused", commits.refused))
        self.lag.clear()
        for (topic, partition), vital in vitals.items():
            self.lag.labels(topic, partition).set(max(vital.end - vital.position, 0))

    def delivered(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Deliveries of alerts so far, by target and outcome."""
        for target in {target for target, _ in list(counts)}:
            for outcome in OUTCOMES:
                self.deliveries.labels(target, outcome)
        for (target, outcome), so_far in list(counts.items()):
            self.deliveries.labels(target, outcome).inc(self._more((id(counts), target, outcome), so_far))

    def judged(self, engine: Engine) -> None:
        """What the rules left out or put together so far."""
        for reason, so_far in engine.ignored().items():
            self.ignored.labels(reason).inc(self._more((id(engine), reason), so_far))
        self.groups.inc(self._more((id(engine), "other"), engine.moved()))

    def forget(self) -> None:
        """All partitions were taken away."""
        self._told = {what: so_far for what, so_far in self._told.items() if isinstance(what, str)}
        self.freshness.clear()

    def _more(self, what: Hashable, so_far: int) -> int:
        """By how much a running total has grown since it was last told."""
        more = so_far - self._told.get(what, 0)
        self._told[what] = so_far
        return more

    def _drop(self, reason: str, spans: int) -> None:
        if reason not in self._reasons and len(self._reasons) < REASONS:
            self._reasons.add(reason)
        self.dropped.labels(reason if reason in self._reasons else "other").inc(spans)
