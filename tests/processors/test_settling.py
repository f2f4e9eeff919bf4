"""Reports that wait for their commit: how many, and until when."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import polars as pl
from faust.types import TP
from spanloom_processors.commits import Commits, Point
from spanloom_processors.settling import Settling
from spanloom_processors.spans import Report

PARTITION = TP("llm.spans", 0)


def report(offset: int | None, dropped: int = 0) -> Report:
    """A report that counts drops, or nothing."""
    safe = None if offset is None else SimpleNamespace(offset=offset, frontier=0, log_clock=0, topic_id="t")
    said: Any = SimpleNamespace(closed=pl.DataFrame(), safe=safe)
    held: Any = SimpleNamespace(pricing=None)
    return Report(PARTITION, held, said, [], Counter(full=dropped) if dropped else Counter(), "")


def committed(point: Point | None) -> Commits:
    commits = Commits()
    if point is not None:
        commits.known({PARTITION: point})
    return commits


def waiting(settling: Settling) -> int:
    return sum(map(len, settling._waiting.values()))


def test_a_partition_that_is_empty_keeps_nothing_waiting() -> None:
    settling = Settling()
    for _ in range(1000):
        settling.wait(report(None))
        assert settling.settled(committed(None)) == []
    assert waiting(settling) == 0


def test_while_nothing_can_be_committed_what_counts_nothing_takes_the_place_of_its_like() -> None:
    settling = Settling()
    settling.wait(report(1, dropped=5))
    for offset in range(2, 1000):
        settling.wait(report(offset))
    assert waiting(settling) == 2


def test_a_count_is_settled_by_the_point_of_a_later_report_that_counts_nothing() -> None:
    settling = Settling()
    first, later = report(1, dropped=5), report(3)
    settling.wait(first)
    settling.wait(report(2))
    settling.wait(later)
    assert settling.settled(committed(None)) == []
    assert sum(each.dropped.total() for each in settling.settled(committed(later.point))) == 5
    assert waiting(settling) == 0


def test_a_count_is_settled_once_by_its_own_point() -> None:
    settling = Settling()
    first = report(1, dropped=5)
    settling.wait(first)
    settling.wait(report(2))
    assert [each.dropped.total() for each in settling.settled(committed(first.point))] == [5]
    assert settling.settled(committed(first.point)) == []
