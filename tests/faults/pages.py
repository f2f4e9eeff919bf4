"""What people must be paged for: what the oracle reads in llm.panes, as it was written, crashes or not."""

from collections.abc import Iterator, Mapping

import yaml
from confluent_kafka import Consumer, TopicPartition
from spanloom_schemas import codec
from spanloom_schemas.frames import bounded

from tests.faults.stage import RULES
from tests.oracle.alerts import Firing, Reading, Told

PANES = "llm.panes"


class Due:
    """What people must be paged for; the log is read on at each look, since there is a tick in it every second."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._reading = Reading(yaml.safe_load(RULES.read_text())["rules"])
        self._next = 0

    def look(self) -> Mapping[Firing, bool]:
        """Every firing up to now, and whether it is over."""
        self._reading.read(self._told())
        return self._reading.firings

    def _told(self) -> Iterator[Told]:
        messages = [*_read(self._bootstrap, PANES, self._next)]
        self._next = messages[-1][0] + 1 if messages else self._next
        dead = {letter.offset for letter in bounded.decode("pane_batch", messages).dead}  # nobody can read them
        yield from (Told(*each[:2], codec.decode(each[2])[2]) for each in messages if each[0] not in dead)


def _read(bootstrap: str, topic: str, first: int) -> Iterator[tuple[int, int, bytes]]:
    """What partition 0 of a topic that no transaction writes to has from `first` on."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "pages", "enable.auto.commit": False})
    try:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=20)
        at = max(low, first)
        consumer.assign([TopicPartition(topic, 0, at)])
        while at < high:
            for message in consumer.consume(1000, 1.0):
                if message.error() is None:
                    at = message.offset() + 1
                    yield message.offset(), message.timestamp()[1], message.value() or b""
    finally:
        consumer.close()
