"""What a partition says about traces."""

from __future__ import annotations

import pytest
from spanloom_processors.core import traces
from spanloom_processors.core.bounds import Bounds
from spanloom_processors.core.partition import Partition

T0 = 1_700_000_000_000


@pytest.fixture
def fold(make_frames):
    def fold(partition, *messages):
        partition.fold(*make_frames(messages))
        return told(partition.emit())

    return fold


def told(emission):
    return emission.traces.select("trace_id", "first_offset", "spans", "state", "reason").rows()


@pytest.fixture
def root(make_span):
    return make_span("a", "root", 50, 40)


@pytest.fixture
def child(make_span):
    return lambda name, end=40: make_span("a", name, end, 10, parent_id="root", kind="tool")


def test_a_trace_is_told_when_its_root_has_ended_and_it_was_quiet(fold, root, child):
    partition = Partition("t", 0)
    assert fold(partition, (0, 100, [child("1")]), (1, 200, [root])) == []
    assert fold(partition, (2, 2_199, [])) == []
    assert fold(partition, (3, 2_200, [])) == [("a", 0, 2, "complete", None)]
    assert fold(partition, (4, 90_000, [])) == []


def test_quiet_counts_from_the_last_span(fold, root, child):
    partition = Partition("t", 0)
    assert fold(partition, (0, 100, [root]), (1, 2_000, [child("1")]), (2, 3_999, [])) == []
    assert fold(partition, (3, 4_000, [])) == [("a", 0, 2, "complete", None)]


def test_a_trace_without_its_root_is_told_as_partial_when_it_was_idle(fold, child):
    partition = Partition("t", 0)
    assert fold(partition, (0, 100, [child("1")]), (1, 30_099, [])) == []
    assert fold(partition, (2, 30_100, [])) == [("a", 0, 1, "partial", "no_root")]


def test_an_entry_span_of_a_second_service_is_not_the_root(fold, make_span):
    entry = make_span("a", "entry", 50, 10, parent_id="call", parent_remote=True, request=True)
    call = make_span("a", "call", 60, 30, parent_id="root")
    root = make_span("a", "root", 5_000, 4_990)
    partition = Partition("t", 0)
    assert fold(partition, (0, 100, [entry]), (1, 110, [call]), (2, 5_050, [root])) == []
    assert fold(partition, (3, 7_050, [])) == [("a", 0, 3, "complete", None)]


def test_feedback_without_a_parent_is_no_root(fold, make_span):
    partition = Partition("t", 0)
    fold(partition, (0, 100, [make_span("a", "thumbs", 50, 0, kind="feedback")]))
    assert fold(partition, (1, 20_000, [])) == []
    assert [row[3:] for row in fold(partition, (2, 30_100, []))] == [("partial", "no_root")]


def test_what_comes_after_a_trace_was_told_is_another_row(fold, root, child):
    partition = Partition("t", 0)
    fold(partition, (0, 100, [root]))
    assert fold(partition, (1, 2_100, [child("late")])) == [("a", 0, 1, "complete", None)]
    assert fold(partition, (2, 32_100, [])) == [("a", 1, 1, "partial", "no_root")]


def test_a_trace_is_cut_inside_a_poll_where_the_log_cuts_it(fold, root, child):
    poll = [(0, 100, [root]), (1, 2_100, [child("late")]), (2, 40_000, [])]
    assert sorted(fold(Partition("t", 0), *poll)) == [("a", 0, 1, "complete", None), ("a", 1, 1, "partial", "no_root")]


def test_a_span_counts_once_in_a_trace(fold, root, child):
    poll = [(0, 100, [root, child("1")]), (1, 200, [child("1"), root]), (2, 9_000, [])]
    assert fold(Partition("t", 0), *poll) == [("a", 0, 2, "complete", None)]


def test_an_idle_partition_tells_a_trace_early_and_keeps_it_open(fold, root, child):
    partition = Partition("t", 0)
    fold(partition, (0, 100, [root]))
    partition.idle(T0 + 2_100)
    assert told(partition.emit()) == [("a", 0, 1, "complete", None)]
    assert told(partition.emit()) == []
    assert fold(partition, (1, 2_000, [child("1")]), (2, 4_000, [])) == [("a", 0, 2, "complete", None)]


def test_what_was_told_early_is_not_told_again_unchanged(fold, root):
    partition = Partition("t", 0)
    fold(partition, (0, 100, [root]))
    partition.idle(T0 + 2_100)
    partition.emit()
    assert fold(partition, (1, 2_500, [])) == []


def test_a_trace_that_never_rests_is_cut_at_its_age(fold, root, child):
    polls = [(n, 100 + n * 1_500, [root if n == 0 else child(str(n))]) for n in range(21)]
    assert fold(Partition("t", 0), *polls) == [("a", 0, 20, "partial", "bound_age")]


def test_a_trace_too_large_is_cut_and_counted_but_never_inside_a_message(fold, make_frames, root, child):
    partition = Partition("t", 0, bounds=Bounds(trace_spans=3))
    assert fold(partition, (0, 100, [root]), (1, 110, [child(str(n)) for n in range(4)])) == [
        ("a", 0, 5, "partial", "bound_spans")
    ]
    assert partition.emit().overflow["trace_spans"] == 5
    assert fold(partition, (2, 120, [child("x")]), (3, 30_120, [])) == [("a", 2, 1, "partial", "no_root")]


def test_a_trace_holds_back_no_more_than_the_bound_of_spans(fold, make_span, child):
    partition = Partition("t", 0, bounds=Bounds(held_spans=10))
    others = [make_span(f"other-{n}", "1", 50) for n in range(9)]
    assert fold(partition, (0, 100, [child("1"), *others])) == [("a", 0, 1, "partial", "no_root")]
    emission = partition.emit()
    assert emission.overflow["held_spans"] == 1


def test_trace_rows_have_the_columns_of_the_schema_also_when_there_are_none(make_frames, root):
    partition = Partition("t", 0)
    partition.fold(*make_frames([(0, 100, [root]), (1, 9_000, [])]))
    assert dict(partition.emit().traces.schema) == traces.SCHEMA == dict(Partition("t", 0).emit().traces.schema)
