"""What a partition says about panes."""

from __future__ import annotations

import pytest
from spanloom_processors.core import panes
from spanloom_processors.core.bounds import Bounds
from spanloom_processors.core.partition import Partition
from spanloom_processors.core.revisions import Revision

T0 = 1_700_000_000_000


@pytest.fixture
def fold(make_frames):
    def fold(partition, *messages):
        partition.fold(*make_frames(messages))
        return partition.emit()

    return fold


def spans_by(emission, *columns):
    return {tuple(row[name] for name in columns): row["spans"] for row in emission.panes.iter_rows(named=True)}


def test_a_span_belongs_to_the_pane_it_ended_in_whenever_it_started(fold, make_span):
    emission = fold(Partition("t", 0), (0, 10_500, [make_span("a", "1", 9_999), make_span("a", "2", 10_000, 5_000)]))
    assert spans_by(emission, "start") == {(T0,): 1, (T0 + 10_000,): 1}


def test_an_open_pane_is_told_again_only_when_it_changed(fold, make_span):
    partition = Partition("t", 0)
    assert fold(partition, (0, 100, [make_span("a", "1", 50)])).panes["final"].to_list() == [False]
    assert partition.emit().panes.is_empty()
    assert fold(partition, (1, 200, [make_span("a", "2", 60)])).panes["spans"].to_list() == [2]


def test_a_pane_closes_for_good_once_when_the_log_clock_is_its_lateness_past_its_end(fold, make_span):
    partition = Partition("t", 0)
    fold(partition, (0, 100, [make_span("a", "1", 50)]))
    assert fold(partition, (1, 12_999, [])).closed.is_empty()
    closed = fold(partition, (2, 13_000, [])).closed
    assert closed.select("start", "spans", "final").rows() == [(T0, 1, True)]
    assert fold(partition, (3, 50_000, [])).panes.is_empty()


def test_the_wall_clock_closes_nothing_for_good(fold, make_span):
    partition = Partition("t", 0)
    fold(partition, (0, 100, [make_span("a", "1", 50)]))
    partition.idle(T0 + 60_000)
    emission = partition.emit()
    assert (emission.closed.height, emission.log_clock, emission.progress) == (0, T0 + 100, T0 + 60_000)
    assert fold(partition, (1, 200, [make_span("a", "2", 60)])).panes["spans"].to_list() == [2]


def test_progress_never_goes_back(fold):
    partition = Partition("t", 0)
    partition.idle(T0 + 5_000)
    assert fold(partition, (0, 100, [])).progress == T0 + 5_000
    assert fold(partition, (1, 6_000, [])).progress == T0 + 6_000


def test_a_late_span_never_reopens_a_pane(fold, make_span):
    partition = Partition("t", 0)
    fold(partition, (0, 100, [make_span("a", "1", 50)]))
    emission = fold(partition, (1, 13_000, [make_span("a", "2", 60)]))
    assert spans_by(emission, "start", "late_offset", "final") == {(T0, None, True): 1, (T0, 1, False): 1}
    assert emission.late == 1
    assert partition.emit().panes.is_empty()


def test_lateness_is_judged_by_the_log_clock_of_the_spans_own_message(fold, make_span):
    poll = [(0, 12_999, [make_span("a", "1", 50)]), (1, 13_000, [make_span("a", "2", 50)])]
    assert spans_by(fold(Partition("t", 0), *poll), "late_offset") == {(None,): 1, (1,): 1}


def test_a_brokers_clock_that_steps_back_moves_no_log_clock(fold, make_span):
    poll = [(0, 13_000, []), (1, 2_000, [make_span("a", "1", 1_000)])]
    emission = fold(Partition("t", 0), *poll)
    assert (emission.log_clock, emission.late) == (T0 + 13_000, 1)


def test_a_span_from_the_future_is_in_no_pane_and_counts_as_skew(fold, make_span):
    poll = [(0, 100, [make_span("a", "1", 5_100), make_span("a", "2", 5_101)])]
    emission = fold(Partition("t", 0), *poll)
    assert spans_by(emission, "late_offset") == {(None,): 1, (0,): 1}
    assert (emission.skewed, emission.late) == (1, 0)


def test_a_span_counts_once_in_a_pane(fold, make_span):
    partition = Partition("t", 0)
    fold(partition, (0, 100, [make_span("a", "1", 50), make_span("a", "1", 50), make_span("b", "1", 50)]))
    emission = fold(partition, (1, 200, [make_span("a", "1", 50), make_span("a", "2", 50)]))
    assert emission.panes["spans"].to_list() == [3]
    assert emission.duplicates == 2


def test_keys_past_the_cap_go_to_other_in_the_order_of_the_log(fold, make_span):
    partition = Partition("t", 0, bounds=Bounds(pane_keys=2))
    tenants = ["a", "b", "c", "b", "d"]
    spans = [make_span("a", str(n), 50, tenant=tenant) for n, tenant in enumerate(tenants)]
    emission = fold(partition, (0, 100, spans))
    assert spans_by(emission, "tenant", "service", "kind", "request") == {
        ("a", "chat", "llm", False): 1,
        ("b", "chat", "llm", False): 2,
        ("other", "other", "other", False): 2,
    }
    assert emission.overflow["pane_keys"] == 2


def test_score_names_past_the_cap_go_to_other(fold, make_span):
    spans = [make_span("a", str(n), 50, scores=[{"name": name, "value": 0.5}]) for n, name in enumerate("xyz")]
    emission = fold(Partition("t", 0, bounds=Bounds(pane_labels=2)), (0, 100, spans))
    assert [(each["name"], each["sum"]) for each in emission.panes["scores"][0]] == [
        ("other", 500_000),
        ("x", 500_000),
        ("y", 500_000),
    ]
    assert emission.overflow["pane_labels"] == 1


def test_an_unknown_cost_is_not_zero_but_counted(fold, make_span):
    spans = [make_span("a", "1", 50, cost=None, cost_status="unpriced"), make_span("a", "2", 50, cost=7)]
    row = fold(Partition("t", 0), (0, 100, spans)).panes.row(0, named=True)
    assert (row["cost"], row["unpriced"], row["spans"]) == (7, 1, 2)


def test_the_worst_spans_are_kept_by_value_then_span_id(fold, make_span):
    spans = [make_span("a", name, 50, ms) for name, ms in [("d", 9), ("c", 9), ("b", 9), ("a", 9), ("e", 10)]]
    worst = fold(Partition("t", 0), (0, 100, spans)).panes["worst"][0]
    assert [each["span_id"] for each in worst] == ["e", "a", "b"]
    assert {each["why"] for each in worst} == {"slow"}


def test_pane_rows_have_the_columns_of_the_schema_also_when_there_are_none(fold, make_span):
    some = fold(Partition("t", 0), (0, 100, [make_span("a", "1", 50)])).panes
    assert dict(some.schema) == panes.SCHEMA == dict(Partition("t", 0).emit().panes.schema)


def test_a_pane_is_of_the_revision_in_effect_at_its_start(fold, make_span):
    partition = Partition("t", 0, revisions=[Revision(1, 0), Revision(2, T0 + 10_000)])
    emission = fold(partition, (0, 10_500, [make_span("a", "1", 9_999), make_span("a", "2", 10_000)]))
    assert {row["start"]: row["revision"] for row in emission.panes.iter_rows(named=True)} == {T0: 1, T0 + 10_000: 2}
