"""What the alert stage writes: records of llm.alerts and llm.hours, and the keys under which those topics compact."""

import hashlib
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypedDict

from spanloom_schemas.panes import KEY

Group = tuple[tuple[str, str], ...]
"""The labels of a group, sorted by key: (("environment", "prod"), ("service", "chat"))."""

Sendable = Mapping[str, Any]


class GroupLabel(TypedDict):
    """One label of a group."""

    key: str
    value: str


class Alert(TypedDict):
    """A datum of the schema `alert`: one transition of one group of one rule; the last one is the group's state."""

    rule: str
    group: list[GroupLabel]
    identity: str
    state: Literal["pending", "firing", "resolved"]
    severity: str
    value: float | None
    threshold: float | None
    unit: str
    window_start: int
    window_end: int
    since: int
    fired: int
    resolved: int
    at: int
    partial: bool
    trace_ids: list[str]
    summary: str
    description: str


class Hour(TypedDict):
    """A datum of the schema `hour`: one closed hour of one pane key."""

    start: int
    environment: str
    service: str
    kind: str
    request: bool
    model: str
    prompt_id: str
    prompt_version: str
    tenant: str
    experiment: str
    run_id: str
    spans: int
    errors: int
    blocks: int
    cost: int
    unpriced: int
    total_tokens: int
    minute_costs: list[int]
    minutes: int


class SafePoint(NamedTuple):
    """Where a restart begins.

    `offset`: of llm.panes, the first message still needed. `judged`: epoch ms, every window that ends by it has been
    judged and its transitions returned; travels in the commit's metadata.
    """

    offset: int
    judged: int

    def metadata(self) -> str:
        """The commit metadata string."""
        return f"judged={self.judged}"

    @staticmethod
    def judged_from(metadata: str | None) -> int:
        """Read `judged` back from a commit's metadata; 0 where there is none."""
        name, _, value = (metadata or "").partition("=")
        return int(value) if name == "judged" and value.isdigit() else 0


def group_of(alert: Alert) -> Group:
    """The labels of an alert's group as a tuple."""
    return tuple((label["key"], label["value"]) for label in alert["group"])


def identity(rule: str, group: Group, since: int) -> str:
    """Name one firing: sha256 hex of rule, group and start; the pager's deduplication key."""
    return _digest([rule, *(part for label in group for part in label), str(since)]).hex()


def alert_key(alert: Alert) -> bytes:
    """The key of a record of llm.alerts: rule and group."""
    labels = (part for label in alert["group"] for part in (label["key"], label["value"]))
    return _joined([alert["rule"], *labels])


def hour_key(hour: Hour) -> bytes:
    """The key of a record of llm.hours: the hour and the pane key."""
    return _joined([str(hour["start"]), *(str(hour[column]) for column in KEY)])  # type: ignore[literal-required]


def _joined(parts: list[str]) -> bytes:
    # Length-prefixed: no value can imitate a separator.
    return b"".join(str(len(part)).encode() + b":" + part.encode() for part in parts)


def _digest(parts: list[str]) -> bytes:
    return hashlib.sha256(_joined(parts)).digest()
