"""Messages that cannot be read go to llm.dead_letters, whole, with the reason, and their partition moves on."""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from polars.exceptions import PanicException
from spanloom_schemas import codec
from spanloom_schemas.codec import Registry
from spanloom_schemas.frames.splice import Dead, Decoded, Message, decode

from spanloom_processors.consumer import Poll
from spanloom_processors.emit import Outgoing

log = logging.getLogger(__name__)

TOPIC = "llm.dead_letters"
UNPROCESSED = "unprocessed"
"""Reason of a message that decodes, but whose content defeats what is derived from it."""

T = TypeVar("T")


def read(
    schema: str, messages: list[Message], derive: Callable[[Decoded], T], registry: Registry | None = None
) -> tuple[list[tuple[Decoded, T]], list[Dead]]:
    """Decode messages and derive from them; what raises is halved until the messages that cause it stand alone.

    Returns what was derived, in order of the messages and in one piece where nothing raised, and the dead messages.
    Raises RegistryError when the registry must be asked and is away: nothing is known about the messages then.
    """
    decoded = decode(schema, messages, registry)
    try:
        return [(decoded, derive(decoded))], decoded.dead
    except (Exception, PanicException) as error:
        if len(messages) == 1:
            offset, log_time, value = messages[0]
            log.exception("offset=%d of a %s cannot be processed", offset, schema)
            return [], [Dead(offset, log_time, UNPROCESSED, repr(error), value)]
    half = len(messages) // 2
    first, first_dead = read(schema, messages[:half], derive, registry)
    second, second_dead = read(schema, messages[half:], derive, registry)
    return first + second, first_dead + second_dead


def letters(poll: Poll, topic_id: str, dead: Iterable[Dead]) -> Iterator[Outgoing]:
    """A dead letter for each unreadable message of a poll."""
    for message in dead:
        datum = {
            "topic": poll.tp.topic,
            "topic_id": topic_id,
            "partition": poll.tp.partition,
            "offset": message.offset,
            "log_time": message.log_time,
            "stage": "processor",
            "reason": message.reason,
            "error": message.error,
            "key": poll.keys.get(message.offset),
            "value": message.value,
        }
        key = f"{poll.tp.topic}:{poll.tp.partition}:{message.offset}".encode()
        yield Outgoing(TOPIC, None, key, codec.encode("dead_letter", datum))
