"""Log time."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from spanloom_processors.core.clock import LATENESS_MS, PANE_MS, frontier, pane_start, tick

TIMES = st.lists(st.integers(0, 10**6), min_size=1, max_size=30)


@given(TIMES, st.integers(0, 10**6), st.integers(0, 30))
def test_the_clock_is_the_running_maximum_however_the_log_is_cut(times, before, cut):
    messages = pl.DataFrame({"offset": range(len(times)), "log_time": times}, schema_overrides={"offset": pl.Int64})
    whole = tick(messages, before)
    head = tick(messages[:cut], before)
    tail = tick(messages[cut:], head["clock"][-1] if head.height else before)
    assert pl.concat([head, tail]).rows() == whole.rows()
    assert whole["clock"].to_list() == [max(before, *times[: n + 1]) for n in range(len(times))]
    assert whole["before"].to_list() == [before, *whole["clock"].to_list()[:-1]]


@given(st.integers(0, 10**7))
def test_a_pane_is_closed_once_the_clock_is_its_lateness_past_its_end(clock):
    end = frontier(clock)
    assert end % PANE_MS == 0
    assert end + LATENESS_MS <= clock < end + PANE_MS + LATENESS_MS


def test_a_pane_begins_at_its_start_and_ends_before_the_next():
    ends = pl.DataFrame({"end": [0, 9_999_999_999, 10_000_000_000, -1]})
    assert ends.select(pane_start(pl.col("end"))).to_series().to_list() == [0, 0, 10_000, -10_000]
