"""What the sink writes beside a committed offset: enough to insert, after any crash, exactly the same block again.

Kafka keeps it as the commit's metadata. The order is: commit `offset = first` with `last` → insert under the token of
(first, last) → commit `offset = last + 1`. Who finds a `last` does not know whether the rows arrived: it reads first to
last again and inserts them under the same token, and the table's own log of tokens decides (docs/adr/0071).
"""

import msgspec


class Mark(msgspec.Struct, frozen=True, omit_defaults=True):
    """The place reached in one partition."""

    topic_id: str
    log_clock: int  # before the committed offset, epoch ms
    last: int | None = None  # the block from the committed offset to this one is being inserted


def metadata(mark: Mark) -> str:
    """The mark as a commit's metadata."""
    return msgspec.json.encode(mark).decode()


def mark(metadata: str | None) -> Mark | None:
    """The mark in a commit's metadata; None where there is none that can be read."""
    try:
        return msgspec.json.decode(metadata or "", type=Mark)
    except msgspec.DecodeError:
        return None


def token(topic_id: str, partition: int, first: int, last: int) -> str:
    """The deduplication token of a block: a topic made anew, or other boundaries, are another block."""
    return f"{topic_id}:{partition}:{first}-{last}"
