"""Child processes under one parent: started together, watched, restarted when they crash, stopped in reverse order.

Each child writes to a log file of its own, sits in a session of its own (so Ctrl-C reaches the parent alone, which
decides the order) and is tethered to the parent (see `tether`). Use a Supervisor from the main thread.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from spanloom_stack.tether import tethered

_FIRST_DELAY, _LONGEST_DELAY = 0.5, 30.0
_STEADY = 60.0  # seconds after which a service counts as recovered
_LOG_BYTES = 10 << 20
_PAUSE = 0.05


class StartFailed(RuntimeError):
    """A service that ended, or said nothing, before it was ready; the message ends with its last words."""


@dataclass(frozen=True)
class Service:
    """What to run, and how to see that it is ready: `ready` gets all that this run has written to its log."""

    name: str
    command: list[str]
    ready: Callable[[str], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    start_timeout: float = 60.0
    stop_timeout: float = 10.0


@dataclass
class _Child:
    service: Service
    log: Path
    process: subprocess.Popen[bytes]
    begun: float
    delay: float = _FIRST_DELAY
    due: float | None = None  # when to start it again, after a crash


class Supervisor:
    """Runs services; leaving it as a context manager stops them all."""

    def __init__(self, logs: Path, report: Callable[[str], None] = lambda line: None) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self._logs = logs
        self._report = report
        self._children: list[_Child] = []

    def start(self, *services: Service) -> None:
        """Start `services` together and return when all are ready. Raises StartFailed."""
        started = []
        for service in services:
            log = self._logs / f"{service.name}.log"
            if log.exists() and log.stat().st_size > _LOG_BYTES:
                log.replace(log.with_suffix(".log.1"))
            log.touch()
            offset = log.stat().st_size
            child = _Child(service, log, _spawn(service, log), time.monotonic())
            self._children.append(child)
            started.append((child, offset))
        for child, offset in started:
            _await_ready(child, offset)

    def watch(self, until: Callable[[], bool]) -> None:
        """Keep the services running until `until()`: a crashed one is reported and started again, later each time."""
        while not until():
            for child in self._children:
                self._look_after(child, time.monotonic())
            time.sleep(_PAUSE)

    def pids(self) -> dict[str, int]:
        """The process of each service that runs now."""
        return {c.service.name: c.process.pid for c in self._children if c.process.poll() is None}

    def stop(self) -> None:
        """Stop all services, the last started first; what does not end in its time is killed."""
        while self._children:
            child = self._children.pop()
            child.process.terminate()
            try:
                child.process.wait(child.service.stop_timeout)
            except subprocess.TimeoutExpired:
                self._report(f"{child.service.name} did not stop in {child.service.stop_timeout:.0f} s: killed")
                os.killpg(child.process.pid, signal.SIGKILL)
                child.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _look_after(self, child: _Child, now: float) -> None:
        if child.due is not None:
            if now >= child.due:
                child.process, child.begun, child.due = _spawn(child.service, child.log), now, None
            return
        code = child.process.poll()
        if code is None:
            return
        if now - child.begun > _STEADY:
            child.delay = _FIRST_DELAY
        self._report(
            f"{child.service.name} ended {_how(code)}; starting it again in {child.delay:g} s, see {child.log}"
        )
        child.due = now + child.delay
        child.delay = min(child.delay * 2, _LONGEST_DELAY)


def _spawn(service: Service, log: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", **service.environment}
    with log.open("ab") as file:
        return subprocess.Popen(
            tethered(service.command),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=environment,
            start_new_session=True,
        )


def _await_ready(child: _Child, offset: int) -> None:
    """Wait for one child; nobody else waits longer for it, all were started before."""
    service, deadline = child.service, time.monotonic() + child.service.start_timeout
    while not service.ready(_written(child.log, offset)):
        code = child.process.poll()
        if code is not None:
            raise StartFailed(f"{service.name} ended {_how(code)} before it was ready{_last_words(child, offset)}")
        if time.monotonic() > deadline:
            raise StartFailed(
                f"{service.name} was not ready after {service.start_timeout:.0f} s{_last_words(child, offset)}"
            )
        time.sleep(_PAUSE)


def _written(log: Path, offset: int) -> str:
    with log.open("rb") as file:
        file.seek(offset)
        return file.read().decode(errors="replace")


def _last_words(child: _Child, offset: int) -> str:
    lines = [line for line in _written(child.log, offset).splitlines() if line.strip()]
    return f": {lines[-1].strip()} (all of it in {child.log})" if lines else f" (see {child.log})"


def _how(code: int) -> str:
    return f"by signal {-code}" if code < 0 else f"with code {code}"
