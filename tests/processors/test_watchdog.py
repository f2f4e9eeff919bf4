import logging
import subprocess
import sys
import threading

import pytest
from spanloom_processors.watchdog import EXIT_CODE, Vital, observe, stalled, watch

LIMIT = 60


def verdict(looks: list[tuple[float, Vital]]) -> str | None:
    """The verdict after these looks at one partition, each with its time."""
    standing: dict = {}
    for now, vital in looks:
        standing = observe(standing, {"p": vital}, now)
    return stalled(standing, looks[-1][0], LIMIT)


def test_a_partition_that_is_read_is_well():
    assert verdict([(t, Vital(position=t, end=1000, fetched=t, unsaved=None)) for t in range(0, 200, 10)]) is None


def test_a_partition_with_lag_that_stands_still_is_stalled_even_while_fetches_are_answered():
    looks = [(t, Vital(position=5, end=10, fetched=t, unsaved=None)) for t in range(0, 80, 10)]
    assert "lag=5" in (verdict(looks) or "")
    assert verdict(looks[:6]) is None


def test_an_idle_partition_whose_fetches_are_answered_is_well():
    assert verdict([(t, Vital(position=10, end=10, fetched=t, unsaved=None)) for t in range(0, 200, 10)]) is None


def test_a_partition_of_which_no_fetch_is_answered_is_stalled_though_no_lag_is_known():
    assert verdict([(t, Vital(position=10, end=10, fetched=1, unsaved=None)) for t in range(0, 80, 10)])


def test_a_commit_that_never_succeeds_is_a_stall_however_often_its_point_changes():
    looks = [(t, Vital(position=t, end=1000, fetched=t, unsaved=("point", t))) for t in range(0, 80, 10)]
    assert "committed" in (verdict(looks) or "")


def test_a_commit_that_succeeds_now_and_then_is_well():
    looks = [(t, Vital(t, 1000, t, None if t % 40 == 0 else ("point", t))) for t in range(0, 300, 10)]
    assert verdict(looks) is None


def test_commits_that_move_are_well_though_every_look_finds_something_newer_declared():
    """A worker that catches up declares with every poll: at hardly any look is nothing left to commit."""
    looks = [(t, Vital(t, 1000, t, unsaved=("point", t), committed=("point", t - 5))) for t in range(0, 300, 10)]
    assert verdict(looks) is None


def test_commits_that_stand_still_are_a_stall_though_one_was_made_before():
    looks = [(t, Vital(t, 1000, t, ("point", t), committed=("point", min(t, 20)))) for t in range(0, 100, 10)]
    assert "committed" in (verdict(looks) or "")
    assert verdict(looks[:8]) is None


def test_a_partition_that_was_taken_away_is_forgotten():
    standing = observe({}, {"p": Vital(5, 10, 1, None)}, 0)
    assert stalled(observe(standing, {}, 100), 100, LIMIT) is None


@pytest.mark.parametrize("blocked", [True, False])
def test_it_ends_the_process_even_when_the_event_loop_hangs(blocked):
    wait = "time.sleep(20)" if blocked else "await asyncio.sleep(20)"
    script = f"""
import asyncio, time
from spanloom_processors.watchdog import Vital, watch
async def main():
    watch(lambda: {{"p": Vital(5, 10, 1, None)}}, lambda: None, limit=0.2, interval=0.05)
    {wait}
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=15)
    assert done.returncode == EXIT_CODE
    assert "stands at offset=5" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_while_kafka_is_away_a_worker_waits_and_says_so(caplog):
    excused = threading.Semaphore(0)

    def away():
        excused.release()
        return "Kafka at 127.0.0.1:1 cannot be used"

    with caplog.at_level(logging.WARNING):
        done = watch(lambda: {"p": Vital(5, 10, 1, None)}, away, limit=0.1, interval=0.02)
        assert all(excused.acquire(timeout=10) for _ in range(2))
        done.set()
    assert "stands at offset=5 lag=5" in caplog.text
    assert "waiting: Kafka at 127.0.0.1:1 cannot be used" in caplog.text
