"""PagerDuty's Events API v2: one event a transition, held together by the deduplication key."""

from collections.abc import Sequence
from typing import Any

import aiohttp

from spanloom_processors.core.alerts.records import Alert
from spanloom_processors.delivery.post import Refusal, Refused, encode, post
from spanloom_processors.delivery.rendering import annotations, labels, moment

URL = "https://events.pagerduty.com/v2/enqueue"
SUMMARY = 1024
DETAIL = 2000
EVENT = 512 * 1024


class PagerDuty:
    """A service of PagerDuty, named by its routing key (integration key, 32 characters)."""

    name = "pagerduty"
    resends = False
    reopens = True
    setting = "SPANLOOM_PAGERDUTY_ROUTING_KEY, SPANLOOM_PAGERDUTY_URL"

    def __init__(self, routing_key: str, url: str = URL) -> None:
        if len(routing_key) != 32:
            raise ValueError("SPANLOOM_PAGERDUTY_ROUTING_KEY is not a routing key: it has 32 characters")
        self._key = routing_key
        self._url = url

    async def send(self, session: aiohttp.ClientSession, alerts: Sequence[Alert], now_ms: int) -> list[Refusal]:
        """Send one event an alert; returns those that were refused. Raises Retry."""
        refused: list[Refusal] = []
        for alert in alerts:
            try:
                await post(session, self.name, self._url, event(alert, self._key))
            except Refused as error:
                refused.append(Refusal(alert, error.told(self._key)))
        return refused


def event(alert: Alert, routing_key: str) -> dict[str, Any]:
    """The event of a firing (trigger) or resolved alert, within the documented limits."""
    resolve = {"routing_key": routing_key, "event_action": "resolve", "dedup_key": alert["identity"]}
    if alert["state"] == "resolved":
        return resolve
    named = labels(alert)
    details = {key: value[:DETAIL] for key, value in (named | annotations(alert)).items()}
    payload = _payload(alert, named)
    trigger = resolve | {"event_action": "trigger", "client": "Spanloom"}
    full = trigger | {"payload": payload | {"custom_details": details}}
    return full if len(encode(full)) <= EVENT else trigger | {"payload": payload}


def _payload(alert: Alert, named: dict[str, str]) -> dict[str, Any]:
    found = {
        "summary": (alert["summary"] or alert["rule"])[:SUMMARY],
        "source": (named.get("service") or named.get("environment") or "spanloom")[:SUMMARY],
        "severity": alert["severity"],
        "timestamp": moment(alert["since"]),
        "component": named.get("service", "")[:SUMMARY],
        "group": named.get("environment", "")[:SUMMARY],
        "class": alert["rule"],
    }
    return {key: value for key, value in found.items() if value}
