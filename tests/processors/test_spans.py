"""Gaps between the polls of a partition: lost to retention, or nothing."""

from types import SimpleNamespace

import pytest
from faust.types import TP
from spanloom_processors.assignment import Assigned
from spanloom_processors.commits import Point
from spanloom_processors.consumer import Poll
from spanloom_processors.core import offsets
from spanloom_processors.spans import Spans
from spanloom_schemas.prices.book import Book

PARTITION = TP("llm.spans", 0)


def poll(*offsets: int) -> Poll:
    records = [SimpleNamespace(offset=offset, timestamp=1_000_000, value=b"", key=None) for offset in offsets]
    return Poll(PARTITION, records, offsets[-1] + 1)


@pytest.fixture
def spans() -> Spans:
    spans = Spans(Book.load())
    spans.assign(PARTITION, Assigned("id", 1, None, 0, 100))
    spans.fold(poll(0, 1, 2), [])
    return spans


def emission(spans: Spans):
    return next(spans.report(lambda tp, offset: None, 0)).emission


def test_a_poll_that_goes_on_where_the_last_one_ended_skips_nothing(spans):
    assert not spans.skips(poll(3, 4))
    assert not spans.skips(poll(2, 3))
    assert spans.skips(poll(4))


@pytest.mark.parametrize("log_start", [0, 2, 3])
def test_a_gap_inside_the_log_is_no_loss(spans, log_start):
    spans.fold(poll(7, 8), [], log_start)
    found = emission(spans)
    assert (found.lost, found.next_offset) == (0, 9)


@pytest.mark.parametrize(("log_start", "lost"), [(5, 2), (7, 4), (90, 4)])
def test_what_lies_before_the_log_s_beginning_is_lost(spans, log_start, lost):
    spans.fold(poll(7, 8), [], log_start)
    found = emission(spans)
    assert (found.lost, found.next_offset) == (lost, 9)


def resumed(committed: Point, prices: str) -> Spans:
    spans = Spans(Book([], [], prices))
    spans.assign(PARTITION, Assigned("id", 1, committed, 0, 100))
    return spans


def point_of(spans: Spans, committed: Point | None = None) -> Point:
    (report,) = spans.report(lambda tp, offset: None, 0, lambda tp: committed)
    assert report.point is not None
    return report.point


def test_a_new_price_book_is_announced_before_anything_is_told_and_makes_a_higher_revision():
    first = Spans(Book([], [], "old"))
    first.assign(PARTITION, Assigned("id", 1, None, 0, 100))
    first.fold(poll(0, 1), [])
    committed = point_of(first)
    assert list(resumed(committed, "old").announcements()) == []

    spans = resumed(committed, "new")
    ((tp, announced),) = spans.announcements()
    assert (tp, announced.offset) == (PARTITION, committed.offset)
    assert offsets.decode(*announced) == offsets.decode(*committed)
    assert list(spans.report(lambda tp, offset: None, 0, lambda tp: committed)) == []
    (report,) = spans.report(lambda tp, offset: None, 0, lambda tp: announced)
    assert (report.held.source.revision, report.held.source.price_version) == (2, "new")
    assert list(spans.announcements()) == []

    again = resumed(announced, "old")  # nobody goes back to a number
    ((_, back),) = again.announcements()
    assert point_of(again, back) == back
    assert again._held[PARTITION].source.revision == 3
