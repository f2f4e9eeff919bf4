from types import SimpleNamespace

import polars as pl
from faust.types import TP
from prometheus_client import generate_latest
from spanloom.buffer import Refusals
from spanloom.delivery import REASONS as UNDELIVERED
from spanloom_processors.commits import Commits, Point
from spanloom_processors.core import panes
from spanloom_processors.metrics import Metrics
from spanloom_processors.watchdog import Vital
from spanloom_schemas import codec, drops, topics
from spanloom_schemas.frames.splice import decode

BATCH = next(batch for batch in topics.examples("llm.spans") if batch["spans"])


def scraped(metrics: Metrics) -> dict[str, float]:
    lines = generate_latest(metrics.registry).decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def batch(**said: object):
    return decode("span_batch", [(0, 5_000, codec.encode("span_batch", {**BATCH, **said}))])


def report(held: object, late: int = 0, dropped: dict[str, int] | None = None):
    emission = SimpleNamespace(
        closed=pl.DataFrame(schema=panes.SCHEMA), progress=9_000, late=late, skewed=0, duplicates=0, silenced=0, lost=0,
        overflow={"pane_keys": 2},
    )  # fmt: skip
    return SimpleNamespace(tp=TP("llm.spans", 1), held=held, emission=emission, dropped=dropped or {})


def test_what_can_be_known_beforehand_begins_with_0():
    """Prometheus sees no growth in a series whose first value is its first event."""
    metrics = Metrics()
    metrics.assigned({TP("llm.spans", 3): None, TP("llm.panes", 0): None})
    metrics.delivered({("webhook", "taken"): 1})
    found = scraped(metrics)
    for name in ("lost_messages", "late_spans", "silenced_spans", "unpriced_spans"):
        assert found.pop(f'spanloom_{name}_total{{partition="3"}}') == 0
    for reason in (*codec.REASONS, "out_of_bounds", "unprocessed"):
        assert found.pop(f'spanloom_dead_letters_total{{reason="{reason}"}}') == 0
    for reason in drops.REASONS:
        assert found.pop(f'spanloom_dropped_spans_total{{reason="{reason}"}}') == 0
    for outcome in ("retried", "refused", "dropped"):
        assert found.pop(f'spanloom_alert_deliveries_total{{outcome="{outcome}",route="webhook"}}') == 0
    assert found['spanloom_unsendable_messages_total{topic="llm.panes"}'] == 0
    assert not [name for name in found if 'partition="0"' in name]


def test_the_reasons_that_are_known_are_those_of_the_producer():
    assert {*UNDELIVERED.values(), "rejected", "encode", *Refusals._fields} == set(drops.REASONS)


def test_the_skew_of_a_service_is_log_time_minus_send_time():
    metrics = Metrics()
    metrics.read(0, batch(sent=3_000_000_000))
    assert scraped(metrics)[f'spanloom_clock_skew_seconds{{service="{BATCH["service"]}"}}'] == 2.0


def test_running_totals_of_a_partition_are_told_by_their_growth_and_begin_anew_with_an_assignment():
    metrics, first, second = Metrics(), object(), object()
    metrics.emitted(report(first, late=3), now_ns=10_000_000_000)
    metrics.emitted(report(first, late=5), now_ns=10_000_000_000)
    metrics.forget()
    metrics.emitted(report(second, late=4), now_ns=10_000_000_000)
    found = scraped(metrics)
    assert found['spanloom_late_spans_total{partition="1"}'] == 9
    assert found['spanloom_overflow_spans_total{partition="1",reason="pane_keys"}'] == 4
    assert found['spanloom_freshness_seconds{partition="1"}'] == 1.0


def test_lag_and_commits_are_told_and_partitions_taken_away_are_not():
    metrics, commits = Metrics(), Commits()
    commits.done({TP("llm.spans", 0): Point(1)})
    metrics.progress({TP("llm.spans", 0): Vital(40, 100, 1, None)}, commits)
    found = scraped(metrics)
    assert found['spanloom_lag{partition="0",topic="llm.spans"}'] == 60
    assert found['spanloom_commits_total{outcome="made"}'] == 1
    metrics.progress({}, commits)
    assert not any(name.startswith("spanloom_lag") for name in scraped(metrics))
    assert scraped(metrics)['spanloom_commits_total{outcome="made"}'] == 1


def test_reasons_and_services_past_their_bound_add_no_series():
    metrics = Metrics()
    metrics.read(0, batch(service="service" + "y" * 1000))
    for n in range(3_000):
        metrics.settled([report(object(), dropped={f"reason {n} ".ljust(256, "x"): 2})])
    found = {name: value for name, value in scraped(metrics).items() if name.startswith("spanloom_dropped_spans_total")}
    assert len(found) == 101
    assert sum(found.values()) == 6_000
    assert found['spanloom_dropped_spans_total{reason="other"}'] == 6_000 - 2 * (100 - len(drops.REASONS))
    assert max(map(len, scraped(metrics))) < 350
