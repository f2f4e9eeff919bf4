import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spanloom_processors.core.alerts import baseline
from spanloom_processors.core.alerts.budget import period_start


def test_with_much_history_the_tail_is_the_binomial_one() -> None:
    trials, events, p = 200, 9, 0.01
    exact = sum(math.comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(events, trials + 1))
    assert baseline.tail(events, trials, 10**8, 10**10) == pytest.approx(exact, rel=1e-3)


def test_little_history_makes_it_less_sure() -> None:
    assert baseline.tail(5, 100, 1, 100) > 10 * baseline.tail(5, 100, 1000, 100_000)


@given(
    trials=st.integers(1, 500), data=st.data(), base_trials=st.integers(0, 10**6), rate=st.floats(0, 1, allow_nan=False)
)
def test_the_tail_is_a_chance_that_falls_with_the_events(
    trials: int, data: st.DataObject, base_trials: int, rate: float
) -> None:
    events = data.draw(st.integers(0, trials))
    base_events = int(base_trials * rate)
    chance = baseline.tail(events, trials, base_events, base_trials)
    assert 0 <= chance <= 1
    if events:
        assert chance <= baseline.tail(events - 1, trials, base_events, base_trials) + 1e-9


def test_a_large_window_is_judged_quickly_and_finitely() -> None:
    assert baseline.tail(60_000, 1_000_000, 50, 1_000_000) < 1e-300
    assert baseline.tail(50, 1_000_000, 50, 1_000_000) > 0.4


def test_one_outlier_does_not_widen_the_band() -> None:
    usual = [100, 101, 99, 100, 102, 98, 100]
    assert baseline.band([*usual, 10**9], 6) == pytest.approx(baseline.band(usual, 6), rel=0.02)


def test_a_flat_history_allows_ripples() -> None:
    assert baseline.band([100] * 60, 6) == (70.0, 130.0)


def test_days_and_months_are_utc() -> None:
    at = 1_790_000_000_000  # 2026-09-21T14:13:20Z
    assert period_start(at, "day") == 1_789_948_800_000
    assert period_start(at, "month") == 1_788_220_800_000
