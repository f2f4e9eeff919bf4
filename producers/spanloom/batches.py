"""Encoded spans on their way into messages, and out of one again that was too large for the broker. Pure."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from spanloom.trace import Receipt, Resource
from spanloom.wire import END

Place = tuple[int, Resource | None]
"""Partition, and whose spans."""


@dataclass(slots=True)
class Batch:
    """Encoded spans of one place that wait for their header."""

    spans: list[bytes] = field(default_factory=list)
    size: int = 0
    receipts: list[Receipt | None] = field(default_factory=list)
    """Of each span."""

    def add(self, span: bytes, receipt: Receipt | None) -> None:
        """Take a span more."""
        self.spans.append(span)
        self.size += len(span)
        self.receipts.append(receipt)


class Sent(NamedTuple):
    """What is remembered of a batch until its message's fate is known; the message itself holds the spans."""

    place: Place
    sizes: list[int]
    """Of each span."""
    receipts: list[Receipt | None]
    alone: bool
    """Nothing else is under way: librdkafka cannot put others beside it into a batch, which the limit is about."""

    @property
    def goes_on(self) -> bool:
        """Whether something else can be tried if its message is too large."""
        return len(self.sizes) > (1 if self.alone else 0)

    def settle(self, reason: str | None) -> None:
        """Tell who waits for its spans."""
        for receipt, spans in Counter(receipt for receipt in self.receipts if receipt is not None).items():
            receipt.settle(spans, reason)

    def again(self, message: bytes) -> Iterator[Batch]:
        """Yield what is to be sent in its place, alone: the same batch, or, where it was alone, its halves."""
        start = len(message) - len(END) - sum(self.sizes)
        batch = Batch()
        half = (len(self.sizes) + 1) // 2 if self.alone else len(self.sizes)
        for size, receipt in zip(self.sizes, self.receipts, strict=True):
            batch.add(message[start : start + size], receipt)
            start += size
            if len(batch.spans) == half:
                yield batch
                batch = Batch()
        if batch.spans:
            yield batch
