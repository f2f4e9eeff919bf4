"""Alertmanager's API v2 (openapi "postAlerts"): state, said again and again.

A firing alert ends some time after it was last said, so it is said every minute; a resolved one for five minutes more.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from spanloom_processors.core.alerts.records import Alert
from spanloom_processors.delivery.post import Refusal, Refused, post
from spanloom_processors.delivery.rendering import annotations, labels, moment

RESEND_MS = 60_000
RESOLVED_MS = 300_000
FIRING_MS = 900_000
"""How long a firing alert stands without being said again: while the way to Alertmanager, or Kafka, is away for ten
minutes it must not look resolved, and then page once more.
"""
BATCH = 256


class Alertmanager:
    """One Alertmanager; every replica of a cluster is a target of its own. `setting`: where its address came from."""

    name = "alertmanager"
    resends = True
    reopens = True

    def __init__(self, url: str, setting: str = "SPANLOOM_ALERTMANAGER_URL") -> None:
        self.setting = setting
        self._url = url.rstrip("/") + "/api/v2/alerts"
        parts = urlsplit(url)
        # An address that is no more than a host has nothing that an answer could give away.
        self._bare = not (parts.username or parts.password or parts.query or parts.path.strip("/"))

    async def send(self, session: aiohttp.ClientSession, alerts: Sequence[Alert], now_ms: int) -> list[Refusal]:
        """Say the state of these alerts; returns those that were refused, each by itself. Raises Retry."""
        refused: list[Refusal] = []
        for at in range(0, len(alerts), BATCH):
            refused += await self._say(session, alerts[at : at + BATCH], now_ms)
        return refused

    async def _say(self, session: aiohttp.ClientSession, alerts: Sequence[Alert], now_ms: int) -> list[Refusal]:
        """Say these alerts; where they are refused together, say each half: one bad alert, or too many at once, keep
        none of the others from being told.
        """
        try:
            await post(session, self.name, self._url, [payload(alert, now_ms) for alert in alerts])
            return []
        except Refused as error:
            if len(alerts) == 1:
                return [Refusal(alerts[0], error.told() if self._bare else str(error))]
        half = len(alerts) // 2
        return [*await self._say(session, alerts[:half], now_ms), *await self._say(session, alerts[half:], now_ms)]


def payload(alert: Alert, now_ms: int) -> dict[str, Any]:
    """One postable alert. A resolved one has an end that is past, a firing one an end that is FIRING_MS ahead."""
    end = now_ms + FIRING_MS if alert["state"] == "firing" else min(alert["resolved"], now_ms)
    return {
        "labels": labels(alert),
        "annotations": annotations(alert),
        "startsAt": moment(min(alert["since"], end)),
        "endsAt": moment(end),
    }
