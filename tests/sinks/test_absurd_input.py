"""Whatever valid Avro says, the sink stores it or makes it a dead letter, and what it sums up afterwards works."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from spanloom_schemas import topics
from spanloom_sinks.amendments import Amendments
from spanloom_sinks.decode import decode
from spanloom_sinks.lane import Block, Lane
from spanloom_sinks.metrics import Metrics
from spanloom_sinks.rollups import Rollups
from spanloom_sinks.source import Source
from spanloom_sinks.tables import tables
from spanloom_sinks.trace_hours import TraceHours
from spanloom_sinks.writer import Writer

from tests import absurd

READ = [name for name, topic in topics.load().items() if "sinks" in topic.consumers and name != "llm.hours"]
FAR = 2**62


class Group:
    """Stands for the consumer: everything is stored."""

    def topic_id(self, topic: str) -> str:
        return "topic-id"

    def progress(self, topic: str, partitions: Any) -> dict[int, int]:
        return dict.fromkeys(partitions, FAR)

    def end(self, topic: str, partition: int) -> int:
        return 0


class Letters:
    """Stands for the producer of dead letters."""

    def __init__(self) -> None:
        self.dead: list[Any] = []

    def send(self, source: Source, dead: list[Any]) -> None:
        self.dead += dead


@pytest.mark.parametrize("topic", READ)
@settings(max_examples=5, phases=[Phase.generate], suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_any_message_is_stored_or_a_dead_letter(topic: str, data: st.DataObject, store: Any, book: Any) -> None:
    values = data.draw(st.lists(absurd.messages(topic), min_size=12, max_size=12))
    group, metrics, letters = Group(), Metrics(), Letters()
    writer = Writer(store, tables(book), letters, metrics)  # type: ignore[arg-type]
    messages = [(n, absurd.NOW_MS + n, value) for n, value in enumerate(values)]
    source = Source(topic, "topic-id", 0, 0)
    block = Block(source, 0, messages, repeated=False)
    writer.prepare(block)
    assert block.rows is not None
    writer.write(block)
    rollups, amendments = Rollups(store, group), Amendments(store, group, metrics)  # type: ignore[arg-type]
    hours = TraceHours(store, lambda: 0.0)
    for table, rows in block.rows:
        if table == "panes":
            rollups.note(0, rows)
        if table == "traces":
            amendments.note(Lane(source, 0), 0, rows)
            hours.note(Lane(source, 0), 0, rows)
    for turn in (100.0, 200.0):
        rollups.turn(turn)
        for changed in amendments.turn(turn):
            hours.note(*changed)
        hours.turn(turn)
    decoded = decode(topic, messages)
    assert decoded.headers.height + len(decoded.dead) == len(messages)
    reasons = Counter(letter.reason for letter in decoded.dead)
    assert {reason: metrics.dead.labels(topic, reason)._value.get() for reason in reasons} == reasons
    assert letters.dead == ([] if topic == "llm.dead_letters" else decoded.dead)
