"""Hours of traces by user and pipeline: always what the traces themselves add up to, whatever comes late or again."""

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from spanloom_sinks.database import ClickHouse
from spanloom_sinks.lane import Lane
from spanloom_sinks.source import Source
from spanloom_sinks.trace_hours import HOUR_SECONDS, TraceHours

from tests.sinks.conftest import Traffic

LANE = Lane(Source("llm.traces", "traces-id", 0, 0), 0)
T0 = datetime(2026, 3, 1, 10, tzinfo=UTC)
"""The start of an hour."""
MINUTE = timedelta(minutes=1)
TABLES = ("traces", "traces_1h", "traces_1h_closed")
_KEYS = "hour, environment, tenant, service, name, user"
_SUMS = ("traces", "spans", "failed", "blocked", "unpriced_traces", "input_tokens", "cost", "unpriced", "duration")
SUMMED = f"""
SELECT {_KEYS}, {", ".join(f"sum(t.{name}) AS {name}" for name in _SUMS)},
    (sumMap(stages.kind, stages.self) AS own).1 AS kinds, own.2 AS selves
FROM (SELECT toStartOfHour(c.start) AS hour, * FROM {{table}} AS c) AS t GROUP BY {_KEYS} ORDER BY {_KEYS}
"""


class Line:
    """A sink's tables without Kafka: traces in, hours summed up."""

    def __init__(self, store: ClickHouse) -> None:
        self.store, self.took = store, 0.0
        self._offsets, self._now = itertools.count(), 1000.0
        self.crash()

    def tell(self, start: datetime, *, told: datetime, first_offset: int = 0, **said: Any) -> None:
        """A row of `traces` that began at `start` and was told at `told`."""
        row: dict[str, Any] = {
            "trace_id": f"{first_offset:032x}", "topic_id": "t", "partition": 0, "first_offset": first_offset,
            "spans": 2, "environment": "test", "service": "chat", "name": "POST /chat", "start": start,
            "end": start + timedelta(seconds=3), "duration": 3 * 10**9, "state": "complete", "status": "ok",
            "errors": 0, "blocks": 0, "user": "ann", "tenant": "acme", "input_tokens": 7, "cost": 5, "unpriced": 0,
            "stages": [{"kind": "llm", "spans": 1, "duration": 4, "self": 3}], "revision": 1, "log_time": told,
            "amended": False, "superseded": False,
        }  # fmt: skip
        times = {
            "start": pl.Datetime("ns", "UTC"),
            "end": pl.Datetime("ns", "UTC"),
            "log_time": pl.Datetime("ms", "UTC"),
        }
        rows = pl.DataFrame([row | said], schema_overrides=times)
        self.store.insert("traces", rows)
        self.hours.note(LANE, next(self._offsets), rows)

    def turn(self) -> None:
        """Half a minute later."""
        self._now += 2 * HOUR_SECONDS
        self.hours.turn(self._now)

    def _clock(self) -> float:
        self._now += self.took
        return self._now

    def crash(self) -> None:
        """What was only remembered is forgotten."""
        self.hours = TraceHours(self.store, self._clock)

    def hour(self, start: datetime) -> list[tuple[Any, ...]]:
        """Keys, traces and spans that `traces_1h` has of an hour."""
        found = self.store.query(
            "SELECT user, traces, spans FROM traces_1h FINAL WHERE start = {at:DateTime} AND traces > 0 ORDER BY user",
            at=start,
        )
        return list(found.iter_rows())

    def agrees(self) -> bool:
        """What readers see is what the traces add up to."""
        told, truth = (self.store.query(SUMMED.format(table=name)) for name in ("traces_by_hour", "trace_counts"))
        return told.height > 0 and told.equals(truth)


@pytest.fixture
def line(store: ClickHouse) -> Iterator[Line]:
    for table in TABLES:
        store.command(f"TRUNCATE TABLE {table}")
    yield Line(store)
    store.command("TRUNCATE TABLE traces")  # what was told in other years would be the newest


def test_an_hour_is_summed_up_once_when_it_is_over(line: Line) -> None:
    line.tell(T0, told=T0 + MINUTE)
    line.tell(T0 + 30 * MINUTE, told=T0 + 31 * MINUTE, first_offset=1, user="bob", cost=None, unpriced=1, blocks=1)
    line.tell(T0 + 50 * MINUTE, told=T0 + 69 * MINUTE, first_offset=2, status="error")
    line.turn()
    assert line.hour(T0) == []
    assert line.agrees()
    assert line.hours.hold(LANE) is None  # nothing need be remembered of it
    line.crash()
    line.tell(T0 + 70 * MINUTE, told=T0 + 71 * MINUTE, first_offset=3)
    line.turn()
    assert line.hour(T0) == [("ann", 2, 4), ("bob", 1, 2)]
    assert line.hour(T0 + 60 * MINUTE) == []
    assert line.agrees()


def closed(line: Line) -> None:
    """Two hours with a trace each, summed up; a third that is not over."""
    for n in range(3):
        line.tell(T0 + 60 * n * MINUTE, told=T0 + (60 * n + 15) * MINUTE, first_offset=n)
    line.turn()
    assert [len(line.hour(T0 + 60 * n * MINUTE)) for n in range(3)] == [1, 1, 0]


def test_what_comes_late_into_a_summed_hour_holds_the_commit_until_it_is_in(line: Line) -> None:
    closed(line)
    line.tell(T0 + 5 * MINUTE, told=T0 + 140 * MINUTE, first_offset=9, user="bob")
    assert line.hours.hold(LANE) == 3
    assert line.hours.hold(Lane(Source("llm.panes", "panes-id", 0, 0), 0)) is None
    assert not line.agrees()
    line.turn()
    assert line.hours.hold(LANE) is None
    assert line.hour(T0) == [("ann", 1, 2), ("bob", 1, 2)]
    assert line.agrees()


def test_what_takes_long_is_done_less_often(line: Line) -> None:
    closed(line)
    line.took = 10.0
    for n in range(2):
        line.tell(T0 + 5 * MINUTE, told=T0 + 140 * MINUTE, first_offset=9 + n)
        line.turn()
        assert (line.hours.hold(LANE) is None) == (n == 0)
    line.took = 0.0
    for _ in range(3):
        line.turn()
    assert line.hours.hold(LANE) is None
    assert line.agrees()


def test_told_again_after_a_crash_a_trace_counts_once(line: Line) -> None:
    closed(line)
    line.crash()
    for n in range(3):
        line.tell(T0 + 60 * n * MINUTE, told=T0 + 141 * MINUTE, first_offset=n)
    line.tell(T0, told=T0 + 142 * MINUTE, first_offset=0, spans=5)
    line.turn()
    assert line.hour(T0) == [("ann", 1, 5)]
    assert line.agrees()


@pytest.mark.parametrize("again", [{"spans": 4}, {"amended": True}])
def test_a_trace_that_began_earlier_than_was_told_leaves_its_hour(line: Line, again: dict[str, Any]) -> None:
    closed(line)
    told = {"first_offset": 1, "end": T0 + 61 * MINUTE}
    line.tell(T0 + 59 * MINUTE, told=T0 + 142 * MINUTE, **told, **again)
    line.turn()
    assert [len(line.hour(T0 + 60 * n * MINUTE)) for n in range(2)] == [1, 0]
    assert line.agrees()


def test_a_superseded_segment_is_in_no_hour(line: Line) -> None:
    closed(line)
    line.tell(T0, told=T0 + 142 * MINUTE, first_offset=0, amended=True, spans=4)
    line.tell(T0 + 60 * MINUTE, told=T0 + 142 * MINUTE, first_offset=1, superseded=True)
    line.turn()
    assert line.hour(T0) == [("ann", 1, 4)]
    assert line.hour(T0 + 60 * MINUTE) == []
    assert line.agrees()


def test_a_clock_that_was_set_back_does_not_keep_an_old_sum(line: Line) -> None:
    line.store.command(
        "INSERT INTO traces_1h (start, environment, tenant, service, name, user, version, traces) VALUES "
        "({at:DateTime}, 'test', 'acme', 'chat', 'POST /chat', 'ann', {ahead:UInt64}, 99)",
        at=T0, ahead=2**62,
    )  # fmt: skip
    closed(line)
    assert line.hour(T0) == [("ann", 1, 2)]


@pytest.fixture
def kept_for_a_while(store: ClickHouse) -> Iterator[timedelta]:
    keep = "ALTER TABLE traces MODIFY TTL toDateTime(log_time) + toIntervalDay({})"
    store.command(keep.format(2000))
    yield timedelta(days=2000)
    store.command(keep.format(20_000))


def test_what_has_expired_is_not_forgotten_when_more_comes_late(line: Line, kept_for_a_while: timedelta) -> None:
    closed(line)
    line.store.command("DELETE FROM traces WHERE first_offset = 0")
    line.tell(T0 + MINUTE, told=T0 + kept_for_a_while, first_offset=9, spans=1)
    line.turn()
    assert line.hour(T0) == [("ann", 1, 2)]


def test_a_day_of_absurd_times_holds_nothing_up(line: Line) -> None:
    for n, year in enumerate((1985, 1999, 2026, 2105)):
        line.tell(datetime(year, 1, 2, tzinfo=UTC), told=T0, first_offset=n, end=datetime(2200, 1, 1, tzinfo=UTC))
    line.turn()
    assert line.agrees()
    assert [line.hour(datetime(year, 1, 2, tzinfo=UTC)) for year in (1985, 1999)] == [[("ann", 1, 2)]] * 2
    assert line.hours.hold(LANE) is None


def test_amendments_say_which_hours_they_change(
    line: Line, store: ClickHouse, fill: Callable[..., Any], traffic: Traffic
) -> None:
    """A root that comes an hour and more after what it holds makes one trace of both, in the first one's hour."""
    from spanloom_sinks.amendments import Amendments
    from spanloom_sinks.metrics import Metrics

    class Stored:
        def topic_id(self, topic: str) -> str:
            return "t"

        def progress(self, topic: str, partitions: Any) -> dict[int, int]:
            return dict.fromkeys(partitions, 99)

        def end(self, topic: str, partition: int) -> int:
            return 2

    trace_id = traffic.id(16)
    spans = [
        traffic.span(trace_id=trace_id, start=_ns(T0), end=_ns(T0) + 10**9),
        traffic.span(
            trace_id=trace_id, parent_id=traffic.id(8), start=_ns(T0 + 90 * MINUTE), end=_ns(T0 + 91 * MINUTE)
        ),
    ]
    amendments = Amendments(store, Stored(), Metrics())  # type: ignore[arg-type]
    for n, span in enumerate(spans):
        fill("llm.spans", [(n, _ns(T0) // 10**6, traffic.encoded([span]))], Source("llm.spans", "t", 0, 0))
        when = datetime.fromtimestamp(span["start"] / 1e9, UTC)
        line.tell(when, told=T0 + 200 * MINUTE, trace_id=trace_id, first_offset=n, spans=1, user=str(n))
    line.turn()
    assert [line.hour(T0 + 60 * n * MINUTE) for n in range(2)] == [[("0", 1, 1)], [("1", 1, 1)]]
    line.crash()
    rows = pl.DataFrame({"trace_id": [trace_id], "reason": ["orphans"], "topic_id": ["t"], "partition": [0]})
    rows = rows.with_columns(pl.lit(T0 + 90 * MINUTE).alias(name) for name in ("start", "end", "log_clock"))
    amendments.note(LANE, 7, rows)
    for changed in amendments.turn(10.0):
        line.hours.note(*changed)
    assert line.hours.hold(LANE) == 7
    line.turn()
    assert [line.hour(T0 + 60 * n * MINUTE) for n in range(2)] == [[("", 1, 2)], []]
    assert line.agrees()


def _ns(moment: datetime) -> int:
    return int(moment.timestamp()) * 10**9
