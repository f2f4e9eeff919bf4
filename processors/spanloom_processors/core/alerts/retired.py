"""Groups that were over a week ago: their records in llm.alerts, and their states here, are needed by nobody.

A compacted topic keeps the last record of every key for ever, and every restart reads all of it. Groups come and go
with tenants, runs and machines, so both would grow without end. Nothing is judged of windows that lie so far back, and
llm.traces does not hold traces for longer.
"""

from collections.abc import Iterable

from spanloom_processors.core.alerts.records import Alert, Group, group_of, record_key

KEEP_MS = 7 * 86_400_000
"""How long a group is remembered after it was over, by the log's clock."""

Question = tuple[str, Group]
"""Name of a rule and a group of it."""


class Retired:
    """Which groups are over, and which of them for so long that their records are to be deleted."""

    def __init__(self) -> None:
        self._over: dict[Question, int] = {}  # when, the longest ago first
        self._due: dict[Question, None] = {}

    def restore(self, alerts: Iterable[Alert]) -> None:
        """Know the last records of groups."""
        for alert in sorted(alerts, key=lambda alert: alert["at"]):
            self.note(alert)

    def note(self, alert: Alert) -> None:
        """A record of a group: its last one until the next."""
        question = alert["rule"], group_of(alert)
        self._over.pop(question, None)
        self._due.pop(question, None)
        if alert["state"] == "resolved":
            self._over[question] = alert["at"]

    def forget(self, clock: int) -> list[Question]:
        """The groups that are not to be remembered from now on."""
        found: list[Question] = []
        for question, at in self._over.items():
            if at + KEEP_MS > clock:
                break
            found.append(question)
        for question in found:
            del self._over[question]
            self._due[question] = None
        return found

    def take(self) -> list[bytes]:
        """The keys of records to be deleted, since the last call."""
        due, self._due = self._due, {}
        return [record_key(*question) for question in due]
