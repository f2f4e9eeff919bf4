"""Messages that cannot be read go to llm.dead_letters, whole, with the reason, and their partition moves on."""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from polars.exceptions import PanicException
from spanloom_schemas import codec, topics
from spanloom_schemas.codec import Registry
from spanloom_schemas.frames.bounded import decode
from spanloom_schemas.frames.splice import Dead, Decoded, Message

from spanloom_processors.batches import BATCH_BYTES, Packed
from spanloom_processors.consumer import Poll
from spanloom_processors.emit import Outgoing

log = logging.getLogger(__name__)

TOPIC = "llm.dead_letters"
LIMIT_BYTES = topics.load()[TOPIC].max_message_bytes - 8192
"""What a letter may hold of its message; a larger one can still be found by its offset."""
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


def packed(poll: Poll) -> Iterator[Dead]:
    """The batches of a poll that would unfold to too much: each is one dead letter, which holds it as the log does."""
    for offset, log_time, value in poll.packed:
        span = f"offsets {value.first} to {offset}" if isinstance(value, Packed) else f"offset {offset}"
        error = f"a compressed batch, {span}, unfolds to more than {BATCH_BYTES} bytes"
        yield Dead(offset, log_time, "too_large", error, value)


def letters(poll: Poll, topic_id: str, dead: Iterable[Dead]) -> Iterator[Outgoing]:
    """A dead letter for each unreadable message of a poll: with all of it, unless no message may be so large."""
    for message in dead:
        place = {
            "topic": poll.tp.topic,
            "topic_id": topic_id,
            "partition": poll.tp.partition,
            "offset": message.offset,
            "log_time": message.log_time,
            "stage": "processor",
            "reason": message.reason,
            "error": message.error,
        }
        own_key, value = poll.keys.get(message.offset), bytes(message.value)
        whole = len(value) + len(own_key or b"") <= LIMIT_BYTES
        found = {"key": own_key, "value": value} if whole else {"key": None, "value": None}
        key = f"{poll.tp.topic}:{poll.tp.partition}:{message.offset}".encode()
        yield Outgoing(TOPIC, None, key, codec.encode("dead_letter", place | found))
