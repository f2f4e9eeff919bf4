"""What is counted once: it waits until the broker has the commit behind it.

A worker that loses its place has told what its successor, which begins at the last commit, will tell again. Rows are
upserts and do not mind; a counter would count twice. So whatever a replay tells again is counted by the worker whose
commit makes the replay begin behind it. One that dies between the commit and the next scrape takes its count with it.
"""

from collections import deque

from faust.types import TP

from spanloom_processors.commits import Commits, Point
from spanloom_processors.spans import Report


class Settling:
    """Reports in the order in which they were told, each with the point to commit once it is stored."""

    def __init__(self) -> None:
        self._waiting: dict[TP, deque[tuple[Point | None, Report]]] = {}

    def wait(self, report: Report) -> None:
        """Keep a report; its messages are stored, and its point is declared.

        One that counts nothing is kept only for its point, behind others, and in the place of one like it: an empty
        partition, and a broker that is away for hours, make one a second.
        """
        waiting = self._waiting.setdefault(report.tp, deque())
        if not _counts(report):
            if not waiting:
                return
            if not _counts(waiting[-1][1]):
                waiting.pop()
        waiting.append((report.point, report._replace(messages=[])))

    def settled(self, commits: Commits) -> list[Report]:
        """The reports that no replay tells again, each once: the broker has their point, or a later one."""
        return [report for tp, waiting in self._waiting.items() for report in _until(commits.committed(tp), waiting)]

    def clear(self) -> None:
        """All partitions are taken away: who gets them tells the rest."""
        self._waiting.clear()


def _counts(report: Report) -> bool:
    return bool(report.emission.closed.height or report.dropped)


def _until(point: Point | None, waiting: "deque[tuple[Point | None, Report]]") -> list[Report]:
    """Take reports up to the last one that has this point."""
    last = max((at for at, (own, _) in enumerate(waiting) if own == point), default=-1) if point else -1
    return [waiting.popleft()[1] for _ in range(last + 1)]
