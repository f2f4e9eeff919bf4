"""Windows by sketches and roll-ups against the raw spans, under replay, duplicates and late arrivals."""

import math
import time

import polars as pl
import pytest
from spanloom_processors.core.partition import Partition
from spanloom_schemas.frames import splice
from spanloom_schemas.frames.derive import derive
from spanloom_schemas.frames.spans import flatten
from spanloom_sinks import rollups
from spanloom_sinks.lane import Lane
from spanloom_sinks.rollups import FOLD_SECONDS, Rollups
from spanloom_sinks.source import Source

DAY = 86_400_000
NOW = 1_700_000_040_000  # the start of a minute
LANE = Lane(Source("llm.panes", "panes-id", 0, 0), 0)
HEADER = {"topic": "llm.spans", "topic_id": "topic-id", "partition": 0, "partitions": 1, "log_clock": NOW,
          "progress": NOW, "next_offset": 0, "sent": 0, "overflow": [], "revision": 1}  # fmt: skip


class Line:
    """A processor and a sink without Kafka: messages in, panes and spans into the tables, roll-ups."""

    def __init__(self, store, fill, book):
        self.stored, self.all_stored = math.inf, True
        self.rollups = Rollups(store, self)
        self._fill, self._book, self._now, self._offset = fill, book, 1000.0, 0
        self.partition = Partition("topic-id", 0)

    def spans(self, messages, source=None):
        self._fill("llm.spans", messages, source)

    def panes(self, messages):
        decoded = splice.decode("span_batch", messages)
        self.partition.fold(derive(flatten(decoded), self._book), decoded.headers.select("offset", "log_time"))
        self.tell(self.partition.emit().panes, next_offset=messages[-1][0] + 1)

    def tell(self, panes: pl.DataFrame, **header):
        message = splice.encode("pane_batch", HEADER | header, panes)
        self._offset += 1
        self.rollups.note(self._offset, self._fill("llm.panes", [(self._offset, NOW, message)])["panes"])

    def topic_id(self, topic):
        return "topic-id"

    def progress(self, topic, partitions):
        return dict.fromkeys(partitions, self.stored)

    def stored_until(self, topic, moment):
        return self.all_stored

    def roll_up(self):
        self._now += FOLD_SECONDS
        self.rollups.turn(self._now)


@pytest.fixture
def line(store, fill, book):
    for table in ("spans", "batches", "panes", "panes_1m", "panes_1h", "late_1m", "late_1m_folded"):
        store.command(f"TRUNCATE TABLE {table}")
    return Line(store, fill, book)


def messages(traffic, count=3, per=400, offset=0, at=NOW):
    """Requests with latencies of a long tail, of two models, in several messages a second apart."""
    made = []
    for n in range(count):
        log_time = at + 1000 * n
        spans = []
        for _ in range(per):
            end = log_time * 1_000_000 - traffic.random.randrange(900_000_000)
            duration = int(traffic.random.lognormvariate(19, 1))
            model = traffic.random.choice(["gpt-4o", "gpt-4o-mini"])
            llm = {
                "provider": "openai",
                "request_model": model,
                "usage": "measured",
                "time_to_first_token": duration // 3,
            }
            llm |= {"input_tokens": 1000, "output_tokens": 100}
            spans.append(traffic.span(kind="llm", llm=llm, start=end - duration, end=end))
        made.append((offset + n, log_time, traffic.encoded(spans, sequence=offset + n)))
    return made


def exact(values, q):
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]


def totals(store, table):
    return store.query(
        f"SELECT sum(spans) AS spans, sum(cost) AS cost, sum(input_tokens) AS tokens, sum(duration) AS duration, "
        f"sum(arraySum(duration_sketch.count)) AS sketched, sum(arraySum(latency_le)) AS bucketed FROM {table} FINAL"
    ).row(0, named=True)


def of_spans(store):
    return store.query(
        "SELECT count() AS spans, sum(cost) AS cost, sum(input_tokens) AS tokens, sum(duration) AS duration "
        "FROM spans FINAL"
    ).row(0, named=True)


def assert_exact(store):
    truth = of_spans(store)
    for table in ("panes_1m", "panes_1h"):
        found = totals(store, table)
        assert {name: found[name] for name in truth} == truth
        assert found["sketched"] == found["bucketed"] == truth["spans"]


@pytest.mark.parametrize("width", ["1m", "5m", "1h"])
def test_quantiles_of_windows_are_within_sixth_tenths_of_a_percent(width, line, store, traffic):
    log = messages(traffic, at=NOW + 10_000)
    line.spans(log)
    line.panes(log)
    line.roll_up()
    raw = store.query("SELECT duration, ttft, tpot FROM spans FINAL")
    found = store.query(f"SELECT * FROM services_{width}").row(0, named=True)
    for q, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99")):
        for column, prefix in (("duration", ""), ("ttft", "ttft_"), ("tpot", "tpot_")):
            truth = exact(raw[column].drop_nulls().to_list(), q) / 1e6
            assert abs(found[f"{prefix}{name}_ms"] / truth - 1) <= 0.006


def test_windows_hold_the_cost_and_tokens_of_their_spans(line, store, traffic):
    log = messages(traffic)
    line.spans(log)
    line.panes(log)
    line.roll_up()
    assert_exact(store)
    dollars = store.query("SELECT sum(cost) / 1e9 FROM spans FINAL").item()
    assert store.query("SELECT sum(dollars) FROM windows_1m").item() == pytest.approx(dollars)
    assert store.query("SELECT sum(dollars) FROM cost_per_minute").item() == pytest.approx(dollars)


def test_roll_ups_stay_exact_when_panes_grow_and_are_told_again(line, store, traffic):
    log = messages(traffic)
    line.spans(log)
    for message in log:
        line.panes([message])
        line.roll_up()
    line.partition = Partition("topic-id", 0)  # a crash: everything again, from the start
    for message in log[:2]:
        line.panes([message])
        line.roll_up()
    assert_exact(store)


def test_late_future_dated_and_repeated_spans_count_once(line, store, traffic):
    log = messages(traffic)
    late = [(10, NOW + 60_000, traffic.encoded([traffic.span(end=NOW * 10**6) for _ in range(5)], sequence=10))]
    future = traffic.span(end=(NOW + 100_000) * 10**6)
    early, again = ((n, NOW + 60_000, traffic.encoded([future], sequence=n)) for n in (11, 12))
    repeated = [(20 + offset, NOW + 61_000, value) for offset, _, value in log]
    everything = [*log, *late, early, again, *repeated]
    line.spans(everything)
    line.panes(everything)
    line.roll_up()
    assert of_spans(store)["spans"] == 3 * 400 + 5 + 1
    assert_exact(store)


@pytest.fixture
def soon_expired(store):
    """Raw spans that came at NOW live less than a day longer."""
    keep = "ALTER TABLE spans MODIFY TTL toDateTime(log_time) + toIntervalDay({})"
    store.command(keep.format(int((time.time() - NOW / 1000) / 86_400 + 1)))
    yield
    store.command(keep.format(20_000))


def test_late_spans_stay_in_their_minute_when_raw_spans_expire_and_more_come(line, store, traffic, soon_expired):
    log = messages(traffic)
    late = [traffic.span(end=NOW * 10**6) for _ in range(5)]
    came = [(10, NOW + 60_000, traffic.encoded(late, sequence=10))]
    again = [(11 + n, NOW + 60_000 + n * 2 * DAY, traffic.encoded(late, sequence=11 + n)) for n in range(2)]
    everything = [*log, *came, *again]
    line.spans(everything)
    line.panes(everything)
    line.roll_up()
    assert_exact(store)
    assert store.query("SELECT sum(spans) FROM late_1m FINAL").item() == 5  # copies of two days later are none of it
    store.command(f"DELETE FROM spans WHERE log_time < toDateTime64({NOW // 1000 + 3600}, 3)")
    more = [(20, NOW + 10 * DAY, traffic.encoded([traffic.span(end=NOW * 10**6)], sequence=20))]
    store.command("DELETE FROM spans WHERE offset = 12")  # of what has expired nobody knows that it is a copy
    line.spans(more)
    line.panes(more)
    line.roll_up()
    for table in ("panes_1m", "panes_1h"):
        found = totals(store, table)
        assert found["spans"] == found["sketched"] == found["bucketed"] == 3 * 400 + 5 + 1


def test_a_day_is_not_folded_before_all_of_it_is_stored(line, store, traffic, soon_expired):
    log = messages(traffic, count=1)
    late = [(10, NOW + 60_000, traffic.encoded([traffic.span(end=NOW * 10**6)]))]
    line.all_stored = False
    line.spans([*log, *late])
    line.panes([*log, *late])
    line.roll_up()
    assert store.query("SELECT count() FROM late_1m_folded").item() == 0
    assert_exact(store)


def test_a_minute_waits_for_its_late_spans(line, store, traffic):
    log = messages(traffic, count=1)
    late = [(10, NOW + 60_000, traffic.encoded([traffic.span(end=NOW * 10**6)]))]
    line.spans(log)
    line.stored = 1
    line.panes(log)
    line.roll_up()
    assert totals(store, "panes_1m")["spans"] == 400
    assert line.rollups.hold(LANE) is None
    line.panes(late)
    line.roll_up()
    assert totals(store, "panes_1m")["spans"] == 400
    assert line.rollups.hold(LANE) == 2
    line.spans(late)
    line.stored = 11
    line.roll_up()
    assert_exact(store)
    assert line.rollups.hold(LANE) is None


def test_a_span_that_is_on_time_and_stored_as_future_dated_counts_once(line, store, traffic):
    span = [traffic.span(end=(NOW + 3_600_000) * 10**6)]
    early, true = (0, NOW, traffic.encoded(span)), (1, NOW + 3_600_000, traffic.encoded(span))
    line.spans([early])
    line.stored = 1
    line.panes([early])
    line.panes([true])
    line.roll_up()
    line.spans([true])
    line.stored = 2
    line.roll_up()
    assert [totals(store, table)["spans"] for table in ("panes_1m", "panes_1h")] == [1, 1]


def test_a_higher_revision_of_a_pane_replaces_it_whole(line, store, traffic):
    log = messages(traffic, count=1)
    line.spans(log)
    line.panes(log)
    line.roll_up()
    decoded = splice.decode("span_batch", log)
    anew = Partition("topic-id", 0)
    anew.fold(
        derive(flatten(decoded), line._book).with_columns(model=pl.lit("other")),
        decoded.headers.select("offset", "log_time"),
    )
    line.tell(anew.emit().panes, revision=2)
    line.roll_up()
    assert_exact(store)
    assert store.query("SELECT DISTINCT model FROM windows_1m").to_series().to_list() == ["other"]


def test_a_late_span_counts_in_every_column_as_a_span_on_time(line, store, traffic):
    def one(kind, end):
        return traffic.span(
            kind=kind, end=end, start=end - 700_000_000, status="error", block_reason="pii", tool_name="t",
            llm={"provider": "openai", "request_model": "gpt-4o", "usage": "estimated", "input_tokens": 7,
                 "cache_read_tokens": 5, "cache_write_tokens": 3, "output_tokens": 40, "reasoning_tokens": 2,
                 "time_to_first_token": 90_000_000},
            prompt={"system_tokens": 1, "instructions_tokens": 2, "few_shot_tokens": 3, "context_tokens": 4,
                    "user_tokens": 5, "context_truncated": False},
            retrieval={"k": 2, "documents": [{"id": "a", "score": 0.5, "cited": True},
                                              {"id": "b", "score": None, "cited": False}]},
            scores=[{"name": "thumbs", "value": 1.0}, {"name": "bad", "value": float("nan")}],
        )  # fmt: skip

    def both(end):
        return traffic.encoded([one(kind, end) for kind in ("llm", "retrieval")])

    on_time = [(0, NOW, both(NOW * 10**6))]
    late = [(1, NOW + 90_000, both((NOW - 120_000) * 10**6))]
    line.spans([*on_time, *late])
    line.panes([*on_time, *late])
    line.roll_up()
    rows = store.query("SELECT * EXCEPT (start, revision, worst) FROM panes_1m FINAL ORDER BY start, kind")
    assert rows.rows()[:2] == rows.rows()[2:]
    assert rows["documents"].to_list() == [0, 2, 0, 2]


def test_an_unknown_cost_is_null_in_the_views_and_a_known_part_stands_beside_the_unpriced(line, store, traffic):
    def call(model):
        llm = {"provider": "openai", "request_model": model, "usage": "measured", "input_tokens": 1000}
        llm |= {"output_tokens": 100}
        return traffic.span(kind="llm", llm=llm, end=NOW * 10**6)

    log = [(0, NOW, traffic.encoded([call("gpt-4o"), call("a model without a price")]))]
    line.spans(log)
    line.panes(log)
    line.roll_up()
    by_model = "SELECT model, dollars, unpriced FROM {view} ORDER BY model"
    for view in ("windows_1m", "windows_1h", "cost_per_minute", "cost_per_1k_tokens"):
        unknown, known = store.query(by_model.format(view=view)).iter_rows()
        assert unknown == ("a model without a price", None, 1)
        assert known == ("gpt-4o", 0.0035, 0)
    assert store.query("SELECT dollars, unpriced FROM services_1m").row(0) == (0.0035, 1)
    assert store.query("SELECT knownDollars(0, 0), knownDollars(NULL, 0)").row(0) == (0, None)


def test_spans_dated_beyond_the_ends_of_the_calendar_count_in_a_minute_and_an_hour(line, store, traffic):
    ends = [2**63 - 1, 7_258_118_400 * 10**9, (2**32 - 1) * 10**9, 4_294_967_000 * 10**9, NOW * 10**6]
    spans = [traffic.span(end=end) for end in ends]
    line.spans([(0, NOW, traffic.encoded(spans))])
    line.panes([(0, NOW, traffic.encoded(spans))])
    line.roll_up()
    for table in ("panes_1m", "panes_1h"):
        assert store.query(f"SELECT sum(spans) FROM {table} FINAL").item() == len(ends)


def test_more_windows_than_a_turn_takes_are_summed_up_over_several_turns(line, store, traffic, monkeypatch):
    monkeypatch.setattr(rollups, "_A_TURN", 4)
    monkeypatch.setattr(rollups, "_AT_ONCE", 3)
    spans = [traffic.span(end=(NOW - 3_600_000 * n) * 10**6) for n in range(10)]
    line.spans([(0, NOW, traffic.encoded(spans))])
    line.panes([(0, NOW, traffic.encoded(spans))])
    turns = 0
    while line.rollups.hold(LANE) is not None:
        turns += 1
        assert turns < 10
        line.roll_up()
    assert turns == 3
    for table in ("panes_1m", "panes_1h"):
        assert store.query(f"SELECT sum(spans) FROM {table} FINAL").item() == 10


@pytest.mark.parametrize(("days", "width"), [(2, 60), (30, 3600)])
def test_a_range_is_read_by_minutes_up_to_two_days_and_else_by_hours_with_the_same_sums(
    days, width, line, store, traffic
):
    log = messages(traffic)
    line.spans(log)
    line.panes(log)
    line.roll_up()
    until = NOW // 1000 + 3600
    between = f"since = toDateTime({until - days * 86_400}), until = toDateTime({until})"
    found = store.query(
        f"SELECT width, sum(spans) AS spans, sum(cost) AS cost FROM rolled_up({between}) GROUP BY width"
    )
    truth = of_spans(store)
    assert found.rows() == [(width, truth["spans"], truth["cost"])]
