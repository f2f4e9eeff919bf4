"""The line's processes within a fault's reach: killed, held down, paused, armed with a point to die at."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from spanloom_stack import supervise
from spanloom_stack.supervise import Service, Supervisor

RESTART_S = 0.3
"""Soon: the product's supervisor waits longer after each crash, and a fault should meet a line that is up."""


class Children(Supervisor):
    """A supervisor that starts what ended again after the same short pause each time, unless it is held down."""

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.exits: list[tuple[str, int]] = []
        self.starts: Counter[str] = Counter()
        self._down: set[str] = set()
        self._abandoned: list = []
        self._ended_at: dict[str, float] = {}

    def child(self, name: str):
        return next(child for child in self._children if child.service.name == name)

    def names(self) -> list[str]:
        return [child.service.name for child in self._children]

    def log(self, name: str) -> str:
        return self.child(name).log.read_text(errors="replace")

    def kill(self, name: str) -> None:
        """Kill -9, if it runs."""
        if (pid := self.pids().get(name)) is not None:
            os.kill(pid, signal.SIGKILL)

    def signal(self, name: str, number: int) -> None:
        os.kill(self.pids()[name], number)

    def service(self, name: str) -> Service:
        return self.child(name).service

    def abandon(self, name: str) -> None:
        """Let a process run on without looking after it."""
        self._abandoned.append(self.child(name))
        self._children.remove(self._abandoned[-1])

    def hold(self, name: str, kill: bool = True) -> None:
        """Keep a process down until it is let up."""
        self._down.add(name)
        if kill:
            self.kill(name)
            self.child(name).process.wait()

    def let_up(self, name: str) -> None:
        self._down.discard(name)

    def remove(self, name: str) -> int:
        """End a process in order, for good; returns its exit code."""
        child = self.child(name)
        self._children.remove(child)
        self._down.discard(name)
        child.process.terminate()
        return child.process.wait(60)

    def arm(self, name: str, **environment: str) -> None:
        """Start a process anew with further variables, which hold for this one run."""
        child, plain = self.child(name), self.child(name).service
        self.hold(name)
        self.exits.append((name, child.process.returncode))
        child.service = replace(plain, environment={**plain.environment, **environment})
        self._spawn(child)
        child.service = plain
        self.let_up(name)

    def watch(self, until: Callable[[], bool], seconds: float = float("inf")) -> bool:
        """Keep the processes running until `until()`; False: that took longer."""
        deadline = time.monotonic() + seconds
        super().watch(lambda: until() or time.monotonic() > deadline)
        return time.monotonic() <= deadline

    def run(self, seconds: float) -> None:
        """Keep the processes running for a while."""
        self.watch(lambda: False, seconds)

    def stop(self) -> None:
        for child in self._abandoned:
            child.process.kill()
            child.process.wait()
        for pid in self.pids().values():
            os.kill(pid, signal.SIGCONT)
        super().stop()

    def _look_after(self, child, now: float) -> None:
        name = child.service.name
        if name in self._down or child.process.poll() is None:
            return
        if name not in self._ended_at:
            self._ended_at[name] = now
            self.exits.append((name, child.process.returncode))
        if now - self._ended_at[name] >= RESTART_S:
            self._spawn(child)

    def _spawn(self, child) -> None:
        self._ended_at.pop(child.service.name, None)
        self.starts[child.service.name] += 1
        child.process, child.begun = supervise._spawn(child.service, child.log), time.monotonic()
