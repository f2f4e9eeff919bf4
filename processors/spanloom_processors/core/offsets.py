"""What a commit says beside its offset, so that a replay from there emits the same panes and traces."""

from __future__ import annotations

from typing import NamedTuple

FORMAT = "1"
DROPS = "drops="


class SafePoint(NamedTuple):
    """The first offset still needed, and what a replay from it cannot know.

    `frontier`: end (epoch ms) of the last pane closed for good when this was taken; a replay tells nothing of panes up
    to it. `log_clock`: the partition's log clock (epoch ms) before `offset`. `topic_id`: whose offsets these are.
    """

    offset: int
    frontier: int
    log_clock: int
    topic_id: str


def encode(point: SafePoint, drops: str = "") -> str:
    """The metadata of a commit of `point.offset` (Kafka allows 4096 bytes). `drops`: what `Drops.encode` says."""
    told = f"{FORMAT} {point.frontier} {point.log_clock} {point.topic_id}"
    return f"{told} {DROPS}{drops}" if drops else told


def decode(offset: int, metadata: str | None) -> SafePoint | None:
    """The safe point of a committed offset; None where the metadata is missing or was not written by `encode`."""
    fields = (metadata or "").split(" ")
    if len(fields) == 5 and fields[4].startswith(DROPS):
        del fields[4]
    if len(fields) != 4 or fields[0] != FORMAT or not fields[3]:
        return None
    try:
        return SafePoint(offset, int(fields[1]), int(fields[2]), fields[3])
    except ValueError:
        return None


def drops(metadata: str | None) -> str:
    """What a commit says for `Drops`; the drops of producers are theirs, whatever became of the topic."""
    fields = (metadata or "").split(" ")
    return fields[4].removeprefix(DROPS) if decode(0, metadata) and len(fields) == 5 else ""
