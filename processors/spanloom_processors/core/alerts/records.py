"""What the alert stage writes: records of llm.alerts and llm.hours, and the keys under which those topics compact."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple, TypedDict

from spanloom_schemas.panes import KEY

Group = tuple[tuple[str, str], ...]
"""The labels of a group, sorted by key: (("environment", "prod"), ("service", "chat"))."""

Source = tuple[str, int]
"""Topic id and partition that a pane's spans came from."""

EXEMPLARS = 5
"""Trace ids that an alert names."""

METADATA_BYTES = 4_000
"""Kafka takes 4096. A point of more source partitions than that holds (hundreds) goes without `late`."""

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
    judged and its transitions returned. `late`: by source partition the offset of llm.spans up to which late rows were
    told before `offset`: told again, they count no more. The last two travel in the commit's metadata.
    """

    offset: int
    judged: int
    late: Mapping[Source, int] = {}

    def metadata(self) -> str:
        """The commit metadata string."""
        late = ",".join(f"{topic_id}/{partition}/{offset}" for (topic_id, partition), offset in self.late.items())
        told = f"judged={self.judged} late={late}"
        return told if len(told) <= METADATA_BYTES else f"judged={self.judged}"

    @staticmethod
    def judged_from(metadata: str | None) -> int:
        """Read `judged` back from a commit's metadata; 0 where there is none."""
        return number_from(metadata, "judged")

    @staticmethod
    def late_from(metadata: str | None) -> dict[Source, int]:
        """Read `late` back from a commit's metadata; empty where there is none."""
        found = {}
        for part in _fields(metadata).get("late", "").split(","):
            topic_id, _, place = part.partition("/")
            partition, _, offset = place.partition("/")
            if partition.isdigit() and offset.isdigit():
                found[topic_id, int(partition)] = int(offset)
        return found


def number_from(metadata: str | None, name: str) -> int:
    """Read a number back from a commit's metadata; 0 where it is not there."""
    value = _fields(metadata).get(name, "")
    return int(value) if value.isdigit() else 0


def _fields(metadata: str | None) -> dict[str, str]:
    return dict(field.split("=", 1) for field in (metadata or "").split(" ") if "=" in field)


def group_of(alert: Alert) -> Group:
    """The labels of an alert's group as a tuple."""
    return tuple((label["key"], label["value"]) for label in alert["group"])


def is_older(alert: Alert, known: Alert | None) -> bool:
    """Whether a record was overtaken by a known one of its group: a worker that lost its place may write it all the
    same, behind what another has written since.
    """
    return known is not None and (alert["at"], alert["window_end"]) < (known["at"], known["window_end"])


def newest(alerts: Iterable[Alert]) -> dict[tuple[str, Group], Alert]:
    """By rule and group the last record that no other has overtaken; `alerts` in the order of the log."""
    found: dict[tuple[str, Group], Alert] = {}
    for alert in alerts:
        key = alert["rule"], group_of(alert)
        if not is_older(alert, found.get(key)):
            found[key] = alert
    return found


def identity(rule: str, group: Group, since: int) -> str:
    """Name one firing: sha256 hex of rule, group and start; the pager's deduplication key."""
    return _digest([rule, *(part for label in group for part in label), str(since)]).hex()


def alert_key(alert: Alert) -> bytes:
    """The key of a record of llm.alerts: rule and group."""
    return record_key(alert["rule"], group_of(alert))


def record_key(rule: str, group: Group) -> bytes:
    """The key of the records of llm.alerts about a group of a rule."""
    return _joined([rule, *(part for label in group for part in label)])


def hour_key(hour: Hour) -> bytes:
    """The key of a record of llm.hours: the hour and the pane key."""
    return _joined([str(hour["start"]), *(str(hour[column]) for column in KEY)])  # type: ignore[literal-required]


def _joined(parts: list[str]) -> bytes:
    # Length-prefixed: no value can imitate a separator.
    return b"".join(str(len(part)).encode() + b":" + part.encode() for part in parts)


def _digest(parts: list[str]) -> bytes:
    return hashlib.sha256(_joined(parts)).digest()
