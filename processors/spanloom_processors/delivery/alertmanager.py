"""Alertmanager's API v2 (openapi "postAlerts"): state, said again and again.

A firing alert ends some time after it was last said, so it is said every minute; a resolved one for five minutes more.
"""

from collections.abc import Sequence
from typing import Any

import aiohttp

from spanloom_processors.core.alerts.records import Alert
from spanloom_processors.delivery.post import post
from spanloom_processors.delivery.rendering import annotations, labels, moment

RESEND_MS = 60_000
RESOLVED_MS = 300_000
FIRING_MS = 900_000
"""How long a firing alert stands without being said again: while the way to Alertmanager, or Kafka, is away for ten
minutes it must not look resolved, and then page once more.
"""
BATCH = 256


class Alertmanager:
    """One Alertmanager; every replica of a cluster is a target of its own."""

    resends = True

    def __init__(self, url: str) -> None:
        self.name = "alertmanager"
        self._url = url.rstrip("/") + "/api/v2/alerts"

    async def send(self, session: aiohttp.ClientSession, alerts: Sequence[Alert], now_ms: int) -> None:
        """Say the state of these alerts; raises Retry or Refused."""
        for at in range(0, len(alerts), BATCH):
            await post(session, self.name, self._url, [payload(alert, now_ms) for alert in alerts[at : at + BATCH]])


def payload(alert: Alert, now_ms: int) -> dict[str, Any]:
    """One postable alert. A resolved one has an end that is past, a firing one an end that is FIRING_MS ahead."""
    end = now_ms + FIRING_MS if alert["state"] == "firing" else min(alert["resolved"], now_ms)
    return {
        "labels": labels(alert),
        "annotations": annotations(alert),
        "startsAt": moment(min(alert["since"], end)),
        "endsAt": moment(end),
    }
