"""What may be committed, and where a partition resumes."""

from __future__ import annotations

import pytest
from spanloom_processors.core.offsets import SafePoint
from spanloom_processors.core.partition import Partition

T0 = 1_700_000_000_000


@pytest.fixture
def fold(make_frames):
    def fold(partition, *messages):
        partition.fold(*make_frames(messages))
        return partition.emit()

    return fold


def test_the_safe_point_is_the_first_offset_an_open_pane_or_trace_needs(fold, make_span):
    partition = Partition("t", 0)
    held = fold(partition, (3, 100, []), (4, 300, [make_span("a", "1", 50)]), (5, 400, [])).safe
    assert held == SafePoint(4, T0 - 10_000, T0 + 100, "t")
    assert fold(partition, (6, 13_000, [])).safe == SafePoint(7, T0 + 10_000, T0 + 13_000, "t")


def test_an_open_trace_holds_the_safe_point_after_its_panes_have_closed(fold, make_span):
    partition = Partition("t", 0)
    fold(partition, (0, 100, [make_span("a", "1", 50, parent_id="root")]))
    assert fold(partition, (1, 13_000, [])).safe == SafePoint(0, T0 + 10_000, 0, "t")
    assert fold(partition, (2, 30_100, [])).safe == SafePoint(3, T0 + 20_000, T0 + 30_100, "t")


def test_what_was_folded_but_not_emitted_is_not_safe(make_frames, make_span):
    partition = Partition("t", 0)
    partition.fold(*make_frames([(0, 100, [make_span("a", "1", 50)]), (1, 50_000, [])]))
    assert partition.safe() is None
    partition.emit()
    assert partition.safe() == SafePoint(2, T0 + 40_000, T0 + 50_000, "t")


def test_an_emission_belongs_to_what_is_folded_once_however_often_it_is_delivered(fold, make_span):
    partition = Partition("t", 0)
    poll = [(0, 100, [make_span("a", "1", 50)]), (1, 200, [make_span("a", "2", 60)])]
    fold(partition, *poll)
    emission = fold(partition, *poll, (2, 300, [make_span("a", "3", 70)]))
    assert (emission.panes["spans"].to_list(), emission.duplicates, emission.next_offset) == ([3], 0, 3)


def test_a_replay_tells_nothing_of_panes_that_were_closed_for_good(fold, make_span):
    log = [(0, 100, [make_span("a", "1", 50, parent_id="x"), make_span("b", "1", 50)])]
    log += [(1, 9_000, [make_span("b", "2", 8_900)]), (2, 13_500, [make_span("b", "3", 13_400)])]
    safe = fold(Partition("t", 0), *log).safe
    assert (safe.offset, safe.frontier) == (0, T0 + 10_000)
    replayed = fold(Partition("t", 0, resume=safe), *log)
    assert replayed.panes["start"].to_list() == [T0 + 10_000]
    assert (replayed.late, replayed.silenced) == (0, 0)


def test_a_replay_judges_lateness_by_the_log_clock_of_the_safe_point(fold, make_span):
    log = [(0, 40_000, []), (1, 30_000, [make_span("a", "1", 29_000)])]
    partition = Partition("t", 0)
    safe = fold(partition, log[0]).safe
    assert fold(partition, log[1]).late == 1
    assert fold(Partition("t", 0, resume=safe), log[1]).late == 1


def test_a_recreated_topic_is_read_from_its_beginning(fold, make_span):
    old = SafePoint(500, T0 + 90_000, T0 + 100_000, "old")
    partition = Partition("new", 0, resume=old)
    assert partition.next_offset == 0
    assert fold(partition, (0, 100, [make_span("a", "1", 50)])).panes["spans"].to_list() == [1]


def test_where_retention_took_messages_panes_are_silent_until_no_lost_span_can_be_theirs(fold, make_span):
    partition = Partition("t", 0, resume=SafePoint(5, T0, T0 + 14_000, "t"), log_start=9)
    assert partition.next_offset == 9
    spans = [make_span("a", str(n), end) for n, end in enumerate([31_900, 36_900, 39_999, 40_000])]
    emission = fold(partition, (9, 32_000, spans[:2]), (10, 41_000, spans[2:]))
    assert emission.panes["start"].to_list() == [T0 + 40_000]
    assert (emission.lost, emission.silenced) == (4, 3)
    assert emission.safe.frontier == T0 + 40_000


def test_a_gap_while_reading_silences_the_open_panes_too(fold, make_span):
    partition = Partition("t", 0)
    fold(partition, (0, 100, [make_span("a", "1", 50)]))
    partition.trim(7)
    emission = fold(partition, (7, 9_000, [make_span("a", "2", 8_000)]))
    assert emission.panes.is_empty()
    assert (emission.lost, emission.silenced) == (6, 2)


def test_after_retention_nothing_new_is_committed_before_a_message_was_read():
    old = SafePoint(5, T0, T0 + 14_000, "t")
    assert Partition("t", 0, resume=old, log_start=9).emit().safe == old
    assert Partition("t", 0, log_start=9).emit().safe is None


def test_an_empty_partition_has_nothing_to_commit():
    assert Partition("t", 0).emit().safe is None
