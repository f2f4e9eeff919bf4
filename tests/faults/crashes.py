"""Crashes: kill -9 at random, at named points, in loops and in rebalances; orders to stop; a log that lost its tail.

Numbers are those of the reference's list of fault tests. A fault is done to a line under load and returns when it has
been done; the caller waits until the line is live again, and judges.
"""

import itertools
import os
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from spanloom_stack import services

from tests.faults.stage import Stage

SINK_POINTS = ("before_pending", "after_pending", "mid_insert", "after_insert", "after_commit")
PROCESSOR_POINTS = ("at_assignment", "mid_emission", "after_flush", "after_commit")
ALERT_POINTS = ("after_record", "after_delivery")
STOP_S = 10.0


def kill(stage: Stage, rnd: random.Random, victims: Sequence[str], kills: int) -> None:
    """1, 3, 4: kill -9 of all `victims` at once, several times at random moments, ready or not."""
    for _ in range(kills):
        stage.run(rnd.uniform(0.2, 4))
        for victim in victims:
            stage.children.kill(victim)


def kill_processor(stage: Stage, rnd: random.Random, kills: int = 3) -> None:
    kill(stage, rnd, ["processor-1"], kills)


def kill_sink(stage: Stage, rnd: random.Random, kills: int = 3) -> None:
    kill(stage, rnd, ["sink"], kills)


def kill_broker(stage: Stage, rnd: random.Random, kills: int = 2) -> None:
    kill(stage, rnd, ["kafka"], kills)


def kill_engine(stage: Stage, rnd: random.Random, kills: int = 2) -> None:
    kill(stage, rnd, ["clickhouse"], kills)


def kill_gateway(stage: Stage, rnd: random.Random, kills: int = 3) -> None:
    kill(stage, rnd, ["gateway"], kills)


def kill_all(stage: Stage, rnd: random.Random, kills: int = 2) -> None:
    kill(stage, rnd, stage.children.names(), kills)


def kill_any(stage: Stage, rnd: random.Random, kills: int = 5) -> None:
    for _ in range(kills):
        kill(stage, rnd, [rnd.choice(stage.children.names())], 1)


def die_at_points(stage: Stage, rnd: random.Random, points: Sequence[str] | None = None, turns: int = 4) -> None:
    """2: the process kills itself at a named point, at a turn by chance, and is started again."""
    for point in points or (*sink_points(), *processor_points()):
        die_at(stage, point, 1 if point.endswith("at_assignment") else rnd.randrange(1, turns + 1))


def die_at(stage: Stage, point: str, turn: int, seconds: float = 60) -> None:
    victim = "sink" if point.startswith("sink.") else "processor-1"
    before = len(stage.children.exits)
    stage.children.arm(victim, SPANLOOM_FAULT=f"{point}:{turn}")
    stage.until(
        lambda: (victim, -signal.SIGKILL) in stage.children.exits[before + 1 :], seconds, f"{victim} dies at {point}"
    )


def sink_points() -> list[str]:
    return [f"sink.{point}" for point in SINK_POINTS]


def processor_points() -> list[str]:
    return [f"processor.{point}" for point in PROCESSOR_POINTS]


def die_with_alerts(stage: Stage, rnd: random.Random) -> None:
    """2: dies between an alert's record and its delivery, and between delivery and commit."""
    for point in ALERT_POINTS:
        die_at(stage, f"alerts.{point}", 1, seconds=120)
        stage.live_again()


def stop_in_order(stage: Stage, rnd: random.Random) -> None:
    """5: SIGTERM under load: out in less than 10 s with code 0."""
    for victim in ("processor-1", "sink"):
        stage.run(rnd.uniform(0.5, 2))
        before, begun = len(stage.children.exits), time.monotonic()
        os.kill(stage.children.pids()[victim], signal.SIGTERM)
        stage.until(lambda before=before: stage.children.exits[before:], STOP_S, f"{victim} ends in {STOP_S:.0f} s")
        took = time.monotonic() - begun
        assert stage.children.exits[before] == (victim, 0), f"{stage.children.exits[before:]} after {took:.1f} s"


def crash_loop(stage: Stage, rnd: random.Random, times: int = 20) -> None:
    """6: processor and sink die again and again, mostly before they are ready."""
    for _ in range(times):
        stage.run(rnd.uniform(0.3, 3))
        stage.children.kill(rnd.choice(["processor-1", "sink"]))


def kill_in_rebalance(stage: Stage, rnd: random.Random, times: int = 3) -> None:
    """7: a second worker joins and leaves; one of the two dies while partitions change hands."""
    for turn in range(times):
        second = worker(stage, f"processor-{turn + 2}")
        stage.children.start(second)
        stage.run(rnd.uniform(0, 2))
        stage.children.kill(rnd.choice(["processor-1", second.name]))
        stage.run(rnd.uniform(2, 5))
        if turn % 2:
            stage.children.hold(second.name)  # by kill -9, in the rebalance that its return began
            stage.children.remove(second.name)
        else:
            stage.children.remove(second.name)


def die_at_rebalance(stage: Stage, rnd: random.Random) -> None:
    """7: a worker dies in its last words, when its partitions are about to be taken away."""
    before = len(stage.children.exits)
    stage.children.arm("processor-1", SPANLOOM_FAULT="processor.at_rebalance:1")
    stage.live_again()
    second = worker(stage, "processor-2")
    stage.children.start(second)
    died = ("processor-1", -signal.SIGKILL)
    stage.until(lambda: died in stage.children.exits[before + 1 :], 60, "the worker dies in its last words")
    stage.run(3)
    stage.children.remove(second.name)


def worker(stage: Stage, name: str):
    """A further processor, as `spanloom up` runs it."""
    environment = {**stage.environment, "SPANLOOM_PROCESSOR_MEMBER": name, "SPANLOOM_METRICS_PORT": "0"}
    return services.spanloom(name, "processor", **environment)


def corrupt_deduplication_log(stage: Stage, rnd: random.Random) -> None:
    """9: the sink dies between insert and commit; the engine loses the end of its log of tokens with the power."""
    stage.children.hold("sink")
    stage.children.let_up("sink")
    die_at(stage, "sink.after_insert", 1)
    stage.children.hold("sink")
    stage.children.hold("clickhouse")
    for log in _deduplication_logs(stage):
        torn = log.read_bytes()
        log.write_bytes(torn[: max(0, len(torn) - rnd.randrange(1, 40))])
    stage.children.let_up("clickhouse")
    stage.until(lambda: stage.ask("SELECT count() FROM spans"), 60, "the engine opens its data again")
    stage.children.let_up("sink")


def _deduplication_logs(stage: Stage) -> list[Path]:
    logs = sorted((stage.folder / "clickhouse").rglob("deduplication_log_*.txt"))
    tables = itertools.groupby(logs, lambda log: log.parent)
    newest = [max(group, key=lambda log: log.stat().st_mtime) for _, group in tables]
    found = [log for log in newest if log.stat().st_size]
    assert found, "the engine keeps no log of tokens where it is looked for"
    return found
