"""The store on a real ClickHouse engine with the sink's tables."""

import json
from datetime import UTC, datetime, timedelta

import msgspec
import polars as pl
import pytest
from spanloom_schemas.settings import ClickHouseSettings
from spanloom_traces import FilterError, StoreError, TraceFilter, TraceStore
from spanloom_traces.dashboard import Bucket
from spanloom_traces.model import Document, Event, Trace
from spanloom_traces.traces import FIELDS

from tests.dashboards.conftest import DEAR, FAILED, MINUTE, NOW, OPEN, SLOW

DAY = timedelta(days=1)


def ids(found) -> list[str]:
    return [trace.trace_id for trace in found]


def test_a_trace_is_read_with_its_latency_tokens_cost_and_spans_as_a_tree(store):
    trace = store.get_trace(f" {SLOW.upper()}")
    assert (trace.duration, trace.input_tokens, trace.cost, trace.unpriced) == (9_000_000_000, 1024, 2_500_000, 0)
    assert [(node.depth, node.span.span_id) for node in trace.tree] == [(0, "s1"), (1, "s3"), (1, "s2")]


def test_a_span_sent_twice_is_read_once_with_all_its_facts(store):
    root, _, llm = store.get_trace(SLOW).spans
    assert (root.parent_id, root.input_tokens, root.cost) == (None, None, None)
    assert (llm.start, llm.end) == (NOW - 50, NOW - 1)
    assert (llm.parent_id, llm.model, llm.input_tokens, llm.output_tokens) == ("s1", "gpt-4o", 1024, 7)
    assert (llm.cost, llm.documents, llm.cited, llm.block_reason) == (2500000, 2, 1, "malware")


def test_a_trace_in_two_segments_is_one(store):
    trace = store.get_trace(SLOW).summary
    assert (trace.duration, trace.state, trace.reason, trace.cost) == (9_000_000_000, "complete", None, 2_500_000)
    assert (trace.input_tokens, trace.models, trace.critical_path[0].span_id) == (1024, ("gpt-4o",), "s1")


def test_a_trace_that_is_not_assembled_is_what_its_spans_say(store):
    trace = store.get_trace(OPEN)
    assert (trace.summary, len(trace.tree), trace.duration, trace.cost) == (None, 1, 0, None)


def test_a_trace_whose_spans_have_expired_is_still_read_as_a_whole(store):
    trace = store.get_trace(DEAR)
    assert (trace.tree, trace.duration) == ((), 2_000_000)


@pytest.mark.parametrize(
    ("trace_id", "said"), [("e" * 32, "there is no trace e"), ("' OR 1 = 1 --", "a trace id is 32 hexadecimal digits")]
)
def test_a_trace_that_is_not_there_is_said_in_one_line(store, trace_id, said):
    for ask in (store.get_trace, store.explain, store.logs):
        with pytest.raises(StoreError, match=said) as refused:
            ask(trace_id)
        assert "\n" not in str(refused.value)


def test_traces_are_listed_in_the_order_asked_for(store):
    assert ids(store.recent()) == [FAILED, SLOW]
    assert ids(store.recent(limit=1)) == [FAILED]
    assert ids(store.slow(since=DAY)) == [SLOW, DEAR, FAILED]
    assert ids(store.slow(over=timedelta(milliseconds=1.5), since=DAY)) == [SLOW, DEAR]
    assert ids(store.costly(since=DAY)) == [DEAR, SLOW, FAILED]
    assert ids(store.costly(over=1.0, since=DAY)) == [DEAR]
    assert ids(store.errors(since=DAY)) == [FAILED]


def test_a_moment_is_as_good_as_a_length_of_time(store):
    hour_ago = datetime.fromtimestamp(NOW / 1e9, UTC) - timedelta(hours=1)
    assert ids(store.query(since=hour_ago)) == [FAILED, SLOW]
    assert ids(store.query(since=DAY, until=hour_ago.replace(tzinfo=None))) == [DEAR]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (TraceFilter(service="chat", over=timedelta(seconds=1)), [SLOW]),
        (TraceFilter(errors=False, model="gpt-4o"), [SLOW]),
        (TraceFilter(unpriced=True, dearer=8.0), [DEAR]),
        (TraceFilter(tenant="it's\\a\n\ttenant"), [SLOW]),
        (TraceFilter(state="partial", under=timedelta(seconds=1)), [FAILED]),
        (TraceFilter(tokens_over=10_000), []),
        ("duration > 1 AND model LIKE 'gpt%'", [SLOW]),
        ("model = 'o3'", [DEAR]),
        ("model != 'gpt-4o'", [DEAR]),
        ("model NOT IN ('o3', 'o4')", [FAILED, SLOW]),
        ("trace_id in ('" + DEAR + "')", [DEAR]),
        ("scores.thumbs = 0", [DEAR]),
        ("scores.thumbs != 1 AND errors > 0", []),
        ("attributes.reason ILIKE 'ORPH%'", [FAILED]),
        (TraceFilter(attributes={"team": "search", "retries": 3}), [SLOW]),
        (TraceFilter(attributes={"team": "search'"}), []),
        ("span.attributes.team = 'search' AND span.attributes.http.route LIKE '/c%'", [SLOW]),
        ("span.attributes.retries > 2 AND span.attributes.retries <= 3.0", [SLOW]),
        ("span.attributes.retries = '3' AND span.attributes.team IN ('x', 'chat')", [SLOW]),
        ("span.attributes.team > 2", []),
        ("span.attributes.team != 'search'", []),  # another span of the trace has it
        ("span.attributes.team != 'x'", [SLOW]),  # and of those that have none nothing is said
        ("span.attributes.team NOT IN ('x', 'chat')", []),
        ("span.attributes.`it's \"odd\"` ILIKE 'SO%'", [SLOW]),
        ("span.attributes.nobody = ''", []),
        ("span.name = 'x'", FilterError),
        ("cost > 8", [DEAR]),
        ("cost < 100", [SLOW]),
        ("tenant != 'x'", [SLOW]),
        ("name = '' OR 1 = 1' AND name = 'x'", FilterError),
        ("naem = 'x'", FilterError),
        ("service > 3", FilterError),
    ],
)
def test_a_filter_finds_what_it_says(store, where, expected):
    if expected is FilterError:
        with pytest.raises(FilterError) as refused:
            store.query(where, since=DAY)
        assert "\n" not in str(refused.value)
    else:
        assert ids(store.query(where, since=DAY)) == expected


def test_every_field_that_a_filter_may_name_can_be_asked_for(store):
    texts = FIELDS[: FIELDS.index("model") + 1]
    every = [f"{field} = 'x'" if field in texts else f"{field} < 1" for field in FIELDS]
    assert not store.query(" AND ".join(every))


def test_what_is_found_is_a_frame_too(store):
    frame = store.slow(since=DAY).frame()
    assert frame["trace_id"].to_list() == [SLOW, DEAR, FAILED]
    assert frame.schema["start"] == pl.Datetime("ns", "UTC")
    assert frame["duration"].to_list()[0] == timedelta(seconds=9)
    assert frame["models"].to_list() == [["gpt-4o"], ["gpt-4o-mini", "o3"], ["gpt-4o"]]
    assert frame["stages"].to_list()[0] == [{"kind": "llm", "spans": 1, "duration": 49, "self": 49}]
    nothing = store.query("name = 'nothing'")
    assert nothing.frame().schema == frame.schema
    assert not nothing


def test_what_happened_in_a_trace_is_logged_from_a_level_up(store):
    assert [(record.level, record.message) for record in store.logs(SLOW)] == [
        ("warning", "retry"),
        ("warning", "blocked: malware"),
    ]
    assert len(store.logs(SLOW, "debug")) == 2 + 2 * 3
    assert store.logs(SLOW, "error").frame().is_empty()
    assert store.logs(SLOW).frame()["attributes.attempt"].to_list() == ["2", None]


def test_an_explanation_holds_all_that_the_spans_know(store):
    found = store.explain(SLOW)
    search, call = found.documents
    assert search.named == (Document("a", 2.5, False), Document("b", 0.5, False))
    assert (call.temperature, call.max_tokens, call.finish_reasons, call.input) == (0.2, 256, ("length",), "how?")
    assert call.events == (Event("retry", NOW - 30, {"attempt": "2"}),)
    assert call.attributes == {"team": "search"}
    assert found.prompts[0].segments == {"context": 900, "user": 24}
    assert {finding.about for finding in found.findings} == {"block", "retrieval", "prompt", "answer"}
    assert found.findings[0].span_id == "s2"


def test_an_alert_is_its_last_record_and_old_resolved_ones_are_left_out(store):
    found = {alert.rule: alert for alert in store.alerts()}
    assert {rule: alert.state for rule, alert in found.items()} == {"SlowAnswers": "firing", "Recovered": "resolved"}
    assert found["SlowAnswers"].group == (("service", "chat"),)
    assert found["SlowAnswers"].trace_ids == (SLOW,)


@pytest.mark.parametrize("since", [timedelta(hours=1), timedelta(days=30)])
def test_the_figures_of_a_dashboard_are_sums_of_panes(store, since):
    data = store.dashboard_data(since=since, service="chat", environment="test")
    assert (data.request_count, data.error_count, data.error_rate) == (4, 1, 0.25)
    assert (data.prompt_tokens, data.completion_tokens, data.total_tokens) == (120, 33, 153)
    assert (data.total_cost, data.unpriced, data.cache_hits, data.cache_misses) == (0.005, 1, 2, 3)
    assert data.avg_latency_ms == 250
    assert data.p95_latency_ms == pytest.approx(2 ** (1770.5 / 64) / 1e6, rel=0.006)
    assert data.latency_histogram[:3] == (Bucket(100, 1), Bucket(160, 2), Bucket(320, 1))
    assert data.latency_histogram[-1] == Bucket(None, 0)
    assert data.throughput == pytest.approx(4 / ((data.end - data.start) / 1e9))
    assert data.start % (60 * 10**9) == 0
    assert store.dashboard_data(since=since).request_count == 10


def test_the_figures_have_the_names_that_dashboards_expect(store):
    written = json.loads(msgspec.json.encode(store.dashboard_data(service="nobody")))
    assert {"requestCount", "promptTokens", "completionTokens", "totalTokens", "totalCost"} <= set(written)
    assert {"avgLatencyMs", "errorCount", "errorRate", "cacheHits", "cacheMisses", "throughput"} <= set(written)
    assert (written["requestCount"], written["avgLatencyMs"], written["errorRate"]) == (0, None, None)
    assert written["latencyHistogram"][0] == {"leMs": 100.0, "count": 0}


@pytest.mark.parametrize("back", [timedelta(hours=1), timedelta(days=30)])
def test_figures_end_with_the_minute_that_they_are_told_to_end_in(store, back):
    minute = datetime.fromtimestamp(MINUTE, UTC)
    before = store.dashboard_data(since=minute - back, until=minute)
    assert (before.request_count, before.end) == (0, MINUTE * 10**9)
    within = store.dashboard_data(since=minute - back, until=minute + timedelta(seconds=1))
    assert (within.request_count, within.end) == (10, (MINUTE + 60) * 10**9)


@pytest.mark.parametrize(
    "statement", ["DROP TABLE spans", "INSERT INTO migrations (name) VALUES ('x')", "SELECT 1 SETTINGS readonly = 0"]
)
def test_nothing_that_is_asked_changes_anything(store, statement):
    with pytest.raises(StoreError, match="readonly mode"):
        store.answer(statement)
    with pytest.raises(StoreError, match="readonly mode"):
        store._connection.rows(statement, {})


def test_a_user_who_may_only_read_gets_the_same_answers(store, settings):
    with TraceStore(msgspec.structs.replace(settings, clickhouse_user="reader")) as reading:
        assert reading.explain(SLOW) == store.explain(SLOW)
        assert reading.answer("SELECT 1 AS one").rows == ((1,),)


def test_a_database_that_is_away_is_said_in_one_line():
    with (
        TraceStore(ClickHouseSettings(clickhouse_url="http://127.0.0.1:9")) as away,
        pytest.raises(StoreError, match=r"does not answer at http://127\.0\.0\.1:9; start it with spanloom up"),
    ):
        away.recent()


def test_a_trace_is_a_value(store):
    first, again = store.recent(limit=1)[0], store.recent(limit=1)[0]
    assert isinstance(first, Trace)
    assert first == again
