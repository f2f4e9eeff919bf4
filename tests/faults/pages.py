"""What people must be paged for: what the oracle reads in llm.panes, as it was written, crashes or not."""

from collections.abc import Iterator, Mapping

import yaml
from confluent_kafka import Consumer, TopicPartition
from spanloom_schemas import codec
from spanloom_schemas.codec import CodecError

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
        for offset, log_time, value in _read(self._bootstrap, PANES, self._next):
            self._next = offset + 1
            try:
                yield Told(offset, log_time, codec.decode(value)[2])
            except CodecError:  # a dead letter: nobody can read it
                continue


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
