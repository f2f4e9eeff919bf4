"""Who was paged, against a backtest: the rules folded once, without a crash, over all of llm.panes."""

from confluent_kafka import Consumer, TopicPartition
from spanloom_processors.alerting import readable
from spanloom_processors.compacted import Record
from spanloom_processors.core.alerts.engine import Engine
from spanloom_processors.core.alerts.rules import parse
from spanloom_schemas.frames.bounded import decode
from spanloom_stack.demo.pager import Pager

from tests.faults.stage import RULES

AT_ONCE = 500
Identity = tuple[str, str]
"""Rule and identity: the alert's rule, group and start. Who pages people knows an alert that is said again by it."""


def doubled(bootstrap: str, pager: Pager) -> tuple[int, list[str]]:
    """How many pages there was no reason for, and a line for each of them and for each alert that was never told.

    An alert that was over before anybody could be told is told as over, which pages nobody.
    """
    due, arrivals = _due(bootstrap), list(pager.arrivals)
    told = {(one.alert.labels["alertname"], one.alert.annotations["identity"]) for one in arrivals}
    paged = {(one.alert.labels["alertname"], one.alert.annotations["identity"]) for one in arrivals if one.firing}
    recorded = _recorded(bootstrap)
    return len(paged - due.keys()), [
        *(f"paged without a reason: {one}, recorded as {recorded.get(one)}" for one in sorted(paged - due.keys())),
        *(f"never told: {due[one]}, recorded as {recorded.get(one)}" for one in sorted(due.keys() - told)),
    ]


def _due(bootstrap: str) -> dict[Identity, str]:
    engine = Engine(parse(RULES.read_text()))
    engine.restore([], [])
    messages = _read(bootstrap, "llm.panes")
    due: dict[Identity, str] = {}
    for begin in range(0, len(messages), AT_ONCE):
        decoded = decode("pane_batch", messages[begin : begin + AT_ONCE])
        for alert in engine.fold(decoded.headers, decoded.rows):
            if alert["state"] == "firing":
                due.setdefault((alert["rule"], alert["identity"]), str(dict(alert)))
    return due


def _recorded(bootstrap: str) -> dict[Identity, str]:
    found = (Record(offset, value) for offset, _, value in _read(bootstrap, "llm.alerts") if value)
    records = list(readable("alert", found))
    return {(record["rule"], record["identity"]): str(record) for record in records}


def _read(bootstrap: str, topic: str) -> list[tuple[int, int, bytes]]:
    """All of partition 0 of a topic that no transaction writes to."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "pages", "enable.auto.commit": False})
    try:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=20)
        consumer.assign([TopicPartition(topic, 0, low)])
        found: list[tuple[int, int, bytes]] = []
        while low < high and (not found or found[-1][0] < high - 1):
            for message in consumer.consume(1000, 1.0):
                if message.error() is None:
                    found.append((message.offset(), message.timestamp()[1], message.value()))
        return found
    finally:
        consumer.close()
