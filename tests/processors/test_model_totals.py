import polars as pl
from prometheus_client import CollectorRegistry, generate_latest
from spanloom_processors.core import panes
from spanloom_processors.model_totals import ModelTotals
from spanloom_schemas.panes import LATENCY_BOUNDS_S


def closed(*rows: dict) -> pl.DataFrame:
    nothing = {name: 0 for name, dtype in panes.SCHEMA.items() if dtype == pl.Int64 and name != "late_offset"}
    filled = [{**nothing, "kind": "llm", "model": "m", "latency_le": [0] * 12, **row} for row in rows]
    return pl.DataFrame(filled, schema=panes.SCHEMA)


def scraped(*frames: pl.DataFrame) -> dict[str, float]:
    totals, registry = ModelTotals(), CollectorRegistry()
    registry.register(totals)
    for frame in frames:
        totals.add(frame)
    lines = generate_latest(registry).decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def test_closed_panes_of_llm_spans_add_up_by_model():
    counts = [0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    pane = {"spans": 3, "errors": 1, "output_tokens": 40, "reasoning_tokens": 2, "cost": 1_500_000_000}
    pane |= {"duration": 3_000_000_000, "latency_le": counts}
    found = scraped(closed(pane, {**pane, "service": "other"}), closed(pane, {**pane, "model": "n"}))
    assert found['llm_requests_total{model="m",status="ok"}'] == 6
    assert found['llm_requests_total{model="m",status="error"}'] == 3
    assert found['llm_requests_total{model="n",status="ok"}'] == 2
    assert found['llm_tokens_generated_total{model="m"}'] == 126
    assert found['llm_cost_dollars_total{model="m"}'] == 4.5
    assert found['llm_request_latency_seconds_bucket{le="0.1",model="m"}'] == 0
    assert found['llm_request_latency_seconds_bucket{le="0.16",model="m"}'] == 6
    assert found['llm_request_latency_seconds_bucket{le="81.92",model="m"}'] == 6
    assert found['llm_request_latency_seconds_bucket{le="+Inf",model="m"}'] == 9
    assert found['llm_request_latency_seconds_count{model="m"}'] == 9
    assert found['llm_request_latency_seconds_sum{model="m"}'] == 9.0


def test_the_buckets_are_the_ones_the_issue_names():
    assert LATENCY_BOUNDS_S[0] == 0.1
    assert LATENCY_BOUNDS_S[-1] == 81.92


def test_other_kinds_count_for_safety_blocks_only():
    reasons = [{"reason": "injection", "count": 2}, {"reason": "pii", "count": 1}]
    found = scraped(closed({"kind": "safety", "spans": 9, "block_reasons": reasons}), closed())
    assert found == {
        'llm_safety_blocks_total{reason="injection"}': 2,
        'llm_safety_blocks_total{reason="pii"}': 1,
    }


def test_models_and_reasons_past_their_bound_are_counted_as_other_and_nothing_is_lost():
    totals, registry = ModelTotals(), CollectorRegistry()
    registry.register(totals)
    for first in range(0, 30_000, 2_000):
        names = [f"model {n}" for n in range(first, first + 2_000)]
        totals.add(
            closed(*({"spans": 1, "model": name, "block_reasons": [{"reason": name, "count": 1}]} for name in names))
        )
    lines = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    found = {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}
    assert found['llm_requests_total{model="other",status="ok"}'] == 29_000
    assert sum(value for name, value in found.items() if name.startswith("llm_requests_total")) == 30_000
    assert sum(value for name, value in found.items() if name.startswith("llm_safety_blocks_total")) == 30_000
    assert totals.moved == 29_000 + 29_900
    assert len(lines) < 20_000
