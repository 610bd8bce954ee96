"""Gap, ratio and smallest of many groups' rates: bounds over all pairs, and coverage where normal bounds fail."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from fairpress.auditing.metrics.fairness import fairness_intervals
from fairpress.auditing.statistics.proportion_intervals import agresti_caffo
from fairpress.auditing.statistics.range_bounds import range_quantile
from fairpress.auditing.statistics.rate_ranges import (
    difference_range,
    ratio_limits,
    ratio_range,
    smallest_rate,
)


def exact_limits(x, n, confidence):
    pairs = [
        stats.binomtest(int(k), int(m)).proportion_ci(2 * confidence - 1, method="exact")
        for k, m in zip(x, n, strict=True)
    ]
    return np.array([p.low for p in pairs]), np.array([p.high for p in pairs])


def over_all_pairs(x, n, transform):
    """Return the largest lower and upper bound of the difference of two transformed rates, over all ordered pairs."""
    k = len(x)
    centre = transform((x + 1) / (n + 2))
    out = []
    for confidence, sign in ((special.ndtr(range_quantile(k, 0.95) / np.sqrt(2)), -1), (0.975, 1)):
        low, high = (transform(v) for v in exact_limits(x, n, confidence))
        bounds = []
        for i in range(k):
            for j in set(range(k)) - {i}:
                reach = (
                    np.hypot(centre[i] - low[i], high[j] - centre[j])
                    if sign < 0
                    else np.hypot(high[i] - centre[i], centre[j] - low[j])
                )
                bounds.append(centre[i] - centre[j] + sign * reach)
        out.append(max(0.0, *bounds))
    return out


@pytest.mark.parametrize("groups", [2, 3, 9, 25])
def test_the_bounds_are_those_of_the_extreme_pair_among_all(groups):
    rng = np.random.default_rng(groups)
    for _ in range(8):
        n = np.round(np.exp(rng.uniform(1.5, 7, groups)))
        x = rng.binomial(n.astype(int), rng.beta(1, 4, groups)).astype(float)
        estimate = agresti_caffo(x, n)
        low, high = over_all_pairs(x, n, lambda v: v)
        assert difference_range(estimate) == pytest.approx((low, min(1, high)), abs=1e-8)
        with np.errstate(divide="ignore"):
            low, high = over_all_pairs(x, n, np.log)
        assert ratio_range(estimate) == pytest.approx((np.exp(-high), np.exp(-low)), abs=1e-8)


def test_one_group_has_no_gap_and_the_ratio_to_a_group_without_success_is_unbounded():
    one = agresti_caffo(np.array([3.0]), np.array([10.0]))
    assert np.isnan(difference_range(one)).all()
    assert np.isnan(ratio_range(one)).all()
    none = agresti_caffo(np.array([0.0, 40.0]), np.array([50.0, 100.0]))
    assert ratio_range(none).low == 0.0
    low, high = ratio_limits(none, none[1:2], 1.96)
    assert low[0] == 0.0
    assert 0 < high[0] < 0.4


def coverage(k: int, rate: float, most: int, draws: int) -> dict[str, float]:
    rng = np.random.default_rng(7)
    n = np.round(np.geomspace(30, most, k))
    hits: dict[str, list[bool]] = {}
    for x in rng.binomial(n.astype(int), rate, size=(draws, k)):
        estimate = agresti_caffo(x, n)
        intervals = fairness_intervals({"selection_rate": estimate, "accuracy": estimate}, rng)
        for metric, truth in (
            ("demographic_parity_difference", 0.0),
            ("disparate_impact", 1.0),
            ("worst_group_accuracy", rate),
        ):
            gap = intervals[metric]
            if not np.isnan(gap.value):
                hits.setdefault(metric, []).append(gap.low <= truth <= gap.high)
    return {metric: float(np.mean(hit)) for metric, hit in hits.items()}


@pytest.mark.parametrize(("k", "rate", "most"), [(40, 0.02, 2500), (4, 0.02, 2500), (40, 0.1, 1500)])
def test_many_groups_of_few_rows_are_covered(k, rate, most):
    """300 draws: .95 less three standard errors is .91; the delta method covers disparate impact in .84 to .93 here."""
    assert min(coverage(k, rate, most, 300).values()) >= 0.95


def test_the_smallest_rate_has_exact_limits():
    x, n = np.array([3.0, 50.0]), np.array([30.0, 60.0])
    low, high = smallest_rate(agresti_caffo(x, n))
    assert low == pytest.approx(exact_limits(x, n, 0.975)[0][0], abs=1e-9)
    assert high == pytest.approx(exact_limits(x, n, 1 - 0.0125)[1][0], abs=1e-9)
    assert np.isnan(smallest_rate(agresti_caffo(np.array([]), np.array([])))).all()
