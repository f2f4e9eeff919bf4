"""Readings become panes of ten seconds: sums that nobody tells twice."""

import random

from spanloom.probe.panes import PANE_MS, Pane, Panes
from spanloom.probe.reading import Device, Reading
from spanloom_schemas import codec

NOW = 1_795_000_000_000
GPU = Device("0", "GPU-0", "NVIDIA H200")
HEADER = {"environment": "production", "host": "h", "sdk": "test"}


def told(panes: Panes, readings: list[tuple[int, list[Reading]]]) -> list[Pane]:
    found = [panes.add(at, each) for at, each in readings] + [panes.close()]
    return [pane for pane in found if pane]


def test_panes_hold_what_was_read_in_their_ten_seconds() -> None:
    rnd = random.Random(1)
    readings = [(NOW + n * 1000, rnd.choice([None, rnd.randrange(100)])) for n in range(47)]
    panes = told(Panes(5), [(at, [Reading(GPU, "gpu_utilization", value)]) for at, value in readings])
    assert [pane["start"] for pane in panes] == [NOW + n * PANE_MS for n in range(5)]
    for pane in panes:
        within = [value for at, value in readings if at // PANE_MS * PANE_MS == pane["start"]]
        answered = [value for value in within if value is not None]
        assert pane["samples"] == [
            {
                **GPU._asdict(), "quantity": "gpu_utilization", "count": len(answered),
                "failed": len(within) - len(answered), "sum": sum(answered), "lowest": min(answered),
                "highest": max(answered),
            }
        ]  # fmt: skip
        codec.encode("sample_batch", HEADER | pane)


def test_a_device_that_never_answered_has_no_sum_and_not_zero() -> None:
    pane = told(Panes(5), [(NOW, [Reading(GPU, "gpu_power", None)])])[0]
    sample = pane["samples"][0]
    assert (sample["count"], sample["failed"]) == (0, 1)
    assert sample["sum"] is sample["lowest"] is sample["highest"] is None
    codec.encode("sample_batch", HEADER | pane)


def test_no_two_panes_have_the_same_key_whatever_the_clock_does() -> None:
    clock = [0, 4_000, 11_000, 2_000, 3_000, 12_000, 12_500, 500, 60_000, 12_000]
    panes = told(Panes(5), [(NOW + at, [Reading(GPU, "gpu_power", 1)]) for at in clock])
    keys = [(pane["epoch"], pane["start"]) for pane in panes]
    assert len(set(keys)) == len(keys)
    assert sum(pane["samples"][0]["sum"] for pane in panes) == len(clock)


def test_nothing_read_is_nothing_told() -> None:
    assert Panes(5).close() is None
    assert told(Panes(5), [(NOW, []), (NOW + PANE_MS, [])]) == []
