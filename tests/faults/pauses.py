"""What is slow, stands still, or cannot be reached, and comes back."""

import random
import signal
import time

from tests.faults.crashes import worker
from tests.faults.stage import Stage
from tests.faults.watch import resident

SESSION_S = 10.0
"""After which the group gives a silent member's partitions to others."""
FROZEN_S = 90.0
"""Longer than the session of any client, Faust's 60 s by default included."""
SINK_MEGABYTES = 700
"""A sink that catches up holds two blocks a partition, their frames and Arrow streams."""


def freeze(stage: Stage, name: str, seconds: float) -> None:
    """SIGSTOP, and SIGCONT after a while."""
    stopped = stage.children.pids()[name]
    stage.children.signal(name, signal.SIGSTOP)
    try:
        stage.run(seconds)
    finally:
        if stage.children.pids().get(name) == stopped:
            stage.children.signal(name, signal.SIGCONT)


def zombie_processor(stage: Stage, rnd: random.Random, seconds: float = FROZEN_S) -> None:
    """10: frozen for longer than its session while another worker takes over; then it wakes and goes on."""
    other = worker(stage, "processor-9")
    stage.children.start(other)
    freeze(stage, "processor-1", seconds)
    stage.run(5)
    stage.children.remove(other.name)


def zombie_alone(stage: Stage, rnd: random.Random, seconds: float = FROZEN_S) -> None:
    """10: frozen for longer than its session, nobody takes over."""
    freeze(stage, "processor-1", seconds)


def zombie_sink(stage: Stage, rnd: random.Random, seconds: float = FROZEN_S) -> None:
    """10, 12: frozen for longer than its session. Its memory stays bounded while it catches up."""
    freeze(stage, "sink", seconds)
    stage.live_again()
    assert resident(stage, "sink") < SINK_MEGABYTES, f"the sink holds {resident(stage, 'sink'):.0f} MB"


def replaced_sink(stage: Stage, rnd: random.Random) -> None:
    """10: frozen between its mark and its insert while another sink of its place takes over, then woken."""
    stage.children.arm("sink", SPANLOOM_FAULT=f"sink.after_pending:3:{SESSION_S + 5:.0f}")
    stage.run(rnd.uniform(4, 6))
    service = stage.children.service("sink")
    stage.children.abandon("sink")  # it runs on, and wakes
    stage.children.start(service)
    stage.run(SESSION_S + 8)


def freeze_broker(stage: Stage, rnd: random.Random, seconds: float = 30) -> None:
    """11."""
    freeze(stage, "kafka", seconds)


def freeze_engine(stage: Stage, rnd: random.Random, seconds: float = 20) -> None:
    """13: an engine that stands still for a while."""
    freeze(stage, "clickhouse", seconds)


def slow_engine(stage: Stage, rnd: random.Random, seconds: float = 60) -> None:
    """13: each answer of the engine, of some 20 ms, takes ten times as long; then a hundred times."""
    for latency_s in (0.1, 1.0):
        disturbed(stage, rnd, "engine", seconds, latency_s=latency_s)


def disturbed(stage: Stage, rnd: random.Random, where: str, seconds: float = 20, **how: float) -> None:
    """13, 15: the proxy before the broker or the engine does something to all connections for a while."""
    proxy = getattr(stage, where)
    for name, value in how.items():
        setattr(proxy, name, value)
    stage.run(seconds)
    proxy.heal()


def refusing_engine(stage: Stage, rnd: random.Random, seconds: float = 30) -> None:
    """14: the engine is away."""
    stage.engine.refuse()
    stage.run(seconds)
    stage.engine.heal()


def resets(stage: Stage, rnd: random.Random, times: int = 8) -> None:
    """15: all connections to broker and engine are reset, again and again."""
    for _ in range(times):
        stage.run(rnd.uniform(0.3, 2.5))
        rnd.choice([stage.broker, stage.engine]).reset()


def refusing_broker(stage: Stage, rnd: random.Random, seconds: float = 20) -> None:
    """15: the broker cannot be reached."""
    stage.broker.refuse()
    stage.run(seconds)
    stage.broker.heal()


def blocked_loop(stage: Stage, rnd: random.Random, seconds: float = 30) -> None:
    """16: the event loop of the processor is blocked, its other threads are not."""
    stage.children.arm("processor-1", SPANLOOM_FAULT=f"processor.after_flush:{rnd.randrange(2, 6)}:{seconds:.0f}")
    begun = time.monotonic()
    stage.until(lambda: stage.live_again() and time.monotonic() - begun > seconds, seconds + 120, "the loop is free")
