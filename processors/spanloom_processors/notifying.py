"""The notify stage's shell: records of llm.alerts to the default route, while this worker has that topic."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import cast

from faust.types import TP
from spanloom_schemas import bounds
from spanloom_schemas.codec import CodecError, Registry
from spanloom_schemas.frames.splice import Dead

from spanloom_processors.alerting import ALERTS, readable
from spanloom_processors.commits import Point
from spanloom_processors.compacted import Record
from spanloom_processors.consumer import Poll
from spanloom_processors.core.alerts.records import Alert
from spanloom_processors.delivery.route import Route

ALERTS_TP = TP(ALERTS, 0)


class Notifying:
    """Delivers alerts, in a task of its own so that nobody waits for a pager."""

    def __init__(self, make_route: Callable[[], Route], registry: Registry | None = None) -> None:
        self._registry = registry
        self._make_route = make_route
        self._route = make_route()
        self._position = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def counts(self) -> Mapping[tuple[str, str], int]:
        """Deliveries by target and outcome, since this worker has llm.alerts."""
        return self._route.counts

    def start(self, records: Iterable[Record], position: int) -> None:
        """Deliver what comes from `position` on; `records`: all of the topic, of which the earlier are delivered."""
        self.stop()
        self._route, self._position = self._make_route(), position
        kept = list(records)
        self._route.restore(
            readable("alert", (record for record in kept if record.offset < position), self._registry),
            readable("alert", (record for record in kept if record.offset >= position), self._registry),
        )
        self._task = asyncio.create_task(self._route.run(), name="notify")

    def stop(self) -> None:
        """Deliver nothing more."""
        if self._task is not None:
            self._task.cancel()
        self._task = None

    def readable(self, poll: Poll) -> tuple[list[tuple[int, Alert]], list[Dead]]:
        """The alerts of a poll with their offsets, and what cannot be read. May raise RegistryError."""
        alerts, dead = [], []
        for offset, log_time, value in poll.unfolded:
            if not value:  # a tombstone
                continue
            try:
                alerts.append((offset, cast(Alert, bounds.decode("alert", value, self._registry))))
            except CodecError as error:
                dead.append(Dead(offset, log_time, error.reason, str(error), value))
        return alerts, dead

    def take(self, alerts: Iterable[tuple[int, Alert]], position: int) -> None:
        """Take the alerts of a poll that ends before `position`, to be delivered; its dead letters must be stored."""
        for offset, alert in alerts:
            self._route.deliver(alert, offset)
        self._route.read_to(position)

    def point(self) -> Point:
        """What may be committed of llm.alerts."""
        return Point(max(self._route.safe_offset(), self._position))

    def failure(self) -> BaseException | None:
        """What ended the delivery though nobody stopped it."""
        ended = self._task is not None and self._task.done() and not self._task.cancelled()
        return self._task.exception() if ended and self._task else None
