"""A made-up llm.panes log, and the ways to run the rule engine over it."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import polars as pl
import pytest
from spanloom_processors.core.alerts.engine import Engine
from spanloom_processors.core.alerts.records import Alert, SafePoint, identity
from spanloom_processors.core.alerts.rules import Rule, parse
from spanloom_schemas import codec
from spanloom_schemas.frames import layout, shape

T0 = 1_790_000_000_000 // 3_600_000 * 3_600_000
"""The start of an hour, in ms."""
PANE = shape.columns(layout.of(codec.newest("pane_batch")).item)
KEY = {
    "environment": "prod", "service": "chat", "kind": "request", "request": True, "model": "", "prompt_id": "",
    "prompt_version": "", "tenant": "", "experiment": "", "run_id": "",
}  # fmt: skip


def sketch(*milliseconds: float) -> list[dict[str, int]]:
    """The sketch of durations in ms."""
    found: dict[int, int] = {}
    for ms in milliseconds:
        index = math.ceil(math.log2(ms * 1e6) * 64) - 1
        found[index] = found.get(index, 0) + 1
    return [{"index": index, "count": count} for index, count in sorted(found.items())]


def pane(start: int, spans: int = 1, **given: Any) -> dict[str, Any]:
    """A row of llm.panes: `spans` requests of 100 ms, unless told otherwise."""
    usual = {"errors": 0, "blocks": 0, "cost": 0, "unpriced": 0, "duration_sketch": sketch(*[100.0] * spans)}
    return dict.fromkeys(PANE) | KEY | {"start": start, "spans": spans, "worst": []} | usual | given


class Log:
    """Messages of llm.panes; `now` is the log time of the next one."""

    def __init__(self, now: int = T0, partitions: int = 1) -> None:
        self.now = now
        self.partitions = partitions
        self.messages: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []

    def send(
        self, rows: Iterable[dict[str, Any]] = (), partition: int = 0, progress: int | None = None, **given: Any
    ) -> None:
        """Add a message of a source partition, which has passed `now` unless told otherwise."""
        header = {
            "offset": len(self.messages), "log_time": self.now, "topic_id": "a", "partition": partition,
            "partitions": self.partitions, "revision": 1, "log_clock": self.now,
            "progress": self.now if progress is None else progress,
            "next_offset": len(self.messages),
        }  # fmt: skip
        self.messages.append((header | given, list(rows)))

    def tick(self) -> None:
        """Add a message that only says that time passes."""
        self.send(partition=-1, next_offset=0)

    def run(self, seconds: int, rows: Callable[[int], list[dict[str, Any]]] = lambda start: [], step: int = 10) -> None:
        """For so many seconds send, every `step` seconds, the rows that `rows` makes for the pane that just ended."""
        for _ in range(0, seconds, step):
            start = self.now // 10_000 * 10_000
            self.now += step * 1000
            self.send(rows(start), progress=self.now)

    def frames(self, first: int = 0, last: int | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Headers and rows of messages `first` to `last` (exclusive), as decoded."""
        chosen = self.messages[first:last]
        rows = [row | {"offset": header["offset"]} for header, rows in chosen for row in rows]
        return pl.DataFrame([header for header, _ in chosen]), pl.DataFrame(rows, schema={"offset": pl.Int64} | PANE)

    def alerts(self, rules: list[Rule]) -> list[Alert]:
        """What a backtest says: one engine, the whole log at once."""
        return Engine(rules).fold(*self.frames())


Stop = tuple[int, int, bool]


def restarted(log: Log, rules: list[Rule], stops: list[Stop]) -> tuple[list[Alert], list[Any]]:
    """Records written by workers of which each dies at a stop: (messages read at its commit, in all, flushed then?)."""
    alerts: list[Alert] = []
    hours: list[Any] = []
    safe = SafePoint(0, 0)
    end = len(log.messages)
    for commit, last, flushed in [*((min(c, end), min(n, end), flushed) for c, n, flushed in stops), (end, end, True)]:
        engine = Engine(rules)
        told = safe.metadata()
        engine.restore(alerts, hours, SafePoint.judged_from(told), SafePoint.late_from(told))
        at = safe.offset
        alerts += engine.fold(*log.frames(at, commit)) if at < commit else []
        hours += engine.closed_hours()
        safe = engine.safe() or safe
        found = engine.fold(*log.frames(max(at, commit), last)) if max(at, commit) < last else []
        if flushed:
            alerts += found
            hours += engine.closed_hours()
    return alerts, hours


def alert(state: str, service: str, at: int) -> Alert:
    """A record of a group of the rule Errors."""
    group = (("service", service),)
    return Alert(
        **dict.fromkeys(("window_start", "window_end", "since", "fired", "resolved"), at), rule="Errors", state=state,
        group=[{"key": key, "value": value} for key, value in group], identity=identity("Errors", group, at),
        severity="info", value=0.9, threshold=0.1, unit="ratio", at=at, partial=False, trace_ids=[], summary="",
        description="",
    )  # fmt: skip


@pytest.fixture(scope="session")
def make_alert() -> Callable[..., Alert]:
    return alert


@pytest.fixture(scope="session")
def make_log() -> type[Log]:
    return Log


@pytest.fixture(scope="session")
def make_pane() -> Callable[..., dict[str, Any]]:
    return pane


@pytest.fixture(scope="session")
def make_sketch() -> Callable[..., list[dict[str, int]]]:
    return sketch


@pytest.fixture(scope="session")
def run_restarted() -> Callable[..., tuple[list[Alert], list[Any]]]:
    return restarted


@pytest.fixture(scope="session")
def default_rules() -> list[Rule]:
    from importlib.resources import files

    return parse(files("spanloom_processors").joinpath("rules", "default.yaml").read_text())
