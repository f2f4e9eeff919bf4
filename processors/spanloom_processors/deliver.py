"""Sends messages until the broker has them."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import stamina
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError
from faust.exceptions import ProducerSendError
from faust.types import ProducerT
from spanloom_schemas.fault import reach

from spanloom_processors.emit import Outgoing

log = logging.getLogger(__name__)

_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)


async def deliver(producer: ProducerT, messages: Sequence[Outgoing]) -> list[Outgoing]:
    """Send in order and wait until all in-sync replicas have it all; retries for as long as it takes.

    After a failure everything from the first message that failed is sent again: what Spanloom sends is idempotent.
    Returns the messages that the broker will never take, because they are too large for their topic.
    """
    refused: list[Outgoing] = []
    left = list(messages)
    async for attempt in stamina.retry_context(on=KafkaError, attempts=None, timeout=None, wait_max=5.0):
        with attempt:
            left, error = await _attempt(producer, left, refused)
            if error is not None:
                log.warning("messages=%d not sent, trying again: %r", len(left), error)
                raise error
    return refused


async def _attempt(
    producer: ProducerT, messages: list[Outgoing], refused: list[Outgoing]
) -> tuple[list[Outgoing], KafkaError | None]:
    """Send each once: what is to be sent again, and why."""
    handed = [await _hand_over(producer, message) for message in messages]
    results = await asyncio.gather(*handed, return_exceptions=True)
    for index, (message, result) in enumerate(zip(messages, results, strict=True)):
        if isinstance(result, _TOO_LARGE):
            refused.append(message)
        elif isinstance(result, KafkaError):
            return messages[index:], result
        elif isinstance(result, BaseException):
            raise result
    return [], None


async def _hand_over(producer: ProducerT, message: Outgoing) -> "asyncio.Future[Any]":
    """Put a message into the producer's buffer; the future tells its fate."""
    reach("processor.mid_emission")
    try:
        sent: Any = await producer.send(message.topic, message.key, message.value, message.partition, None, None)
    except ProducerSendError as error:
        failed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        failed.set_exception(error.__cause__ or error)
        return failed
    future: asyncio.Future[Any] = sent
    return future
