"""What a partition holds stays bounded whatever comes, nothing is lost by it, and what overflows is counted."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from spanloom_processors.core.columns import COLUMNS
from spanloom_processors.core.partition import Partition
from spanloom_schemas.frames.traces import summarise

T0 = 1_700_000_000_000
MANY = 1_008_000 if os.environ.get("SOAK") else 160_000
"""Within a minute of log time. `SOAK=1 pytest tests/processors/core/test_bounds.py` takes two minutes."""
A_MESSAGE = 16_000
ROOM_MB = 400

Make = Callable[[range, int], pl.DataFrame]


@pytest.fixture
def many(make_frames: Any, make_span: Any) -> Callable[..., pl.DataFrame]:
    """Spans of one message, made by columns: as many as there are `numbers`, all just ended at `log_time`."""
    one, _ = make_frames([(0, 0, [make_span("t", "s", 0)])])

    def make(numbers: range, offset: int, log_time: int, **columns: pl.Expr) -> pl.DataFrame:
        ids = pl.int_range(numbers.start, numbers.stop, eager=True)
        end = pl.lit((T0 + log_time - 100) * 1_000_000, pl.Int64)
        frame = one[pl.zeros(len(numbers), pl.UInt32, eager=True)].with_columns(ids.alias("n"))
        usual = {"span_id": pl.col("n").cast(pl.String), "end": end, "start": end - 10**8, "offset": pl.lit(offset)}
        usual |= {"log_time": pl.lit(T0 + log_time), "position": pl.col("n").rank("ordinal").cast(pl.UInt32)}
        return frame.with_columns(**(usual | columns)).drop("n").cast({"offset": pl.Int64, "log_time": pl.Int64})

    return make


def resident_mb() -> float:
    gc.collect()
    with open("/proc/self/status") as status:
        return int(status.read().split("VmRSS:")[1].split()[0]) / 1024


def flood(partition: Partition, make: Callable[[range, int, int], pl.DataFrame], count: int = MANY) -> dict[str, Any]:
    """Fold `count` spans within a minute of log time, emitting every message; what was told, and what it took."""
    panes: dict[Any, int] = {}
    traces, emission, most = 0, None, 0.0
    before = resident_mb()
    for offset, first in enumerate(range(0, count, A_MESSAGE)):
        log_time = 60_000 * first // count
        spans = make(range(first, first + A_MESSAGE), offset, log_time)
        partition.fold(spans, pl.DataFrame({"offset": [offset], "log_time": [T0 + log_time]}))
        emission = partition.emit()
        for start, *key, late, told in emission.panes.select(
            "start", "kind", "tenant", "model", "late_offset", "spans"
        ).rows():
            panes[start, *key, late] = told
        traces += emission.traces["spans"].sum()
        most = max(most, resident_mb() - before)
    end = count // A_MESSAGE
    partition.fold(spans.clear(), pl.DataFrame({"offset": [end], "log_time": [T0 + 200_000]}))
    emission = partition.emit()
    traces += emission.traces["spans"].sum()
    return {"panes": panes, "traces": traces, "emission": emission, "most": most}


def test_a_trace_of_very_many_spans_is_told_in_pieces_and_held_in_little(many):
    partition = Partition("t", 0)
    found = flood(partition, lambda numbers, offset, at: many(numbers, offset, at, parent_id=pl.lit("root")))
    assert found["traces"] == MANY
    assert sum(found["panes"].values()) == MANY
    assert found["emission"].overflow["trace_spans"] == MANY
    assert found["most"] < ROOM_MB
    assert sum(frame.height for frame in partition._traces._held) == 0
    assert found["emission"].safe.offset == MANY // A_MESSAGE + 1


def test_very_many_tenants_and_models_in_a_minute_are_other_past_the_cap_and_counted(many):
    partition = Partition("t", 0)
    name = pl.format("tenant {}", "n")
    found = flood(
        partition, lambda numbers, offset, at: many(numbers, offset, at, tenant=name, model=name, trace_id=name)
    )
    assert sum(found["panes"].values()) == MANY
    per_pane: dict[int, int] = {}
    for start, *_ in found["panes"]:
        per_pane[start] = per_pane.get(start, 0) + 1
    assert max(per_pane.values()) == 2_001
    others = sum(told for (_, _, tenant, _, _), told in found["panes"].items() if tenant == "other")
    assert others == found["emission"].overflow["pane_keys"] >= MANY - 8 * 2_000
    assert found["most"] < ROOM_MB
    assert partition._panes._keys == partition._panes._groups == {}
    assert sum(frame.height for frame in partition._traces._held) == 0


def test_a_flood_of_late_spans_is_told_once_and_held_nowhere(many):
    partition = Partition("t", 0)
    name, end = pl.format("tenant {}", "n"), pl.lit((T0 - 86_400_000) * 1_000_000, pl.Int64)
    count = MANY // 5
    found = flood(partition, lambda numbers, offset, at: many(numbers, offset, at, tenant=name, end=end), count)
    assert sum(found["panes"].values()) == count == found["emission"].late
    assert partition._panes._keys == {}
    assert found["most"] < ROOM_MB


def test_attributes_payloads_and_events_of_a_span_are_not_held(many):
    assert not {"attributes", "events", "links", "input", "output"} & set(COLUMNS)


@pytest.mark.parametrize(
    ("parent", "reason"),
    [
        (pl.when(pl.col("n") > 0).then((pl.col("n") - 1).cast(pl.String)), None),  # a chain
        (((pl.col("n") + 1) % 100_000).cast(pl.String), "no_root"),  # a ring
        (pl.col("n").cast(pl.String), "no_root"),  # each its own parent
        (pl.lit(None, pl.String), None),  # a hundred thousand roots
        (pl.lit("nobody"), "no_root"),  # orphans only
        (pl.when(pl.col("n") > 0).then(pl.lit("0")), None),  # a hundred thousand children
    ],
    ids=["chain", "ring", "selves", "roots", "orphans", "fan"],
)
def test_a_trace_of_any_shape_is_summed_up_in_seconds(many, parent, reason):
    spans = many(range(100_000), 0, 1_000, parent_id=parent)
    begun = time.monotonic()
    (row,) = summarise(spans).to_dicts()
    assert time.monotonic() - begun < 30
    assert (row["spans"], row["reason"]) == (100_000, reason)
    assert len(row["critical_path"]) <= 100
    assert sum(stage["self"] for stage in row["stages"]) <= 100_000 * 10**8
