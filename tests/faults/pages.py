"""Who was paged, against a backtest: the rules folded once, without a crash, over all of llm.panes."""

from confluent_kafka import Consumer, TopicPartition
from spanloom_processors.core.alerts.engine import Engine
from spanloom_processors.core.alerts.rules import parse
from spanloom_schemas.frames.splice import decode
from spanloom_stack.demo.pager import Pager

from tests.faults.stage import RULES

AT_ONCE = 500


def doubled(bootstrap: str, pager: Pager) -> tuple[int, list[str]]:
    """How many pages there was no reason for, and a line for each of them and for each that never came.

    An alert said again under its identity is the same page: Alertmanager and PagerDuty know it by that.
    """
    due, paged = _due(bootstrap), _paged(pager)
    return len(paged - due), [
        *(f"paged without a reason: {' '.join(one)}" for one in sorted(paged - due)),
        *(f"never paged: {' '.join(one)}" for one in sorted(due - paged)),
    ]


def _due(bootstrap: str) -> set[tuple[str, str]]:
    engine = Engine(parse(RULES.read_text()))
    engine.restore([], [])
    messages = _panes(bootstrap)
    alerts = []
    for begin in range(0, len(messages), AT_ONCE):
        decoded = decode("pane_batch", messages[begin : begin + AT_ONCE])
        alerts += engine.fold(decoded.headers, decoded.rows)
    return {(alert["rule"], alert["identity"]) for alert in alerts if alert["state"] == "firing"}


def _paged(pager: Pager) -> set[tuple[str, str]]:
    return {
        (one.alert.labels["alertname"], one.alert.annotations["identity"]) for one in list(pager.arrivals) if one.firing
    }


def _panes(bootstrap: str) -> list[tuple[int, int, bytes]]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "pages", "enable.auto.commit": False})
    try:
        low, high = consumer.get_watermark_offsets(TopicPartition("llm.panes", 0), timeout=20)
        consumer.assign([TopicPartition("llm.panes", 0, low)])
        found: list[tuple[int, int, bytes]] = []
        while not found or found[-1][0] < high - 1:
            for message in consumer.consume(1000, 1.0):
                if message.error() is None:
                    found.append((message.offset(), message.timestamp()[1], message.value()))
        return [message for message in found if message[0] < high]
    finally:
        consumer.close()
