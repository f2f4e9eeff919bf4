"""A webhook of any kind: each transition as one POST in the shape of Alertmanager's webhook, version 4."""

from collections.abc import Sequence
from typing import Any

import aiohttp

from spanloom_processors.core.alerts.records import Alert
from spanloom_processors.delivery.post import Refusal, Refused, post
from spanloom_processors.delivery.rendering import annotations, labels, moment

NEVER = "0001-01-01T00:00:00Z"


class Webhook:
    """A URL that takes alerts. What it answers is never logged: it may repeat the URL, which is a secret."""

    name = "webhook"
    resends = False
    reopens = False  # every message is news to it
    setting = "SPANLOOM_WEBHOOK_URL"

    def __init__(self, url: str) -> None:
        self._url = url

    async def send(self, session: aiohttp.ClientSession, alerts: Sequence[Alert], now_ms: int) -> list[Refusal]:
        """Send one message an alert; returns those that were refused. Raises Retry."""
        refused: list[Refusal] = []
        for alert in alerts:
            try:
                await post(session, self.name, self._url, message(alert))
            except Refused as error:
                refused.append(Refusal(alert, str(error)))
        return refused


def message(alert: Alert) -> dict[str, Any]:
    """The message of a firing or resolved alert: a group of one; `groupKey` is the alert's identity."""
    named, said = labels(alert), annotations(alert)
    resolved = alert["state"] == "resolved"
    return {
        "version": "4",
        "groupKey": alert["identity"],
        "truncatedAlerts": 0,
        "status": alert["state"],
        "receiver": "spanloom",
        "groupLabels": named,
        "commonLabels": named,
        "commonAnnotations": said,
        "externalURL": "",
        "alerts": [
            {
                "status": alert["state"],
                "labels": named,
                "annotations": said,
                "startsAt": moment(alert["since"]),
                "endsAt": moment(alert["resolved"]) if resolved else NEVER,
                "generatorURL": "",
                "fingerprint": alert["identity"][:16],
            }
        ],
    }
