"""What each life of a producer made, and where it went."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.oracle.spans import SHORT, Batch


@dataclass
class Epoch:
    """One life of a producer; counts of spans, but of `duplicates` and `gaps`, which count messages."""

    produced: int = 0
    stored: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    shed: dict[str, int] = field(default_factory=dict)
    """stored without a part of theirs, by part"""
    given_up: set[int] = field(default_factory=set)
    """sequence numbers"""
    recovered: int = 0
    """spans that were given up for lost and are stored after all"""
    duplicates: int = 0
    gaps: int = 0
    """sequence numbers that neither came nor were given up"""
    closed: bool = False
    """it said its last word; if not, its tail is unknown"""

    @property
    def missing(self) -> int | None:
        """Spans lost without a reason; None: the tail is unknown."""
        unsettled = self.produced - self.stored - sum(self.dropped.values()) + self.recovered
        return unsettled if self.closed else None


def of_batches(batches: Iterable[Batch]) -> dict[tuple[str, int], Epoch]:
    """By (producer, epoch), of all messages that can be read."""
    messages: dict[tuple[str, int], dict[int, list[Batch]]] = defaultdict(lambda: defaultdict(list))
    for batch in batches:
        messages[batch["producer"][:SHORT], batch["epoch"]][batch["sequence"]].append(batch)
    return {life: _epoch(by_sequence) for life, by_sequence in messages.items()}


def _epoch(by_sequence: dict[int, list[Batch]]) -> Epoch:
    epoch = Epoch()
    for copies in by_sequence.values():
        epoch.stored += len(copies[0]["spans"])
        epoch.duplicates += len(copies) - 1
        for batch in copies:
            epoch.produced = max(epoch.produced, batch["made"])
            epoch.closed |= batch["last"]
            epoch.given_up.update(batch["given_up"])
            for less in batch.get("shed", ()):  # the first schema had none
                epoch.shed[less["part"]] = max(less["spans"], epoch.shed.get(less["part"], 0))
            for drop in batch["dropped"]:
                epoch.dropped[drop["reason"]] = max(drop["spans"], epoch.dropped.get(drop["reason"], 0))
    came = by_sequence.keys()
    epoch.recovered = sum(len(by_sequence[number][0]["spans"]) for number in epoch.given_up & came)
    epoch.gaps = len(set(range(max(came) + 1)) - came - epoch.given_up)
    return epoch
