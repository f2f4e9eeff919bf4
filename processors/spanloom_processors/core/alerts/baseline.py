"""What is usual: baselines for rates (binomial) and for cost (robust), over the last 24 h of one group.

Sources: a Beta prior of Jeffreys (1/2, 1/2) makes the chance of events beta-binomial, which is the binomial with the
baseline's own uncertainty; Rousseeuw and Croux (1993) for the median absolute deviation as a scale (x 1.4826).
"""

import math
from collections.abc import Sequence
from statistics import median

HISTORY_MS = 24 * 3_600_000
WARM_UP_MINUTES = 30
_TINY = 1e-18


def tail(events: int, trials: int, base_events: int, base_trials: int) -> float:
    """The chance of `events` or more in `trials`, given `base_events` in `base_trials` of the baseline."""
    alpha, beta = base_events + 0.5, max(base_trials - base_events, 0) + 0.5
    if events <= trials * alpha / (alpha + beta):
        return 1.0
    term = math.exp(
        math.lgamma(trials + 1)
        - math.lgamma(events + 1)
        - math.lgamma(trials - events + 1)
        + _log_beta(events + alpha, trials - events + beta)
        - _log_beta(alpha, beta)
    )
    total = 0.0
    for k in range(events, trials + 1):
        total += term
        if term <= total * _TINY:
            break
        term *= (trials - k) / (k + 1) * (k + alpha) / (trials - k - 1 + beta) if k < trials else 0.0
    return min(1.0, total)


def band(values: Sequence[int], width: float) -> tuple[float, float]:
    """The usual range of `values` (at least one): the median ± `width` robust standard deviations.

    The deviation is at least 5 % of the median, so that a flat history does not make every ripple an alert.
    """
    middle = median(values)
    deviation = max(1.4826 * median(abs(value - middle) for value in values), 0.05 * abs(middle))
    return middle - width * deviation, middle + width * deviation


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
