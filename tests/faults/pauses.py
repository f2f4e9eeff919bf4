"""What is slow, stands still, or cannot be reached, and comes back."""

import random
import signal
import time
from pathlib import Path

from tests.faults.crashes import worker
from tests.faults.stage import Stage

SESSION_S = 10.0
"""After which the group gives a silent member's partitions to others."""
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


def zombie_processor(stage: Stage, rnd: random.Random, seconds: float = SESSION_S + 8) -> None:
    """10: frozen for longer than its session while another worker takes over; then it wakes and goes on."""
    other = worker(stage, "processor-9")
    stage.children.start(other)
    freeze(stage, "processor-1", seconds)
    stage.run(5)
    stage.children.remove(other.name)


def zombie_alone(stage: Stage, rnd: random.Random, seconds: float = SESSION_S + 3) -> None:
    """10: frozen for longer than its session, nobody takes over."""
    freeze(stage, "processor-1", seconds)


def zombie_sink(stage: Stage, rnd: random.Random, seconds: float = SESSION_S + 3) -> None:
    """10, 12: frozen for longer than its session. Its memory stays bounded while it catches up."""
    freeze(stage, "sink", seconds)
    stage.live_again()
    assert resident(stage, "sink") < SINK_MEGABYTES, f"the sink holds {resident(stage, 'sink'):.0f} MB"


def replaced_sink(stage: Stage, rnd: random.Random) -> None:
    """10: frozen between its mark and its insert while another sink of its place takes over, then woken."""
    stage.children.arm("sink", SPANLOOM_FAULT=f"sink.after_pending:3:{SESSION_S + 5:.0f}")
    stage.run(rnd.uniform(4, 6))
    before, service = stage.children.child("sink").process, stage.children.service("sink")
    stage.children.abandon("sink")
    stage.children.start(service)
    stage.until(lambda: before.poll() is not None, 60, "the replaced sink ends by itself")


def freeze_broker(stage: Stage, rnd: random.Random, seconds: float = 30) -> None:
    """11."""
    freeze(stage, "kafka", seconds)


def freeze_engine(stage: Stage, rnd: random.Random, seconds: float = 20) -> None:
    """13: an engine that stands still for a while."""
    freeze(stage, "clickhouse", seconds)


def slow_engine(stage: Stage, rnd: random.Random, seconds: float = 20) -> None:
    """13: each answer of the engine takes a second or more."""
    stage.engine.latency_s = 0.5
    stage.run(seconds)
    stage.engine.heal()


def refusing_engine(stage: Stage, rnd: random.Random, seconds: float = 30) -> None:
    """14: the engine is away."""
    stage.engine.refuse()
    stage.run(seconds)
    stage.engine.heal()


def silent_engine(stage: Stage, rnd: random.Random, seconds: float = 20) -> None:
    """15: connections to the engine stay and carry nothing."""
    stage.engine.silent = True
    stage.run(seconds)
    stage.engine.heal()


def resets(stage: Stage, rnd: random.Random, times: int = 8) -> None:
    """15: all connections to broker and engine are reset, again and again."""
    for _ in range(times):
        stage.run(rnd.uniform(0.3, 2.5))
        rnd.choice([stage.broker, stage.engine]).reset()


def late_broker(stage: Stage, rnd: random.Random, seconds: float = 20) -> None:
    """15: 200 ms each way to the broker."""
    stage.broker.latency_s = 0.2
    stage.run(seconds)
    stage.broker.heal()


def narrow_broker(stage: Stage, rnd: random.Random, seconds: float = 20) -> None:
    """15: 1 Mbit/s each way and connection to the broker."""
    stage.broker.bytes_a_second = 125_000
    stage.run(seconds)
    stage.broker.heal()


def silent_broker(stage: Stage, rnd: random.Random, seconds: float = 20) -> None:
    """15: connections to the broker stay and carry nothing."""
    stage.broker.silent = True
    stage.run(seconds)
    stage.broker.heal()


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


def resident(stage: Stage, name: str) -> float:
    """Resident memory of a process, in MB."""
    status = Path(f"/proc/{stage.children.pids()[name]}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024
