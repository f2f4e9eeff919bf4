"""Where a partition is at rest: a healthy line under load never has a verdict about what is in flight."""

import polars as pl
from spanloom_processors.core import clock, traces
from spanloom_processors.settings import ProcessorSettings
from spanloom_sinks.settings import SinkSettings, VerifySettings
from spanloom_sinks.verify import settled
from spanloom_sinks.verify.settled import FOREVER, MARGIN_MS, Place, Told, told

NOW = 1_700_000_000_000  # the start of a pane
BUSY = Told(next_offset=90, log_clock=NOW + 13_000, progress=NOW + 13_000)


def place(**fields):
    plain = {
        "partition": 0,
        "low": 0,
        "high": 100,
        "first": 10,
        "stop": 100,
        "stored": 95,
        "stored_clock": NOW + 14_000,
    }
    return Place(**plain | {"told": BUSY, "summed": BUSY, "traces_stored": FOREVER} | fields)


def test_the_constants_are_those_of_the_processors_and_the_sink():
    assert traces.IDLE_MS == settled.IDLE_MS
    assert clock.frontier(NOW + 13_000) == NOW + 10_000 == place().panes
    assert VerifySettings().processor_group == ProcessorSettings().processor_group
    assert VerifySettings().sink_group == SinkSettings().sink_group


def test_a_pane_is_judged_when_it_is_told_and_its_spans_are_stored():
    assert place(told=BUSY._replace(log_clock=NOW + 12_999, progress=NOW + 12_999)).panes == NOW
    assert place(stored=89, stored_clock=NOW + 12_000).panes == NOW
    assert place(stored=89, stored_clock=NOW + 13_000).panes == NOW + 10_000


def test_an_idle_partition_is_judged_by_what_an_empty_fetch_proved_less_what_clocks_may_be_apart():
    idle = BUSY._replace(progress=NOW + 60_000)
    assert place(told=idle).panes == clock.frontier(NOW + 60_000 - MARGIN_MS)


def test_a_quiet_partition_is_judged_whole_and_hours_only_when_they_are_summed_up():
    quiet = place(stored=100, told=BUSY._replace(next_offset=100))
    assert (quiet.panes, quiet.hours) == (FOREVER, NOW + 10_000)
    assert quiet._replace(summed=quiet.told).hours == FOREVER
    assert not quiet._replace(high=101).quiet


def test_a_partition_nobody_told_of_is_not_judged():
    assert place(told=Told(), summed=Told()).panes < 0


def test_a_trace_is_judged_when_it_can_no_longer_be_open_and_its_summary_is_stored():
    assert place().traces == NOW + 13_000 - settled.IDLE_MS
    assert place(traces_stored=NOW).traces == NOW - settled.IDLE_MS


def test_only_what_is_committed_must_be_in_the_tables():
    assert place().end == 95
    assert place(stop=50).end == 50
    assert place(stored=5).end == 10


def test_only_an_emission_that_another_followed_is_whole():
    rows = [
        ("t", 0, 1, 10, 100, 100),
        ("t", 0, 2, 20, 200, 100),  # its first message
        ("t", 0, 2, 20, 200, 200),
        ("t", 0, 3, 30, 300, 200),  # the rest of it is not there
        ("t", 1, 1, 10, 100, 100),
        ("gone", 2, 1, 10, 100, 100),
        ("gone", 2, 2, 10, 100, 100),
    ]
    columns = ["topic_id", "partition", "sent", "next_offset", "log_clock", "progress"]
    assert told(pl.DataFrame(rows, schema=columns, orient="row"), "t") == {0: Told(20, 200, 200)}
