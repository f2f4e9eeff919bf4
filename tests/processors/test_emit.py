from types import SimpleNamespace

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from spanloom_processors import emit
from spanloom_processors.core import panes
from spanloom_processors.emit import LIMIT_BYTES, Source
from spanloom_schemas.frames.splice import decode

TRACE_SCHEMA = {**decode("trace_batch", []).rows.drop("offset", "log_time", "position").schema, "revision": pl.Int32}
SOURCE = Source("llm.spans", "topic-id", 2, 4, 1, "prices-1")


def emission(**changes):
    nothing = {"panes": pl.DataFrame(schema=panes.SCHEMA), "traces": pl.DataFrame(schema=TRACE_SCHEMA)}
    facts = {"log_clock": 50_000, "progress": 51_000, "next_offset": 77, "overflow": {"pane_keys": 3}}
    return SimpleNamespace(**{**nothing, **facts, **changes})


def pane_rows(count: int, revision: int = 1, tenant: str = "") -> pl.DataFrame:
    sketch = [{"index": 1_000 + n, "count": n} for n in range(20)]
    row = {"start": 10_000, "service": "chat", "tenant": tenant, "final": False, "duration_sketch": sketch}
    rows = [{**row, "spans": n + 1, "revision": revision} for n in range(count)]
    return pl.DataFrame(rows, schema=panes.SCHEMA)


def read(messages):
    assert {(message.topic, message.partition) for message in messages} == {("llm.panes", 0)}
    assert all(len(message.value) <= LIMIT_BYTES for message in messages)
    decoded = decode("pane_batch", [(n, 0, message.value) for n, message in enumerate(messages)])
    assert decoded.dead == []
    return decoded


def test_what_changed_is_one_message_with_the_progress():
    rows = pane_rows(10)
    decoded = read(list(emit.panes(SOURCE, emission(panes=rows), passed=41_000, sent_ns=9)))
    header = decoded.headers.row(0, named=True)
    assert (header["topic"], header["topic_id"], header["partition"], header["partitions"]) == SOURCE[:4]
    assert (header["log_clock"], header["progress"], header["next_offset"], header["sent"]) == (50_000, 51_000, 77, 9)
    assert header["overflow"] == [{"reason": "pane_keys", "spans": 3}]
    assert_frame_equal(decoded.rows.select(rows.drop("revision").columns), rows.drop("revision"), check_dtypes=False)


def test_where_nothing_changed_the_progress_is_told_alone():
    decoded = read(list(emit.panes(SOURCE, emission(), passed=41_000, sent_ns=9)))
    assert decoded.rows.is_empty()
    assert decoded.headers["progress"].to_list() == [51_000]


def test_of_an_emission_in_parts_only_the_last_reaches_the_log_clock_even_where_the_partition_was_idle_before():
    decoded = read(list(emit.panes(SOURCE, emission(panes=pane_rows(5_000)), passed=50_700, sent_ns=9)))
    *before, last = decoded.headers["progress"].to_list()
    assert before
    assert max(before) < 50_000 <= last


@pytest.mark.parametrize("rows", [pane_rows(5_000), pane_rows(1_500, tenant="t" * 4_000)], ids=["many", "large"])
def test_what_is_too_large_for_a_message_is_split_and_only_the_last_part_tells_the_progress(rows):
    decoded = read(list(emit.panes(SOURCE, emission(panes=rows), passed=41_000, sent_ns=9)))
    *before, last = decoded.headers["progress"].to_list()
    assert before
    assert set(before) == {41_000}
    assert last == 51_000
    assert decoded.rows["spans"].to_list() == rows["spans"].to_list()


def test_rows_of_two_revisions_are_in_messages_of_their_own():
    rows = pl.concat([pane_rows(2, revision=1), pane_rows(3, revision=2)])
    decoded = read(list(emit.panes(SOURCE, emission(panes=rows), passed=41_000, sent_ns=9)))
    assert decoded.headers.select("revision", "count", "progress").rows() == [(1, 2, 41_000), (2, 3, 51_000)]


def test_traces_go_to_the_partition_they_came_from_and_no_trace_makes_no_message():
    row = {"trace_id": "a" * 32, "first_offset": 5, "spans": 3, "models": ["m"], "revision": 1}
    traces = pl.DataFrame([row], schema=TRACE_SCHEMA)
    (message,) = emit.traces(SOURCE, emission(traces=traces), sent_ns=9)
    assert (message.topic, message.partition) == ("llm.traces", 2)
    decoded = decode("trace_batch", [(0, 0, message.value)])
    assert decoded.rows.select("trace_id", "first_offset", "spans").rows() == [("a" * 32, 5, 3)]
    assert list(emit.traces(SOURCE, emission(), sent_ns=9)) == []


def test_a_tick_says_the_time_and_is_no_partition_s():
    decoded = read([emit.tick(1_234, {"alert_rows": 7})])
    assert decoded.headers.select("partition", "log_clock", "progress").row(0) == (-1, 1_234, 1_234)
    assert decoded.headers["overflow"].to_list() == [[{"reason": "alert_rows", "spans": 7}]]
    assert decoded.rows.is_empty()
