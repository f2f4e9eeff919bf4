"""Programs of others that a test starts where they are on PATH."""

import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from spanloom_stack import net

START_SECONDS = 60.0


def on_path(name: str, how: str) -> str:
    """Where a program is; the test is skipped where it is not, and says `how` to come by it."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} on PATH ({how})")
    return found


@contextmanager
def running(command: Sequence[str], log: Path, is_up: Callable[[], bool]) -> Iterator[None]:
    """Run a program, whose errors go into `log`, from when it is up, and end it."""
    with log.open("wb") as file:
        process = subprocess.Popen(command, stderr=file)
    try:
        assert net.until(lambda: is_up() or process.poll() is not None, START_SECONDS), log.read_text()
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.terminate()
        process.wait(60)
