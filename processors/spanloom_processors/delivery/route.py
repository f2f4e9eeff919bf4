"""The default route: from records of llm.alerts to whoever pages people. It never makes the stream wait.

Alerts are taken at once and sent by `run`, each target in its own loop with backoff for as long as it takes. What no
target has taken yet holds back `safe_offset`, so it is read again after a crash.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import aiohttp
import stamina
from spanloom_schemas.fault import reach

from spanloom_processors.core.alerts.records import Alert, alert_key, is_older
from spanloom_processors.core.alerts.retired import KEEP_MS
from spanloom_processors.delivery.alertmanager import RESEND_MS, RESOLVED_MS, Alertmanager
from spanloom_processors.delivery.pagerduty import URL, PagerDuty
from spanloom_processors.delivery.post import Refusal, Retry
from spanloom_processors.delivery.streak import Streak
from spanloom_processors.delivery.webhook import Webhook

log = logging.getLogger(__name__)
OUTCOMES = ("taken", "retried", "refused", "dropped")
OWED = 10_000
"""Transitions kept for a target that does not answer; then the oldest is dropped, counted and logged."""


class Target(Protocol):
    """Someone who takes alerts: `resends` says that it wants to hear a state again and again, not each change once.

    `reopens`: to say that an alert fires, once it was over, pages again. `setting`: the environment variable to look at
    when it does not take them.
    """

    name: str
    setting: str
    resends: bool
    reopens: bool

    async def send(self, session: aiohttp.ClientSession, alerts: Sequence[Alert], now_ms: int) -> list[Refusal]:
        """Send; returns those that it will never take. Raise Retry."""


class Route:
    """Alerts to one or more equal targets (replicas): taken by one is delivered.

    `clock` gives epoch ms. `first_wait_s` to `longest_wait_s`: backoff between attempts.
    """

    def __init__(
        self, targets: Sequence[Target], clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        first_wait_s: float = 0.2, longest_wait_s: float = 10.0,
    ) -> None:  # fmt: skip
        # A series of Prometheus must begin at 0, or its first increase, a page that was refused, is seen by nobody.
        self.counts = Counter({(target.name, outcome): 0 for target in targets for outcome in OUTCOMES})
        """By target and outcome: so many so far."""
        self._clock = clock
        self._waits = first_wait_s, longest_wait_s
        self._standing: dict[bytes, Alert] = {}  # what is true of each group, delivered or not
        self._delivered: dict[bytes, Alert] = {}  # what was handed over of each, so that it is not again
        self._over: set[str] = set()  # firings that a later record ended, though both are to be delivered yet
        self._lines = [_Line(target) for target in targets]
        self._open: dict[int, Alert] = {}
        self._next = 0

    def restore(self, delivered: Iterable[Alert], others: Iterable[Alert] = ()) -> None:
        """Know alerts that were delivered before: what still fires is said again to targets that want it.

        `others` will come by `deliver`; who died before it could commit may have delivered them too. So what they end
        is not said to fire any more, not even until they come: it would page again.
        """
        for alert in delivered:
            _put(self._standing, alert)
            _put(self._delivered, alert)
        for alert in others:
            _put(self._standing, alert)
            if alert["state"] == "resolved":
                self._over.add(alert["identity"])

    def deliver(self, alert: Alert, offset: int) -> None:
        """Take a new record of llm.alerts with its offset; returns at once."""
        self._next = max(self._next, offset + 1)
        if alert["state"] == "pending" or not alert["fired"]:
            return
        known = self._delivered.get(alert_key(alert))
        said = is_older(alert, known) or alert == known  # it comes from a worker that does not know that
        over = alert["state"] == "firing" and alert["identity"] in self._over
        _put(self._standing, alert)
        _put(self._delivered, alert)
        if not self._lines:
            log.warning("alert %s: %s (nobody is configured to be paged)", alert["state"], alert["summary"])
            return
        for line in self._lines:
            if not line.target.resends and (said or (over and line.target.reopens)):
                continue
            self._open[offset] = alert
            line.owed[offset] = alert
            self._bound(line)
            line.wake.set()

    def read_to(self, position: int) -> None:
        """Nothing before `position` is to come: what was no alert there needs no delivery."""
        self._next = max(self._next, position)

    def safe_offset(self) -> int:
        """The first offset of llm.alerts that has not been delivered: what may be committed."""
        return min(self._open, default=self._next)

    async def run(self) -> None:
        """Send until cancelled."""
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            for line in self._lines:
                group.create_task(self._drive(line, session))

    async def _drive(self, line: "_Line", session: aiohttp.ClientSession) -> None:
        while True:
            await line.due()
            first, longest = self._waits
            async for attempt in stamina.retry_context(
                on=self._again, attempts=None, timeout=None, wait_initial=first, wait_max=longest, wait_jitter=first
            ):
                with attempt:
                    await self._send(line, session)

    def _again(self, error: Exception) -> bool | float:
        if not isinstance(error, Retry):
            return False
        return True if error.after is None else max(error.after, self._waits[0])

    async def _send(self, line: "_Line", session: aiohttp.ClientSession) -> None:
        """Bring a target up to date: all of the state, or each change it has not had."""
        now = self._clock()
        line.wake.clear()
        self._forget(now)
        if line.target.resends:
            owed = list(line.owed)
            # What was over, and begun anew, before this target could be told is told as over, which pages nobody.
            over = [alert for alert in line.owed.values() if alert["state"] == "resolved"]
            standing = list(self._standing.values())
            await self._try(line, session, owed, [*(a for a in over if a not in standing), *standing], now)
            line.said()
            return
        for offset, alert in list(line.owed.items()):
            await self._try(line, session, [offset], [alert], now)

    async def _try(
        self, line: "_Line", session: aiohttp.ClientSession, offsets: list[int], alerts: list[Alert], now: int
    ) -> None:
        name = line.target.name
        refused: list[Refusal] = []
        if alerts:
            try:
                refused = await line.target.send(session, alerts, now)
            except Retry as error:
                self.counts[name, "retried"] += 1
                line.streak.failed(error, asyncio.get_running_loop().time())
                raise
            reach("alerts.after_delivery")
            line.streak.over()
            line.refuse(refused)
        lost = {alert["identity"] for alert, _ in refused}
        for offset in offsets:
            if (alert := line.owed.pop(offset, None)) is not None:  # else it was dropped meanwhile, and counted so
                self.counts[name, "refused" if alert["identity"] in lost else "taken"] += 1
            self._open.pop(offset, None)

    def _forget(self, now: int) -> None:
        owed = {alert_key(alert) for alert in self._open.values()}
        for key, alert in list(self._standing.items()):
            if alert["state"] == "resolved" and alert["resolved"] + RESOLVED_MS < now and key not in owed:
                del self._standing[key]
        for key, alert in list(self._delivered.items()):
            if alert["state"] == "resolved" and alert["resolved"] + KEEP_MS < now and key not in owed:
                del self._delivered[key]

    def _bound(self, line: "_Line") -> None:
        while len(line.owed) > OWED:
            oldest = min(line.owed)
            dropped = line.owed.pop(oldest)
            self._open.pop(oldest, None)
            self.counts[line.target.name, "dropped"] += 1
            log.error("alert dropped, %s does not answer: %s", line.target.name, dropped["summary"])


def _put(known: dict[bytes, Alert], alert: Alert) -> None:
    """Know a record that is about people, unless a newer one of its group is known."""
    key = alert_key(alert)
    if alert["state"] != "pending" and alert["fired"] and not is_older(alert, known.get(key)):
        known[key] = alert


class _Line:
    """One target, and what it has not had yet."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.streak = Streak(target.name, target.setting)
        self.owed: dict[int, Alert] = {}
        self.wake = asyncio.Event()
        self._refused: set[tuple[str, str]] = set()
        self._next = 0.0  # by the event loop's clock: nobody sets that one

    def said(self) -> None:
        self._next = asyncio.get_running_loop().time() + RESEND_MS / 1000

    def refuse(self, refused: Sequence[Refusal]) -> None:
        """Log what the target will never take: once, though a target that hears states again refuses them again."""
        for alert, why in refused:
            if (alert["identity"], alert["state"]) not in self._refused:
                log.error("alert refused: %s; not told there: %s", why, alert["summary"])
        self._refused = {(alert["identity"], alert["state"]) for alert, _ in refused}

    async def due(self) -> None:
        """Wait until there is something to send: a change or, for a target that wants it, the next resend."""
        wait_s = max(0.0, self._next - asyncio.get_running_loop().time()) if self.target.resends else None
        if not self.owed:
            try:
                await asyncio.wait_for(self.wake.wait(), wait_s)
            except TimeoutError:
                return


def default_route(
    alertmanager_url: str = "", pagerduty_routing_key: str = "", webhook_url: str = "", pagerduty_url: str = URL
) -> Route:
    """The route to the first that is configured: Alertmanager (replicas separated by commas), PagerDuty, a webhook.

    Raises ValueError, a line without secrets, for what cannot be a URL or a routing key.
    """
    urls = [url.strip() for url in alertmanager_url.split(",") if url.strip()]
    for name, url in [*(("ALERTMANAGER", url) for url in urls), ("WEBHOOK", webhook_url), ("PAGERDUTY", pagerduty_url)]:
        if url and not url.startswith(("http://", "https://")):
            raise ValueError(f"SPANLOOM_{name}_URL must begin with http:// or https://")
    if urls:
        several = [f"SPANLOOM_ALERTMANAGER_URL, {n} of {len(urls)}" for n in range(1, len(urls) + 1)]
        settings = several if len(urls) > 1 else ["SPANLOOM_ALERTMANAGER_URL"]
        return Route([Alertmanager(*each) for each in zip(urls, settings, strict=True)])
    if pagerduty_routing_key:
        return Route([PagerDuty(pagerduty_routing_key, pagerduty_url)])
    return Route([Webhook(webhook_url)] if webhook_url else [])
