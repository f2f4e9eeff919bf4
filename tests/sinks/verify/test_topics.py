"""What a broker in motion answers."""

from collections.abc import Callable

import pytest
from confluent_kafka import KafkaError, KafkaException
from spanloom_schemas import codec
from spanloom_schemas.frames import splice
from spanloom_sinks.verify.run import _log
from spanloom_sinks.verify.settled import Place, Told
from spanloom_sinks.verify.topics import Cluster, Log, overflow, patiently


def _broker(*answers: int) -> tuple[list[int], Callable[[], str]]:
    asked: list[int] = []

    def ask() -> str:
        asked.append(1)
        if len(asked) <= len(answers):
            raise KafkaException(KafkaError(answers[len(asked) - 1]))
        return "answer"

    return asked, ask


def _told(offset: int, topic_id: str, partition: int, **moved: int) -> tuple[int, int, bytes]:
    header = {"topic": "llm.spans", "topic_id": topic_id, "partition": partition, "partitions": 2, "revision": 1}
    header |= dict.fromkeys(("log_clock", "progress", "next_offset", "sent"), 0) | {"panes": []}
    header["overflow"] = [{"reason": reason, "spans": spans} for reason, spans in moved.items()]
    return offset, 0, codec.encode("pane_batch", header)


def test_what_overflowed_is_the_last_word_of_each_partition_and_of_the_alert_stage() -> None:
    told = [_told(0, "now", 0, pane_keys=1), _told(1, "now", 0, pane_keys=5), _told(2, "now", 1, pane_keys=2)]
    told += [_told(3, "before", 0, pane_keys=50), _told(4, "", -1, alert_rows=7), _told(5, "", -1, alert_rows=8)]
    headers = splice.decode("pane_batch", told).headers
    assert overflow(headers, "now") == {"alert_rows": 8, "pane_keys": 7}


def test_what_retention_took_before_the_sink_committed_it_is_told_of_each_topic() -> None:
    logs = {
        ("llm.spans", 0): Log(low=50, high=90, sink=20, processors=0, metadata=""),  # of a topic that is no more
        ("llm.spans", 1): Log(low=50, high=90, sink=20, processors=0, metadata=""),
        ("llm.traces", 0): Log(low=7, high=9, sink=5, processors=0, metadata=""),
        ("llm.traces", 1): Log(low=7, high=9, sink=4, processors=0, metadata=""),
        ("llm.panes", 0): Log(low=7, high=9, sink=8, processors=0, metadata=""),
        ("llm.dead_letters", 0): Log(low=7, high=9, sink=-1, processors=0, metadata=""),
    }
    places = tuple(Place(p, 50, 90, 0, 90, stored, 0, Told(), Told(), 0) for p, stored in ((0, 0), (1, 20)))
    found = _log(Cluster("now", logs, places, {}, {}))
    assert found.removed_before_stored == {"llm.spans": 30, "llm.traces": 5}


@pytest.mark.parametrize("code", [KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS])
def test_a_group_whose_coordinator_moves_is_asked_again(code: int) -> None:
    asked, ask = _broker(code, code)
    assert patiently(ask) == "answer"
    assert len(asked) == 3


def test_what_does_not_pass_by_itself_is_said_at_once() -> None:
    asked, ask = _broker(KafkaError.GROUP_AUTHORIZATION_FAILED)
    with pytest.raises(KafkaException):
        patiently(ask)
    assert len(asked) == 1


def test_a_coordinator_that_stays_away_is_said_after_a_while() -> None:
    _, ask = _broker(*[KafkaError.NOT_COORDINATOR] * 100)
    with pytest.raises(KafkaException):
        patiently(ask, patience=0.0)
