"""The `llm_*` families: what closed panes add up to, kept as integers and handed to prometheus-client when it asks.

They cover spans of kind llm (safety blocks: of every kind) and advance when a pane is closed for good and that is
committed, so a replay counts nothing twice. Late spans are in no pane: `spanloom_late_spans_total` counts them.
"""

from collections import Counter as Tally
from collections.abc import Iterator

import polars as pl
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from spanloom_schemas.panes import LATENCY_BOUNDS_S

MODELS = 1_000
REASONS = 100
OTHER = "other"
"""Under which models and block reasons past these bounds are counted: a name is for ever in a process's metrics."""

_BOUNDS = [*map(str, LATENCY_BOUNDS_S), "+Inf"]
_NANO = 1e9


class ModelTotals(Collector):
    """Totals of closed panes by model, and of safety blocks by reason."""

    def __init__(self) -> None:
        self._requests: Tally[tuple[str, str]] = Tally()
        self._latency: dict[str, list[int]] = {}
        self._duration: Tally[str] = Tally()
        self._tokens: Tally[str] = Tally()
        self._cost: Tally[str] = Tally()
        self._blocks: Tally[str] = Tally()
        self.moved = 0
        """Spans so far that are counted under `other`."""

    def add(self, closed: pl.DataFrame) -> None:
        """Count panes that have closed for good; the caller gives each once (`settling.py`)."""
        for row in _by_model(closed).iter_rows(named=True):
            model = self._named(self._tokens, row["model"], MODELS, row["spans"])
            self._requests[model, "ok"] += row["spans"] - row["errors"]
            self._requests[model, "error"] += row["errors"]
            self._tokens[model] += row["tokens"]
            self._cost[model] += row["cost"]
            self._duration[model] += row["duration"]
            counts = self._latency.setdefault(model, [0] * len(_BOUNDS))
            self._latency[model] = [old + new for old, new in zip(counts, row["latency"], strict=True)]
        for reason, count in _blocks(closed).iter_rows():
            self._blocks[self._named(self._blocks, reason, REASONS, count)] += count

    def _named(self, known: Tally[str], name: str, most: int, spans: int) -> str:
        if name in known or len(known) < most:
            return name
        self.moved += spans
        return OTHER

    def collect(self) -> Iterator[Metric]:
        """Yield the families in the forms of prometheus-client."""
        requests = CounterMetricFamily(
            "llm_requests", "Calls of models, by model and status.", labels=["model", "status"]
        )
        for labels, count in list(self._requests.items()):
            requests.add_metric(labels, count)
        yield requests
        latency = HistogramMetricFamily("llm_request_latency_seconds", "Duration of calls of models.", labels=["model"])
        for model, counts in list(self._latency.items()):
            running, buckets = 0, []
            for bound, count in zip(_BOUNDS, counts, strict=True):
                running += count
                buckets.append((bound, running))
            latency.add_metric([model], buckets, self._duration[model] / _NANO)
        yield latency
        yield _counter("llm_tokens_generated", "Output and reasoning tokens.", "model", self._tokens)
        yield _counter("llm_cost_dollars", "Cost of priced calls.", "model", self._cost, _NANO)
        yield _counter("llm_safety_blocks", "Spans that a safety check blocked.", "reason", self._blocks)


def _counter(name: str, documentation: str, label: str, values: Tally[str], unit: float = 1) -> CounterMetricFamily:
    family = CounterMetricFamily(name, documentation, labels=[label])
    for key, value in list(values.items()):
        family.add_metric([key], value / unit if unit != 1 else value)
    return family


def _by_model(closed: pl.DataFrame) -> pl.DataFrame:
    sums = [pl.col(name).sum() for name in ("spans", "errors", "cost", "duration")]
    latency = pl.concat_list([pl.col("latency_le").list.get(i, null_on_oob=True).sum() for i in range(len(_BOUNDS))])
    tokens = pl.col("output_tokens", "reasoning_tokens").sum()
    calls = closed.lazy().filter(pl.col("kind").cast(pl.String) == "llm").group_by("model")
    totals = calls.agg(*sums, tokens, latency.alias("latency"))
    return totals.with_columns(tokens=pl.col("output_tokens") + pl.col("reasoning_tokens")).collect()


def _blocks(closed: pl.DataFrame) -> pl.DataFrame:
    reasons = (
        closed.lazy()
        .select(pl.col("block_reasons").explode(keep_nulls=False, empty_as_null=False))
        .unnest("block_reasons")
    )
    return reasons.group_by("reason").agg(pl.col("count").sum()).collect()
