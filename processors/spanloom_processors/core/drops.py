"""What producers say they dropped, each drop counted once whoever reads, and however often.

A header says what its producer's life (`epoch`) has dropped so far, by reason, in every partition that it writes to.
One partition counts it, `epoch % partitions`: the one in which the producer speaks about itself. What was said there
travels in the commit's metadata, so a worker that begins at a commit counts growth from there on.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections import Counter, OrderedDict
from hashlib import blake2b

import polars as pl

KNOWN = 10_000
"""Lives and reasons that are remembered; of those beyond, the longest unheard is forgotten."""
METADATA_BYTES = 3_800
"""Of them, the last heard that fit into a commit (Kafka takes 4096 bytes): at least 130, usually 250 and more.

Others would be counted anew after a restart, should they be heard again.
"""
REASON = 256  # characters


class Drops:
    """What was said so far in one partition of so many. `metadata`: what `encode` said at the last commit."""

    def __init__(self, partition: int, partitions: int, metadata: str = "") -> None:
        self._partition, self._partitions = partition, partitions
        self._so_far: OrderedDict[str, int] = OrderedDict(_entries(metadata))
        self._grown: Counter[str] = Counter()

    def hear(self, headers: pl.DataFrame) -> None:
        """Read headers of messages of the partition, in order: `epoch` and `dropped`."""
        said = headers.filter(pl.col("dropped").list.len() > 0)
        if said.is_empty():
            return
        last = said.group_by("epoch", maintain_order=True).agg(pl.col("dropped").last())
        for epoch, reasons in last.iter_rows():
            if epoch % self._partitions == self._partition:
                for each in reasons:
                    self._said(epoch, each["reason"][:REASON], each["spans"])

    def _said(self, epoch: int, reason: str, so_far: int) -> None:
        name = _name(epoch, reason)
        before = self._so_far.pop(name, 0)
        self._so_far[name] = max(so_far, before)
        if so_far > before:
            self._grown[reason] += so_far - before
        if len(self._so_far) > KNOWN:
            self._so_far.popitem(last=False)

    def grown(self) -> Counter[str]:
        """Spans dropped that were not told by this before, by reason."""
        grown, self._grown = self._grown, Counter()
        return grown

    def encode(self) -> str:
        """What a commit says: a replay from it, and who goes on behind it, counts nothing that was heard twice."""
        kept: list[str] = []
        size = 0
        for name, so_far in reversed(self._so_far.items()):
            entry = f"{name}:{so_far}"
            size += len(entry) + 1
            if size > METADATA_BYTES:
                break
            kept.append(entry)
        return ",".join(reversed(kept))


def _name(epoch: int, reason: str) -> str:
    """A life and a reason in eight characters."""
    return urlsafe_b64encode(blake2b(f"{epoch} {reason}".encode(), digest_size=6).digest()).decode()


def _entries(metadata: str) -> list[tuple[str, int]]:
    found = [entry.partition(":") for entry in metadata.split(",")]
    return [(name, int(so_far)) for name, _, so_far in found if so_far.isdecimal()]
