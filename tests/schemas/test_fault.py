"""A named point kills its process, or lets it sleep, at its turn; without SPANLOOM_FAULT it does nothing."""

import os
import signal
import subprocess
import sys

PROGRAM = """
import time
from spanloom_schemas.fault import reach
for turn in range(3):
    begun = time.monotonic()
    reach("here")
    reach("there")
    print(turn, time.monotonic() - begun > 0.5, flush=True)
"""


def run(fault: str | None) -> tuple[int, list[str]]:
    environment = {name: value for name, value in os.environ.items() if name != "SPANLOOM_FAULT"}
    environment |= {"SPANLOOM_FAULT": fault} if fault else {}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout.splitlines()


def test_a_process_is_killed_when_it_reaches_the_point_for_the_nth_time():
    assert run("here:2") == (-signal.SIGKILL, ["0 False"])
    assert run("there") == (-signal.SIGKILL, [])


def test_with_seconds_behind_it_the_thread_sleeps_there_once():
    assert run("here:2:0.6") == (0, ["0 False", "1 True", "2 False"])


def test_no_point_or_another_one_changes_nothing():
    assert run(None) == run("elsewhere:1") == (0, ["0 False", "1 False", "2 False"])
