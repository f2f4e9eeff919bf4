"""What may be committed: the offset and metadata that the application declared safe, and nothing else."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from faust.types import TP


class Point(NamedTuple):
    """What may be committed of a partition: the first offset still needed, and what a replay from it must know."""

    offset: int
    metadata: str = ""


class Commits:
    """Declared and committed points of the partitions assigned to this worker.

    Faust derives what it commits from the messages that were acknowledged; here acknowledgements play no part. A
    partition for which nothing was declared is never committed.
    """

    def __init__(self) -> None:
        self._declared: dict[TP, Point] = {}
        self._committed: dict[TP, Point] = {}
        self.made = self.refused = 0

    def declare(self, tp: TP, point: Point) -> None:
        """Everything derived from the messages before `point` is stored for good; a replay may start at it."""
        self._declared[tp] = point

    def declared(self, tp: TP) -> Point | None:
        """The last declared point of a partition."""
        return self._declared.get(tp)

    def committed(self, tp: TP) -> Point | None:
        """The last point that the broker took from this worker, or gave it on assignment."""
        return self._committed.get(tp)

    def pending(self) -> list[TP]:
        """Partitions whose declared point is not the committed one."""
        return [tp for tp, point in self._declared.items() if self._committed.get(tp) != point]

    def known(self, points: Mapping[TP, Point]) -> None:
        """The broker had these points when the partitions were assigned."""
        self._committed.update(points)

    def done(self, points: Mapping[TP, Point]) -> None:
        """The broker took these points."""
        self._committed.update(points)
        self.made += 1

    def forget(self, tps: Iterable[TP]) -> None:
        """These partitions belong to another worker now."""
        for tp in tps:
            self._declared.pop(tp, None)
            self._committed.pop(tp, None)
