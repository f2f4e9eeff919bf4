"""The producer's side of the ledger: spans made = spans delivered + spans dropped, by reason. Pure.

Every message has a sequence number of the epoch. One whose delivery is given up leaves a gap that the next headers
explain (`given_up`) until one of them is known to be in the log; its spans count as dropped.
"""

from collections import Counter
from typing import NamedTuple


class Message(NamedTuple):
    """What is on its way to the broker."""

    spans: int
    size: int
    explains: int
    """Gaps that its header explains: the first of `given_up` at that time."""


class Ledger:
    """Counts of one epoch."""

    def __init__(self) -> None:
        self.popped = 0
        """Spans taken from the buffer."""
        self.refused: dict[str, int] = {}
        """Spans that never got into the buffer, so far, by reason."""
        self.shed: dict[str, int] = {}
        """Spans that went without a part of theirs, so far, by part."""
        self.lost: Counter[str] = Counter()
        """Spans taken from the buffer, but dropped, by reason."""
        self.given_up: list[int] = []
        self._explained = 0
        self._next = 0
        self.under_way: dict[int, Message] = {}

    @property
    def made(self) -> int:
        """Return spans made so far."""
        return self.popped + sum(self.refused.values())

    @property
    def dropped(self) -> dict[str, int]:
        """Return spans dropped so far, by reason."""
        total = self.lost + Counter(self.refused)
        return {reason: total[reason] for reason in sorted(total)}

    @property
    def bytes_under_way(self) -> int:
        """Return the size of all messages whose fate is not known."""
        return sum(message.size for message in self.under_way.values())

    @property
    def gaps(self) -> int:
        """Return how many messages were given up or taken back so far: it only grows."""
        return self._explained + len(self.given_up)

    def next_sequence(self) -> int:
        """Return a new message's number."""
        self._next += 1
        return self._next - 1

    def sent(self, sequence: int, spans: int, size: int) -> None:
        """Note that a message went off, with a header that explains all gaps known now."""
        self.under_way[sequence] = Message(spans, size, self.gaps)

    def delivered(self, sequence: int) -> None:
        """Note that a message is in the log: the gaps it explains need no more explaining."""
        explains = self.under_way.pop(sequence).explains
        del self.given_up[: max(0, explains - self._explained)]
        self._explained = max(self._explained, explains)

    def give_up(self, sequence: int, reason: str) -> None:
        """Note that a message's delivery was given up."""
        self.lost[reason] += self.under_way.pop(sequence).spans
        self.given_up.append(sequence)

    def take_back(self, sequence: int) -> None:
        """Note that a message is not in the log, and that its spans are to be sent in others."""
        del self.under_way[sequence]
        self.given_up.append(sequence)
