"""What a commit says beside its offset, so that a replay from there emits the same panes and traces."""

from __future__ import annotations

from typing import NamedTuple

FORMAT = "1"
PRICES, DROPS = "prices=", "drops="


class SafePoint(NamedTuple):
    """The first offset still needed, and what a replay from it cannot know.

    `frontier`: end (epoch ms) of the last pane closed for good when this was taken; a replay tells nothing of panes up
    to it. `log_clock`: the partition's log clock (epoch ms) before `offset`. `topic_id`: whose offsets these are.
    """

    offset: int
    frontier: int
    log_clock: int
    topic_id: str


class Pricing(NamedTuple):
    """Which price book a partition's panes are priced by, and how many times that was another one before.

    Every change makes a higher revision: of panes that are open then, a reader takes the ones of the new book, whole.
    """

    version: str
    changes: int = 0

    def under(self, version: str) -> Pricing:
        """What comes after this where the book is of this version."""
        return self if version == self.version else Pricing(version, self.changes + 1)


def encode(point: SafePoint, pricing: Pricing | None = None, drops: str = "") -> str:
    """The metadata of a commit of `point.offset` (Kafka allows 4096 bytes). `drops`: what `Drops.encode` says."""
    told = f"{FORMAT} {point.frontier} {point.log_clock} {point.topic_id}"
    if pricing:
        told += f" {PRICES}{pricing.changes}:{pricing.version}"
    return f"{told} {DROPS}{drops}" if drops else told


def decode(offset: int, metadata: str | None) -> SafePoint | None:
    """The safe point of a committed offset; None where the metadata is missing or was not written by `encode`."""
    fields = [field for field in (metadata or "").split(" ") if not field.startswith((PRICES, DROPS))]
    if len(fields) != 4 or fields[0] != FORMAT or not fields[3]:
        return None
    try:
        return SafePoint(offset, int(fields[1]), int(fields[2]), fields[3])
    except ValueError:
        return None


def pricing(metadata: str | None) -> Pricing | None:
    """By which price book all panes told before a commit were priced; None where it does not say."""
    changes, _, version = _said(metadata, PRICES).partition(":")
    return Pricing(version, int(changes)) if version and changes.isdecimal() else None


def drops(metadata: str | None) -> str:
    """What a commit says for `Drops`; the drops of producers are theirs, whatever became of the topic."""
    return _said(metadata, DROPS) if decode(0, metadata) else ""


def _said(metadata: str | None, name: str) -> str:
    """What a commit's metadata says under a name; nothing where it does not."""
    said = (field.removeprefix(name) for field in (metadata or "").split(" ") if field.startswith(name))
    return next(said, "")
