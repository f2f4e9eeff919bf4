"""Samples of machines in the real engine: minutes are sums of panes, and what comes twice counts once."""

import pytest
from spanloom_schemas import codec

MINUTE = 1_700_000_040_000


def batch(host, start, *samples, epoch=1):
    header = {"environment": "test", "host": host, "epoch": epoch, "start": start, "sdk": "test"}
    names = ("quantity", "count", "failed", "sum", "lowest", "highest")
    data = [
        {"gpu_id": "0", "gpu_uuid": "u", "gpu_model": "m"} | dict(zip(names, each, strict=True)) for each in samples
    ]
    return codec.encode("sample_batch", header | {"samples": data})


@pytest.fixture
def minutes(store):
    def read(host):
        rows = store.query(
            "SELECT toUnixTimestamp(window) * 1000, quantity, readings, failed, mean, lowest, highest, total "
            "FROM samples_1m WHERE host = {host:String} ORDER BY window, quantity",
            host=host,
        )
        return rows.rows()

    return read


def test_minutes_are_sums_of_panes_in_the_units_of_people(fill, minutes, traffic):
    host = traffic.id(8)
    used = [
        batch(host, MINUTE + n * 10_000, ("gpu_utilization", 10, 0, n * 1_000_000, n * 100_000, n * 100_000))
        for n in range(1, 8)
    ]
    other = batch(host, MINUTE, ("gpu_power", 2, 1, 700_000, 300_000, 400_000), ("gpu_temperature", 0, 3, *[None] * 3))
    fill("llm.samples", [(n, MINUTE + n, value) for n, value in enumerate([*used, other])])
    assert minutes(host) == [
        (MINUTE, "gpu_power", 2, 1, 350.0, 300.0, 400.0, 700.0),
        (MINUTE, "gpu_temperature", 0, 3, None, None, None, None),
        (MINUTE, "gpu_utilization", 50, 0, 0.3, 0.1, 0.5, 15.0),
        (MINUTE + 60_000, "gpu_utilization", 20, 0, 0.65, 0.6, 0.7, 13.0),
    ]


def test_a_replay_counts_nothing_twice_and_a_probe_that_starts_again_within_a_pane_adds_to_it(fill, minutes, traffic):
    host = traffic.id(8)
    before = batch(host, MINUTE, ("network_sent", 4, 0, 400, 90, 110))
    after = batch(host, MINUTE, ("network_sent", 5, 0, 100, 10, 30), epoch=2)
    for first in (0, 7):
        fill("llm.samples", [(first, MINUTE, before), (first + 1, MINUTE + 1, after)])
    fill("llm.samples", [(20, MINUTE + 2, before)])
    assert minutes(host) == [(MINUTE, "network_sent", 9, 0, 500 / 9, 10.0, 110.0, 500.0)]
