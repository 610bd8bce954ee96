"""Medians and quartiles of repeated timings, and medians of ratios with a confidence interval."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from fairpress.core.estimate import Estimate

METHOD = "order statistics of the paired ratios"


def median_ratio(first: Sequence[float], other: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Return the median of first[i] / other[i] over rounds i: the speedup of `other`.

    Both were timed in round i, one soon after the other, so that a slow period of the machine affects both.
    The interval is distribution-free: the order statistics whose binomial(n, ½) ranks cover the median with at
    least `confidence` (Thompson 1936, Annals of Mathematical Statistics 7). Rounds are assumed to be independent.
    """
    ratios = np.sort(np.asarray(first, float) / np.asarray(other, float))
    rank = order_statistic_rank(len(ratios), confidence)
    value = float(np.median(ratios))
    if rank is None:
        return Estimate(value, n=len(ratios), method=f"{METHOD}; too few rounds for an interval")
    return Estimate(value, float(ratios[rank - 1]), float(ratios[-rank]), len(ratios), METHOD)


def order_statistic_rank(n: int, confidence: float) -> int | None:
    """Return the largest r ≥ 1 such that the r-th smallest and r-th largest of n values cover the median.

    P = 1 − 2·P(Binomial(n, ½) < r) must reach `confidence`; None if even the extremes do not (n < 6 at 95 %).
    """
    outside = Fraction(1 - confidence) * 2**n / 2  # that many of the 2ⁿ equally likely outcomes
    rank, below, outcomes = 0, 0, 1
    while below + outcomes <= outside and rank < n // 2:
        below += outcomes
        outcomes = outcomes * (n - rank) // (rank + 1)
        rank += 1
    return rank or None


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile."""
    low, middle, high = np.percentile(np.asarray(values, float), [25, 50, 75])
    return float(low), float(middle), float(high)
