"""The latency sketch against exact quantiles."""

import math
import random

import polars as pl
import pytest
from spanloom_processors.core import sketch

DISTRIBUTIONS = {
    "uniform": lambda rng: rng.uniform(1, 1e9),
    "lognormal": lambda rng: rng.lognormvariate(18, 1.5),
    "exponential": lambda rng: rng.expovariate(1 / 3e8),
    "bimodal": lambda rng: rng.gauss(2e6, 1e5) if rng.random() < 0.7 else rng.gauss(9e9, 1e8),
    "pareto": lambda rng: 1e6 * rng.paretovariate(0.8),
    "constant": lambda rng: 123_456_789.0,
    "tiny": lambda rng: rng.randrange(1, 50),
    "powers of two": lambda rng: 2 ** rng.randrange(0, 40),
}


def sketched(values: list[int]) -> dict[int, int]:
    index = pl.DataFrame({"ns": values}).select(index=sketch.index(pl.col("ns")))
    return dict(index.group_by("index").len().iter_rows())


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_every_quantile_is_within_six_thousandths_of_the_exact_one(name, size):
    rng = random.Random(f"{name} {size}")
    values = sorted(max(1, round(DISTRIBUTIONS[name](rng))) for _ in range(size))
    buckets = sketched(values)
    for q in (0, 0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 1):
        exact = values[max(1, math.ceil(q * size)) - 1]
        assert sketch.quantile(buckets, q) == pytest.approx(exact, rel=0.006)


def test_a_bucket_holds_what_lies_above_its_lower_and_up_to_its_upper_bound():
    rng = random.Random(4)
    for value in (round(rng.lognormvariate(16, 3)) + 2 for _ in range(300)):
        (index,) = sketched([value])
        assert sketch.BASE**index * (1 - 1e-12) < value <= sketch.BASE ** (index + 1) * (1 + 1e-12)


def test_merging_is_the_sketch_of_all_values_in_any_order():
    rng = random.Random(5)
    values = [round(rng.lognormvariate(18, 1)) for _ in range(500)]
    parts = [sketched(values[:100]), sketched(values[100:101]), {}, sketched(values[101:])]
    assert sketch.merge(parts) == sketch.merge(parts[::-1]) == dict(sorted(sketched(values).items()))


def test_what_is_shorter_than_a_nanosecond_counts_as_one():
    assert sketched([0, -5, 1]) == {-1: 3}


def test_an_empty_sketch_has_no_quantile():
    assert sketch.quantile({}, 0.5) is None
