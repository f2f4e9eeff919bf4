"""`spanloom verify` on a real line: exact when all is well, and every kind of wrong has its line and exit code 1."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial

import polars as pl
import pytest
from click.testing import CliRunner
from spanloom_sinks import amendments
from spanloom_sinks.database import ClickHouse
from spanloom_sinks.verify import run
from spanloom_sinks.verify.command import verify
from spanloom_sinks.verify.statements import TRACE_SUMS
from spanloom_traces import TraceStore

from tests.sinks.verify.conftest import finding, wrong

pytestmark = pytest.mark.timeout(400)  # the first test waits until the line is at rest
PLACE = "(late_offset, start, model, kind, partition)"


@pytest.fixture
def spoil(line):
    """Spoil one table; it is as before when the test has ended."""
    spoiled = []

    def do(table, *how, **columns):
        spoiled.append(table)
        line.spoil(table, *how, **columns)

    yield do
    for table in spoiled:
        line.restore(table)


def one(store, sql):
    return store.query(sql).row(0)


def variables(line):
    return {
        "SPANLOOM_KAFKA_BOOTSTRAP": line.settings.kafka_bootstrap,
        "SPANLOOM_CLICKHOUSE_URL": line.settings.clickhouse.clickhouse_url,
        "SPANLOOM_CLICKHOUSE_DATABASE": line.settings.clickhouse.clickhouse_database,
        "SPANLOOM_SINK_GROUP": line.settings.sink_group,
        "SPANLOOM_PROCESSOR_GROUP": line.settings.processor_group,
    }


def command(line, *options, **environment):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SPANLOOM_")}
    return subprocess.run(
        [sys.executable, "-c", "from spanloom.cli import main; main()", "verify", *options],
        env=inherited | variables(line) | environment,
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_a_healthy_line_verifies_as_exact(line):
    report = line.verify()
    assert report.exact
    ledger = finding(report, "ledger")
    assert ledger.text == (
        "123 spans produced = 120 stored + 3 dropped (buffer_full 3); 1 message came twice, counted "
        "once; 2 stored without their payloads, room was short, in 1 life of producers"
    )
    assert finding(report, "panes").counts["panes_spans"] == 114
    assert finding(report, "late").text.startswith("3 spans late, 3 future-dated")
    assert finding(report, "traces").counts["traces"] == 40
    assert report.outcome.startswith(
        "exact: 120 spans stored, 0 missing, 0 double, 0 wrong panes, 0 wrong traces; 3 dropped"
    )


@pytest.mark.parametrize("since", [timedelta(hours=2), timedelta(days=30)])  # summed up from minutes, and from hours
def test_the_figures_of_a_dashboard_are_the_sums_of_the_raw_rows(line, since):
    raw = one(
        line.store,
        """SELECT countIf(request), countIf(request AND error),
            sum(ifNull(input_tokens, 0) + ifNull(cache_read_tokens, 0) + ifNull(cache_write_tokens, 0)),
            sum(ifNull(output_tokens, 0) + ifNull(reasoning_tokens, 0)), sum(cost) / 1e9,
            countIf(cost_status = 'unpriced'), countIf(cached), countIf(kind = 'llm' AND NOT cached),
            sumIf(duration, request) / countIf(request) / 1e6
        FROM spans FINAL""",
    )
    with TraceStore(line.settings.clickhouse) as store:
        data = store.dashboard_data(since=since, until=datetime.now(UTC) + timedelta(hours=2))
    assert raw[0] == sum(bucket.count for bucket in data.latency_histogram) == 40
    assert raw == (
        *(data.request_count, data.error_count, data.prompt_tokens, data.completion_tokens, data.total_cost),
        *(data.unpriced, data.cache_hits, data.cache_misses, data.avg_latency_ms),
    )


def test_it_is_as_exact_without_the_topics_and_for_a_user_who_only_reads(line):
    assert line.verify(with_topics=False).exact
    done = command(line, "--json", SPANLOOM_CLICKHOUSE_USER="reader")
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert said["exact"]
    assert said["seconds"] > 0


def test_a_row_of_spans_that_is_gone_is_found_in_spans_panes_and_traces(line, spoil):
    trace_id, span_id = one(
        line.store, "SELECT trace_id, span_id FROM kept_spans WHERE kind = 'llm' AND timeliness = 'on_time' LIMIT 1"
    )
    spoil("spans", f"span_id != '{span_id}'")
    report = line.verify()
    assert wrong(report) >= {"spans", "panes", "windows", "traces"}
    assert "1 have no row" in finding(report, "spans").text
    assert span_id in finding(report, "spans").examples[0]
    assert trace_id in finding(report, "traces").examples[0]
    assert report.outcome.startswith("NOT exact: spans, panes, windows, ")


def test_a_row_of_spans_under_another_offset_is_found(line, spoil):
    spoil("spans", "", "span_id = (SELECT min(span_id) FROM kept_spans)", offset="offset + 1000")
    report = line.verify()
    assert wrong(report) == {"spans"}
    assert "1 rows came from no message" in finding(report, "spans").text


def test_a_block_of_spans_that_was_inserted_twice_is_found(line, spoil):
    spoil("spans", "", "offset = 3", user="'someone'", kind="kind || 's'")
    report = line.verify()
    assert "spans" in wrong(report)
    assert "rows are stored twice" in finding(report, "spans").text


@pytest.mark.parametrize("column", ["cost"])
def test_an_altered_pane_is_found_with_its_place(line, spoil, column):
    spoil("panes", **{column: f"{column} + ({PLACE} = (SELECT min({PLACE}) FROM kept_panes WHERE late_offset < 0))"})
    report = line.verify()
    assert wrong(report) == {"panes"}
    assert "1 panes wrong" in finding(report, "panes").text
    assert f"off by: {column} 1" in finding(report, "panes").examples[0]


def test_a_pane_under_another_key_is_found_though_its_total_is_right(line, spoil):
    spoil("panes", tenant="if(late_offset < 0 AND kind = 'llm', 'acme', tenant)")
    report = line.verify()
    assert wrong(report) == {"panes"}
    assert "under other keys" in finding(report, "panes").examples[0]


def test_a_late_row_that_is_gone_is_found(line, spoil):
    spoil("panes", "late_offset < 0")
    report = line.verify()
    assert wrong(report) == {"late"}
    assert "6 late or future-dated spans are in no late row" in finding(report, "late").text


@pytest.mark.parametrize(("table", "check"), [("panes_1m", "windows"), ("panes_1h", "hours")])
def test_an_altered_roll_up_is_found(line, spoil, table, check):
    spoil(table, cost="cost + (kind = 'llm')")
    assert check in wrong(line.verify())


@pytest.fixture
def summed_up(line):
    """Hours of traces as the sink sums them up when they are over, which these are not yet."""
    tables = ClickHouse(line.settings.clickhouse)
    found = line.store.query("SELECT DISTINCT toUnixTimestamp(toStartOfHour(start)) AS hour FROM traces")
    hours = [datetime.fromtimestamp(hour, UTC) for (hour,) in found.iter_rows()]
    tables.sum_up("traces_1h", hours)
    tables.insert("traces_1h_closed", pl.DataFrame({"start": hours}).cast(pl.Datetime("ms", "UTC")))
    yield line
    for table in ("traces_1h", "traces_1h_closed"):
        tables.command(f"TRUNCATE TABLE {table}")
    tables.close()


def test_an_altered_hour_of_traces_is_found(summed_up):
    report = summed_up.verify()
    assert report.exact
    counts = finding(report, "trace_hours").counts
    assert counts["trace_hours_spans"] == counts["trace_hours_raw"] == finding(report, "spans").counts["spans"]
    summed_up.store.command(
        "INSERT INTO traces_1h SELECT * REPLACE (version + 1 AS version, cost + 3 AS cost) FROM traces_1h LIMIT 1"
    )
    report = summed_up.verify()
    assert wrong(report) == {"trace_hours"}
    assert "off by: cost 3" in finding(report, "trace_hours").examples[0]


def test_a_sketch_that_is_off_is_found(line, spoil):
    spoil("panes_1m", duration_sketch="arrayMap(b -> (b.1 + 1, b.2)::Tuple(index Int32, count Int64), duration_sketch)")
    report = line.verify()
    assert "latency" in wrong(report)
    assert finding(report, "latency").counts["quantiles_worst"] > 0.006


def test_a_row_of_batches_that_is_gone_is_found_in_the_log_and_the_ledger(line, spoil):
    spoil("batches", "sequence != 4")
    report = line.verify()
    assert wrong(report) >= {"ledger", "log", "spans"}
    assert "3 missing, 1 messages never came" in finding(report, "ledger").text
    assert "1 messages are in the topic, but neither stored nor dead letters" in finding(report, "log").text
    assert "1 messages in no table" in finding(report, "log").examples[0]


def test_a_gap_in_the_sequence_is_missing_and_one_that_was_given_up_is_not(line, spoil):
    spoil("batches", made="made + 3", sequence="sequence + (sequence > 20)")
    report = line.verify()
    assert wrong(report) == {"ledger"}
    assert "3 missing, 1 messages never came" in finding(report, "ledger").text
    spoil(
        "batches", made="made + 3", sequence="sequence + (sequence > 20)",
        given_up="if(last, [21], [])", dropped="map('timeout', toInt64(6))",
    )  # fmt: skip
    assert line.verify().exact


def test_a_producer_without_a_last_message_is_tail_unknown_never_missing_nothing(line, spoil):
    spoil("batches", last="false")
    report = line.verify()
    assert report.exact
    assert "unknown for 1 of 1 life" in finding(report, "tail").text
    assert "the tail of 1 producers unknown" in report.outcome


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (("trace_id != (SELECT min(trace_id) FROM kept_traces)",), "1 have no summary, 0 another"),
        (
            ("", "trace_id = (SELECT min(trace_id) FROM kept_traces)", {"first_offset": "first_offset + 1000"}),
            "1 two summaries",
        ),
        (
            ("1", "", {"spans": "spans + (trace_id = (SELECT min(trace_id) FROM kept_traces))"}),
            "1 another count or sum",
        ),
        (("1", "", {"cost": "cost + (trace_id = (SELECT min(trace_id) FROM kept_traces))"}), "1 another count or sum"),
    ],
)
def test_a_summary_that_is_gone_doubled_or_altered_is_found(line, spoil, how, said):
    spoil("traces", *how[:2], **(how[2] if len(how) > 2 else {}))
    report = line.verify()
    assert wrong(report) == {"traces"}
    assert said in finding(report, "traces").text


def test_a_trace_too_long_to_be_summed_up_again_may_stay_in_segments_that_add_up(line, spoil, monkeypatch):
    another = {"first_offset": "first_offset + 1000"} | dict.fromkeys(("spans", *TRACE_SUMS), "0")
    spoil("traces", "", "trace_id = (SELECT min(trace_id) FROM kept_traces)", **another)
    assert "1 two summaries" in finding(line.verify(), "traces").text
    monkeypatch.setattr(amendments, "SPANS_AT_ONCE", 1)
    report = line.verify()
    assert report.exact
    assert finding(report, "traces").counts["traces_in_segments"] == 1


def test_two_price_books_at_once_are_wrong_and_one_after_the_other_is_told(line, spoil):
    spoil("spans", price_version="if(offset % 2 = 0, 'new', price_version)")
    report = line.verify()
    assert wrong(report) == {"prices"}
    assert "two price books at once" in finding(report, "prices").text
    spoil("spans", price_version="if(offset > 5, 'new', price_version)")
    report = line.verify()
    assert report.exact
    assert "the price book changed in that time" in finding(report, "prices").text


def test_panes_of_another_price_book_than_their_spans_are_told(line, spoil):
    assert one(line.store, "SELECT DISTINCT price_version FROM panes WHERE late_offset < 0") == one(
        line.store, "SELECT DISTINCT price_version FROM spans"
    )
    spoil("panes", price_version="'other'")
    report = line.verify()
    assert report.exact
    assert "priced by another book than their spans (panes by other, " in finding(report, "prices").text
    spoil("panes", price_version="'other'", cost="cost * 2")
    report = line.verify()
    assert wrong(report) == {"panes", "prices"}
    assert finding(report, "prices").counts["mispriced_panes"] > 0


def test_spans_of_another_topic_are_told_apart_from_the_clusters(line, spoil):
    for table in ("spans", "batches"):
        spoil(table, topic_id="'another'")
    report = line.verify()
    assert "topics" in wrong(report)
    assert "what is stored came from topic another" in finding(report, "topics").text


def test_the_command_says_what_is_wrong_and_ends_with_1(line, spoil, monkeypatch):
    spoil("panes_1h", cost="cost + (kind = 'llm')")
    monkeypatch.setattr(run, "verify", partial(run.verify, patience=0.0))  # it would look again for 40 s
    done = CliRunner().invoke(verify, ["--since", "2h"], env=variables(line))
    assert done.exit_code == 1
    assert "✗ hours" in done.stdout
    assert 'spanloom sql "SELECT * FROM panes_1h FINAL' in done.stdout
    assert done.stdout.splitlines()[-1].startswith("✗ NOT exact: hours (see above); took")


def test_a_range_with_nothing_in_it_is_not_called_exact(line):
    done = command(line, "--since", "2020-01-01", "--until", "2020-01-02T00:00")
    assert done.returncode == 0
    assert "nothing to verify: no span is stored of that time" in done.stdout


@pytest.mark.parametrize(
    ("options", "environment", "said", "code"),
    [
        (["--since", "yesterday"], {}, "'yesterday' is no time", 2),
        (["--since", "1h", "--until", "2h"], {}, "--until must be later than --since", 2),
        (
            ["--no-topics"],
            {"SPANLOOM_CLICKHOUSE_URL": "http://127.0.0.1:9"},
            "ClickHouse does not answer at http://127.0.0.1:9",
            1,
        ),
        ([], {"SPANLOOM_KAFKA_BOOTSTRAP": "127.0.0.1:9"}, "Kafka at 127.0.0.1:9: ", 1),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(line, options, environment, said, code):
    done = command(line, *options, **environment)
    assert done.returncode == code
    assert said in done.stderr
    assert code == 2 or done.stderr.count("\n") == 1, done.stderr
