"""What a rule can be about: each metric by name, in one table.

A metric is a sum over panes (`Fold`), so a window of any length is a sum of its panes. Base units: seconds, ratio,
dollars, dollars/min, spans, tokens.
"""

import re
from enum import Enum
from typing import NamedTuple


class Fold(Enum):
    """How a metric's value comes from the sums of a window."""

    QUANTILE = "quantile"  # of the sketch `of`
    RATIO = "ratio"  # sum of `of` over sum of `per`
    BLOCKED = "blocked"  # blocked requests over requests
    SUM = "sum"  # sum of `of`
    PER_MINUTE = "per_minute"  # sum of `of` by the window's minutes
    TRACE = "trace"  # of one trace, not of a window
    SAMPLES = "samples"  # mean of a machine's readings of `of`, from llm.samples


class Metric(NamedTuple):
    """A metric: what it sums, the unit of its value, which worst spans explain it (`why`, as in a pane's `worst`)."""

    name: str
    fold: Fold
    of: str
    unit: str
    phrase: str
    per: str = "spans"
    why: str = ""
    requests_only: bool = False
    quantile: float = 0.0

    @property
    def grows(self) -> bool:
        """A further span can only raise it, so that above a threshold it stays."""
        return self.fold in (Fold.SUM, Fold.PER_MINUTE)


_TABLE = (
    Metric(
        "request_error_rate", Fold.RATIO, "errors", "ratio", "share of failed requests", why="error", requests_only=True
    ),
    Metric("error_rate", Fold.RATIO, "errors", "ratio", "share of failed spans", why="error"),
    Metric(
        "block_rate",
        Fold.BLOCKED,
        "blocks",
        "ratio",
        "share of requests blocked by a safety check",
        "requests",
        "blocked",
    ),
    Metric("unpriced_share", Fold.RATIO, "unpriced", "ratio", "share of spans whose tokens have no known price"),
    Metric("spans", Fold.SUM, "spans", "spans", "number of spans"),
    Metric("requests", Fold.SUM, "spans", "requests", "number of requests", requests_only=True),
    Metric("errors", Fold.SUM, "errors", "spans", "number of failed spans", why="error"),
    Metric("blocks", Fold.SUM, "blocks", "spans", "number of blocked spans", why="blocked"),
    Metric("tokens", Fold.SUM, "tokens", "tokens", "number of tokens, all five buckets", why="costly"),
    Metric("cost", Fold.SUM, "cost", "dollars", "known cost", why="costly"),
    Metric("cost_per_minute", Fold.PER_MINUTE, "cost", "dollars/min", "known cost per minute", why="costly"),
    Metric("trace_cost", Fold.TRACE, "cost", "dollars", "known cost of one request", why="costly"),
    Metric("gpu_utilization", Fold.SAMPLES, "gpu_utilization", "ratio", "utilization of a GPU", per="readings"),
)

_QUANTILES = {
    "request": Metric("", Fold.QUANTILE, "duration", "seconds", "request latency", why="slow", requests_only=True),
    "duration": Metric("", Fold.QUANTILE, "duration", "seconds", "span duration", why="slow"),
    "ttft": Metric("", Fold.QUANTILE, "ttft", "seconds", "time to first token", why="slow_ttft"),
    "tpot": Metric("", Fold.QUANTILE, "tpot", "seconds", "time per output token", why="slow_tpot"),
}

_BY_NAME = {metric.name: metric for metric in _TABLE}


def find(name: str) -> Metric | None:
    """The metric of that name; quantiles are <request|duration|ttft|tpot>_p<two or three digits>."""
    match = re.fullmatch(r"(request|duration|ttft|tpot)_p(\d{2,3})", name)
    if not match:
        return _BY_NAME.get(name)
    digits = match[2]
    base = _QUANTILES[match[1]]
    return base._replace(
        name=name,
        quantile=int(digits) / 10 ** len(digits),
        phrase=f"p{float(digits) / 10 ** (len(digits) - 2):g} of {base.phrase}",
    )


def names() -> list[str]:
    """All names, quantiles by their most usual."""
    return [*(f"{base}_p{q}" for base in _QUANTILES for q in (50, 95, 99)), *_BY_NAME]


def render(value: float | None, unit: str) -> str:
    """A value for people: 512 ms, 1.43 s, 2.3 %, $1,204.10."""
    if value is None:
        return "unknown"
    if unit == "seconds":
        return f"{value * 1000:.3g} ms" if abs(value) < 1 else f"{value:.3g} s"
    if unit == "ratio":
        return f"{value * 100:.3g} %"
    if unit.startswith("dollars"):
        amount = f"${value:,.2f}" if abs(value) >= 0.1 or not value else f"${value:.3g}"
        return amount + unit.removeprefix("dollars")
    return f"{value:,.6g} {unit}"
