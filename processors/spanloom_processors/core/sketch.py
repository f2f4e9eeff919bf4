"""Latency sketches: OpenTelemetry's base-2 exponential histogram at scale 6, over nanoseconds, held as (index, count).

Bucket `index` holds the values in (base**index, base**(index + 1)] with base = 2**(1/64). Merging is adding counts, so
any order of merging gives the same sketch. Source: OpenTelemetry's metrics data model, "ExponentialHistogram".
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

import polars as pl

SCALE = 6
BASE: float = 2.0 ** (2.0**-SCALE)

Buckets = Iterable[tuple[int, int]] | Mapping[int, int]


def index(ns: pl.Expr) -> pl.Expr:
    """The bucket (Int32) of a latency; one below 1 ns counts as 1 ns: nothing measured is that short."""
    return (ns.clip(lower_bound=1).log(2) * float(2**SCALE)).ceil().cast(pl.Int32) - 1


def merge(sketches: Iterable[Buckets]) -> dict[int, int]:
    """The sketch of all the values of several sketches together, as index → count."""
    total: Counter[int] = Counter()
    for sketch in sketches:
        total.update(dict(sketch))
    return dict(sorted(total.items()))


def quantile(sketch: Buckets, q: float) -> float | None:
    """The latency (ns) at rank ceil(q·n) of n sketched values, within 0.6 % of the exact one; None for an empty sketch.

    Within its bucket a value is answered by the point whose relative distance to both bounds is the same,
    (base − 1)/(base + 1) = 0.55 %.
    """
    buckets = sorted(dict(sketch).items())
    rank = max(1, math.ceil(q * sum(count for _, count in buckets)))
    seen = 0
    for bucket, count in buckets:
        seen += count
        if seen >= rank:
            return 2 * BASE ** (bucket + 1) / (BASE + 1)
    return None
