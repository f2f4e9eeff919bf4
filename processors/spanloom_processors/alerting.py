"""The alert stage's shell: the rule engine, what it resumes from, and what it says as messages."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from faust.types import TP
from spanloom_schemas import bounds, codec
from spanloom_schemas.codec import CodecError, Registry
from spanloom_schemas.frames.splice import Decoded

from spanloom_processors.commits import Point
from spanloom_processors.compacted import Record
from spanloom_processors.core.alerts.engine import Engine
from spanloom_processors.core.alerts.records import Alert, SafePoint, alert_key, hour_key
from spanloom_processors.core.alerts.rules import Rule
from spanloom_processors.emit import PANES, TRACES, Outgoing

log = logging.getLogger(__name__)

ALERTS = "llm.alerts"
HOURS = "llm.hours"
PANES_TP = TP(PANES, 0)
SAMPLES = "llm.samples"
SAMPLES_TP = TP(SAMPLES, 0)


class Alerting:
    """The rule engine of this worker, which is made anew at every assignment of partitions."""

    def __init__(self, rules: Sequence[Rule], registry: Registry | None = None) -> None:
        self._rules = rules
        self._registry = registry
        self.engine = Engine(rules)

    def restore(self, alerts: Iterable[Record], hours: Iterable[Record], committed: Mapping[TP, Point | None]) -> None:
        """Begin from the records of llm.alerts and llm.hours, and from the group's commits of what is folded here."""
        said = {tp: point.metadata for tp, point in committed.items() if point}
        judged, late = SafePoint.judged_from(said.get(PANES_TP)), SafePoint.late_from(said.get(PANES_TP))
        self.engine = Engine(self._rules)
        said_alerts = readable("alert", alerts, self._registry)
        self.engine.restore(said_alerts, readable("hour", hours, self._registry), judged, late)
        self.engine.resume_samples(SafePoint.judged_from(said.get(SAMPLES_TP)))
        for tp, metadata in said.items():
            if tp.topic == TRACES:
                self.engine.resume_traces(tp.partition, metadata)

    def fold_panes(self, decoded: Decoded) -> list[Outgoing]:
        """Fold messages of llm.panes; returns what is to be stored before `point()` may be committed."""
        alerts = self.engine.fold(decoded.headers, decoded.rows)
        return [*map(_alert, alerts), *self._hours(), *self._retired()]

    def fold_traces(self, decoded: Decoded) -> list[Outgoing]:
        """Fold messages of llm.traces; returns what is to be stored before `traces_point` may be committed."""
        return [*map(_alert, self.engine.fold_traces(decoded.headers, decoded.rows)), *self._retired()]

    def idle_traces(self, partition: int, now_ms: int) -> list[Outgoing]:
        """Say what is due on a partition of llm.traces of which a fetch sent at `now_ms` found nothing more."""
        return list(map(_alert, self.engine.idle_traces(partition, now_ms)))

    def traces_point(self, partition: int, position: int) -> Point:
        """What may be committed of a partition of llm.traces that was folded up to `position`."""
        return Point(position, self.engine.traces_metadata(partition))

    def fold_samples(self, decoded: Decoded) -> list[Outgoing]:
        """Fold messages of llm.samples; returns what is to be stored before `samples_point()` may be committed."""
        return [*map(_alert, self.engine.fold_samples(decoded.headers, decoded.rows)), *self._retired()]

    def idle_samples(self, now_ms: int) -> list[Outgoing]:
        """Say what is due on llm.samples, of which a fetch sent at `now_ms` found nothing more."""
        return list(map(_alert, self.engine.idle_samples(now_ms)))

    def samples_point(self) -> Point | None:
        """What may be committed of llm.samples."""
        safe = self.engine.safe_samples()
        return Point(safe.offset, safe.metadata()) if safe else None

    def point(self) -> Point | None:
        """What may be committed of llm.panes."""
        safe = self.engine.safe()
        return Point(safe.offset, safe.metadata()) if safe else None

    def overflow(self) -> dict[str, int]:
        """What a bound of the rules moved so far, since they were restored: rows of panes and of samples."""
        moved = self.engine.moved()
        return {"alert_rows": moved} if moved else {}

    def _retired(self) -> Iterator[Outgoing]:
        for key in self.engine.retired():
            yield Outgoing(ALERTS, 0, key, None)

    def _hours(self) -> Iterator[Outgoing]:
        for hour in self.engine.closed_hours():
            yield Outgoing(HOURS, 0, hour_key(hour), codec.encode("hour", dict(hour)))


def _alert(alert: Alert) -> Outgoing:
    return Outgoing(ALERTS, 0, alert_key(alert), codec.encode("alert", dict(alert)))


def readable(schema: str, records: Iterable[Record], registry: Registry | None = None) -> Iterator[Any]:
    """The data of records of a schema; one that cannot be read is left out, and logged."""
    for record in records:
        try:
            yield bounds.decode(schema, record.value, registry)
        except CodecError as error:
            log.warning("a record to begin from cannot be read and is left out: %s", error)
