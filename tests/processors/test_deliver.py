import asyncio

import pytest
from aiokafka.errors import KafkaTimeoutError, MessageSizeTooLargeError, RequestTimedOutError
from faust.exceptions import ProducerSendError
from spanloom_processors.deliver import deliver
from spanloom_processors.emit import Outgoing


class Broker:
    """A producer whose sends fail as told: by value, the failures that come before the success."""

    def __init__(self, failures: dict[bytes, list[BaseException]] | None = None) -> None:
        self.failures = failures or {}
        self.stored: list[bytes] = []

    async def send(self, topic, key, value, partition, timestamp, headers):
        future = asyncio.get_running_loop().create_future()
        coming = self.failures.get(value)
        error = coming.pop(0) if coming else None
        if isinstance(error, ProducerSendError):
            raise error
        if error is not None:
            future.set_exception(error)
        else:
            self.stored.append(value)
            future.set_result(None)
        return future


def outgoing(*values: bytes) -> list[Outgoing]:
    return [Outgoing("llm.panes", 0, None, value) for value in values]


def test_all_is_sent_in_order():
    broker = Broker()
    assert asyncio.run(deliver(broker, outgoing(b"1", b"2", b"3"))) == []
    assert broker.stored == [b"1", b"2", b"3"]


def test_from_the_first_failure_on_all_is_sent_again_until_it_is_stored():
    broker = Broker({b"2": [RequestTimedOutError(), KafkaTimeoutError()]})
    assert asyncio.run(deliver(broker, outgoing(b"1", b"2", b"3"))) == []
    assert broker.stored == [b"1", b"3", b"3", b"2", b"3"]


def test_what_cannot_even_be_buffered_is_sent_again():
    refused = ProducerSendError("full")
    refused.__cause__ = KafkaTimeoutError()
    broker = Broker({b"1": [refused]})
    assert asyncio.run(deliver(broker, outgoing(b"1"))) == []
    assert broker.stored == [b"1"]


def test_what_is_too_large_for_its_topic_is_given_back_and_holds_up_nothing():
    broker = Broker({b"2": [MessageSizeTooLargeError()]})
    assert asyncio.run(deliver(broker, outgoing(b"1", b"2", b"3"))) == outgoing(b"2")
    assert broker.stored == [b"1", b"3"]


def test_an_error_that_is_not_the_broker_s_is_raised():
    with pytest.raises(RuntimeError, match="a mistake"):
        asyncio.run(deliver(Broker({b"1": [RuntimeError("a mistake")]}), outgoing(b"1")))
