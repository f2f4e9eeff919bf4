"""A trace told in several segments becomes one truth, summed up from its spans."""

from collections.abc import Iterable

import polars as pl
import pytest
from spanloom_schemas.frames import splice
from spanloom_schemas.frames.traces import summarise
from spanloom_sinks import amendments as amending
from spanloom_sinks.amendments import Amendments
from spanloom_sinks.lane import Lane
from spanloom_sinks.metrics import Metrics
from spanloom_sinks.rows.traces import rows
from spanloom_sinks.source import Source


class Progress:
    """Stands for the consumer: how far spans are stored, and where their log ends."""

    def __init__(self) -> None:
        self.stored, self.last = 0, 0

    def topic_id(self, topic: str) -> str:
        return "topic-id"

    def progress(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        return dict.fromkeys(partitions, self.stored)

    def end(self, topic: str, partition: int) -> int:
        return self.last


@pytest.fixture
def progress():
    return Progress()


@pytest.fixture
def amendments(store, progress):
    return Amendments(store, progress, Metrics())


LANE = Lane(Source("llm.traces", "traces-id", 0, 0), 0)
NOW = 1_700_000_000_000


@pytest.fixture
def tell(store, amendments):
    """Say, as the processors do, that `frame` holds the spans of a segment."""

    def told(frame: pl.DataFrame, offset: int, revision: int = 1, clock: int = NOW, partition: int = 0) -> None:
        header = {
            "topic": "llm.spans",
            "topic_id": "topic-id",
            "partition": partition,
            "revision": revision,
            "log_clock": clock,
            "sent": 0,
        }
        message = splice.encode("trace_batch", header, summarise(frame))
        found = rows(splice.decode("trace_batch", [(offset, clock, message)]), LANE.source)
        store.insert("traces", found)
        amendments.note(LANE, offset, found)

    return told


@pytest.fixture
def derived(book):
    from spanloom_schemas.frames.derive import derive
    from spanloom_schemas.frames.spans import flatten

    return lambda messages: derive(flatten(splice.decode("span_batch", messages)), book)


def summary(store, trace_id):
    return store.query(
        "SELECT spans, state, amended, toUnixTimestamp64Nano(start) AS start, duration, errors FROM trace_summaries "
        "WHERE trace_id = {id:String}",
        id=trace_id,
    ).rows()


def one_trace(traffic):
    """A root and a child of it, in two messages."""
    root = traffic.span(start=NOW * 10**6, end=NOW * 10**6 + 10_000_000)
    child = traffic.span(
        trace_id=root["trace_id"], parent_id=root["span_id"], kind="llm", status="error",
        start=NOW * 10**6 + 1_000_000, end=NOW * 10**6 + 30_000_000,
    )  # fmt: skip
    return root["trace_id"], (0, NOW, traffic.encoded([root])), (1, NOW, traffic.encoded([child], sequence=2))


def test_a_late_segment_amends_its_trace(store, fill, tell, amendments, derived, traffic):
    trace_id, first, second = one_trace(traffic)
    fill("llm.spans", [first, second])
    tell(derived([first]), 0)
    tell(derived([second]), 1)
    assert len(summary(store, trace_id)) == 2
    amendments.turn(now=100.0)
    assert summary(store, trace_id) == [(2, "complete", True, NOW * 10**6, 30_000_000, 1)]
    assert amendments.hold(LANE) is None


def test_it_waits_for_spans_that_are_still_on_their_way(store, fill, tell, amendments, progress, derived, traffic):
    trace_id, first, second = one_trace(traffic)
    progress.stored, progress.last = 1, 2
    fill("llm.spans", [first])
    tell(derived([first]), 7)
    tell(derived([second]), 8)
    amendments.turn(now=100.0)
    assert len(summary(store, trace_id)) == 2
    assert amendments.hold(LANE) == 7  # a crash now brings the segments again
    fill("llm.spans", [second])
    progress.stored = 2
    amendments.turn(now=102.0)
    assert [spans for spans, *_ in summary(store, trace_id)] == [2]
    assert amendments.hold(LANE) is None


def test_traces_of_several_partitions_wait_each_for_its_own(store, fill, tell, amendments, progress, derived, traffic):
    """One block may bring segments of several partitions, of which one is ready and one is not."""
    trace_id, first, second = one_trace(traffic)
    progress.stored, progress.last = 2, 2
    fill("llm.spans", [first, second])
    tell(derived([first]), 7)
    tell(derived([second]), 7)
    progress.last = 9
    amendments.note(LANE, 7, store.query("SELECT * FROM traces WHERE trace_id = {id:String}", id=trace_id))
    amendments.turn(now=100.0)
    progress.stored = 9
    amendments.turn(now=102.0)
    assert [spans for spans, *_ in summary(store, trace_id)] == [2]
    assert amendments.hold(LANE) is None


def test_a_trace_sent_twice_counts_once(store, fill, tell, amendments, derived, traffic):
    trace_id, first, second = one_trace(traffic)
    again = [(offset + 10, NOW, value) for offset, _, value in (first, second)]
    fill("llm.spans", [first, second])
    tell(derived([first, second]), 0)
    fill("llm.spans", again)
    tell(derived(again), 1)
    amendments.turn(now=100.0)
    assert [spans for spans, *_ in summary(store, trace_id)] == [2]


HOUR = 3_600_000


def test_in_a_backlog_a_trace_sent_twice_counts_once_though_another_partition_is_hours_ahead(
    store, fill, tell, amendments, derived, traffic
):
    _, ahead, _ = one_trace(traffic)
    tell(derived([ahead]), 0, clock=NOW + 5 * HOUR, partition=1)
    trace_id, first, second = one_trace(traffic)
    again = [(offset + 10, NOW, value) for offset, _, value in (first, second)]
    fill("llm.spans", [first, second])
    fill("llm.spans", again)
    tell(derived([first, second]), 0)
    tell(derived(again), 1)
    amendments.turn(now=100.0)
    assert [spans for spans, *_ in summary(store, trace_id)] == [2]


def test_a_whole_trace_sent_again_after_hours_counts_once(store, fill, tell, amendments, derived, traffic):
    trace_id, first, second = one_trace(traffic)
    again = [(offset + 10, NOW + 30 * HOUR, value) for offset, _, value in (first, second)]
    fill("llm.spans", [first, second])
    tell(derived([first, second]), 0)
    amendments.turn(now=100.0)
    fill("llm.spans", again)
    tell(derived(again), 1, clock=NOW + 30 * HOUR)
    amendments.turn(now=200.0)
    assert [(spans, amended) for spans, _, amended, *_ in summary(store, trace_id)] == [(2, True)]


def test_the_root_of_a_run_of_hours_joins_what_was_told_at_its_beginning(
    store, fill, tell, amendments, derived, traffic
):
    end = (NOW + 3 * HOUR) * 10**6
    root = traffic.span(start=NOW * 10**6, end=end)
    child = traffic.span(trace_id=root["trace_id"], parent_id=root["span_id"], kind="tool", end=NOW * 10**6 + 10**9)
    first, last = (0, NOW, traffic.encoded([child])), (9, NOW + 3 * HOUR, traffic.encoded([root], sequence=2))
    fill("llm.spans", [first, last])
    tell(derived([first]), 0, clock=NOW + 31_000)
    amendments.turn(now=50.0)
    tell(derived([last]), 1, clock=NOW + 3 * HOUR + 2_000)
    amendments.turn(now=100.0)
    assert [(spans, amended) for spans, _, amended, *_ in summary(store, root["trace_id"])] == [(2, True)]


def test_feedback_outside_of_its_segments_time_is_not_forgotten(store, fill, tell, amendments, derived, traffic):
    trace_id, first, second = one_trace(traffic)
    later = traffic.span(trace_id=trace_id, parent_id=None, kind="feedback", start=0, end=(NOW + 90_000) * 10**6)
    feedback = (2, NOW, traffic.encoded([later], sequence=3))
    fill("llm.spans", [first, second, feedback])
    tell(derived([first, feedback]), 0)
    tell(derived([second]), 1)
    amendments.turn(now=100.0)
    assert [spans for spans, *_ in summary(store, trace_id)] == [3]


def test_told_again_after_a_crash_an_amended_trace_stays_amended(store, fill, tell, amendments, derived, traffic):
    trace_id, first, second = one_trace(traffic)
    fill("llm.spans", [first, second])
    for _ in range(2):
        tell(derived([first]), 0)
        tell(derived([second]), 1)
        amendments.turn(now=100.0)
        amendments._at = 0.0
    assert [(spans, amended) for spans, _, amended, *_ in summary(store, trace_id)] == [(2, True)]


def test_traces_of_one_segment_are_left_alone(store, fill, tell, amendments, derived, traffic):
    trace_id, first, second = one_trace(traffic)
    fill("llm.spans", [first, second])
    tell(derived([first, second]), 0)
    amendments.turn(now=100.0)
    assert [(spans, amended) for spans, _, amended, *_ in summary(store, trace_id)] == [(2, False)]


def test_a_late_segment_among_thousands_of_traces_amends_its_trace(store, fill, tell, amendments, derived, traffic):
    """More trace ids than go into a URL, and more than ClickHouse takes in one form."""
    trace_id, first, second = one_trace(traffic)
    many = [traffic.span(start=NOW * 10**6, end=NOW * 10**6 + 10_000_000) for _ in range(5_000)]
    crowd = (2, NOW, traffic.encoded(many, sequence=3))
    fill("llm.spans", [first, second, crowd])
    tell(derived([first]), 0)
    tell(derived([second, crowd]), 1)
    amendments.turn(now=100.0)
    assert [(spans, amended) for spans, _, amended, *_ in summary(store, trace_id)] == [(2, True)]
    assert amendments.hold(LANE) is None


def test_a_trace_of_too_many_spans_stays_in_its_segments_and_others_are_summed_up_in_shares(
    store, fill, tell, amendments, derived, traffic, monkeypatch
):
    monkeypatch.setattr(amending, "SPANS_AT_ONCE", 4)
    huge = traffic.id(16)
    halves = [(n, NOW, traffic.encoded([traffic.span(trace_id=huge) for _ in range(3)], sequence=n)) for n in range(2)]
    others = [one_trace(traffic) for _ in range(5)]
    fill("llm.spans", halves)
    for half in halves:
        tell(derived([half]), half[0])
    for number, (_, first, second) in enumerate(others, 1):
        parts = [(offset + 10 * number, log_time, value) for offset, log_time, value in (first, second)]
        fill("llm.spans", parts)
        for part in parts:
            tell(derived([part]), part[0])
    amendments.turn(now=100.0)
    assert sorted(spans for spans, *_ in summary(store, huge)) == [3, 3]
    for trace_id, _, _ in others:
        assert [(spans, amended) for spans, _, amended, *_ in summary(store, trace_id)] == [(2, True)]
    assert amendments._metrics.unamended._value.get() == 1
    assert amendments.hold(LANE) is None


def test_traces_of_absurd_times_and_endless_names_are_amended_like_any_other(
    store, fill, tell, amendments, derived, traffic
):
    found = []
    for number in range(600):
        trace_id = f"{number:04}{traffic.id(2)}" + "é'" * 150
        spans = [traffic.span(trace_id=trace_id, start=-(2**63), end=2**63 - 1), traffic.span(trace_id=trace_id)]
        found += [(2 * number + at, NOW, traffic.encoded([span], sequence=at)) for at, span in enumerate(spans)]
    fill("llm.spans", found)
    tell(derived(found[::2]), 0)
    tell(derived(found[1::2]), 1)
    amendments.turn(now=100.0)
    frame = derived(found[:1])
    assert len(frame["trace_id"][0]) == 256
    assert [(spans, amended) for spans, _, amended, *_ in summary(store, frame["trace_id"][0])] == [(2, True)]
    assert amendments._metrics.amended._value.get() == 600
