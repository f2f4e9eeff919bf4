"""What a broker in motion answers."""

from collections.abc import Callable

import pytest
from confluent_kafka import KafkaError, KafkaException
from spanloom_sinks.verify.topics import patiently


def _broker(*answers: int) -> tuple[list[int], Callable[[], str]]:
    asked: list[int] = []

    def ask() -> str:
        asked.append(1)
        if len(asked) <= len(answers):
            raise KafkaException(KafkaError(answers[len(asked) - 1]))
        return "answer"

    return asked, ask


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
