"""Limits of rates and of their differences: peers, exact error rates, and bounds that invert their p-values."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import optimize, special, stats
from statsmodels.stats.proportion import test_proportions_2indep as proportions_2indep

from fairpress.auditing.statistics.exact_proportion import (
    clopper_pearson_lower,
    clopper_pearson_upper,
    p_at_most,
)
from fairpress.auditing.statistics.proportion_intervals import agresti_caffo
from fairpress.auditing.statistics.rate_difference import (
    difference_p,
    difference_upper_bound,
    restricted_rates,
    score_statistic,
)

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from simulated import exact_levels


def rate(successes, n, deff=1.0):
    return agresti_caffo(np.atleast_1d(np.asarray(successes, float)), n, deff)


@pytest.mark.parametrize(("x", "n"), [(0, 20), (3, 40), (117, 130), (20, 20)])
@pytest.mark.parametrize("confidence", [0.95, 0.9995])
def test_the_exact_limits_are_scipys(x, n, confidence):
    ours = clopper_pearson_lower(rate(x, n), confidence)[0], clopper_pearson_upper(rate(x, n), confidence)[0]
    theirs = stats.binomtest(x, n).proportion_ci(2 * confidence - 1, method="exact")
    assert ours == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    for limit in (0.02, 0.5, 0.9):
        p = stats.binomtest(x, n, limit, alternative="greater").pvalue
        assert p_at_most(rate(x, n), limit)[0] == pytest.approx(p, abs=1e-12)


def test_the_exact_limit_inverts_its_p_value_with_weights_too():
    rng = np.random.default_rng(0)
    n = rng.integers(1, 400, 500).astype(float)
    x = rate(rng.binomial(n.astype(int), rng.uniform(0, 1, 500)), n, rng.choice([1.0, 2.3], 500))
    bound = clopper_pearson_lower(x, 0.95)
    for step in (1e-6, 0.01):
        assert (p_at_most(x, bound - step)[bound > step] < 0.05).all()
        inside = bound + step < 1
        assert (p_at_most(x, bound + step)[inside] > 0.05).all()
    assert np.isnan(clopper_pearson_lower(rate(0, 0), 0.95)).all()


@pytest.mark.parametrize(
    ("x", "n", "y", "m", "limit"),
    [(18, 178, 2, 178, 0.1), (40, 300, 31, 90, -0.2), (7, 30, 5, 400, 0.05), (0, 60, 12, 80, 0.02)],
)
def test_the_restricted_rates_maximise_the_likelihood(x, n, y, m, limit):
    """statsmodels differs: its cubic has x₂δ where Miettinen and Nurminen (1985) have n₂δ (its issue 10269)."""

    def minus_log_likelihood(p):
        terms = ((x, p), (n - x, 1 - p), (y, p - limit), (m - y, 1 - p + limit))
        return -sum(special.xlogy(count, share) for count, share in terms)

    bounds = (max(limit, 0), 1 + min(limit, 0))
    best = optimize.minimize_scalar(minus_log_likelihood, bounds=bounds, options={"xatol": 1e-12}).x
    first, second = restricted_rates(rate(x, n).value, float(n), rate(y, m).value, float(m), limit)
    assert first[0] == pytest.approx(best, abs=1e-6)
    assert first[0] - second[0] == pytest.approx(limit)


@pytest.mark.parametrize(("x", "n", "y", "m"), [(18, 178, 2, 178), (40, 300, 31, 90), (0, 60, 12, 80)])
def test_the_score_statistic_of_equal_rates_is_statsmodels(x, n, y, m):
    theirs = proportions_2indep(x, n, y, m, value=0, method="score", compare="diff", correction=False)
    ours = score_statistic(rate(x, n), rate(y, m), 0.0, correction=0.0)[0]
    assert ours == pytest.approx(theirs.statistic, rel=1e-9)


def test_the_score_interval_without_correction_is_the_published_one():
    """7 of 34 against 1 of 34: .028 to .34 (Fagerland, Lydersen and Laake, Stat. Methods Med. Res. 24, 2015)."""
    first, second = rate(7, 34), rate(1, 34)
    z = stats.norm.isf(0.025)
    low, high = (
        optimize.brentq(
            lambda d, s=s: score_statistic(first, second, d, correction=0.0)[0] + s * z, -0.9, 0.9
        )
        for s in (-1, 1)
    )
    assert (low, high) == pytest.approx((0.028, 0.34), abs=0.005)
    assert low == pytest.approx(0.028, abs=0.0005)


def test_the_bound_of_a_difference_inverts_its_p_value():
    rng = np.random.default_rng(1)
    n, m = (rng.integers(3, 900, 1000).astype(float) for _ in range(2))
    first, second = (
        rate(rng.binomial(size.astype(int), rng.choice([0, 0.01, 0.3, 0.97, 1], 1000)), size)
        for size in (n, m)
    )
    for confidence in (0.95, 0.995):
        bound = difference_upper_bound(first, second, confidence)
        for step in (1e-9, 1e-4, 0.05):
            assert (difference_p(first, second, bound + step) < 1 - confidence).all()
            above = bound - step > -1
            assert (difference_p(first, second, bound - step)[above] >= 1 - confidence).all()
        assert (bound >= first.value - second.value - 1e-12).all()
    assert np.isnan(difference_upper_bound(rate(1, 5), rate(0, 0), 0.95)).all()


@pytest.mark.parametrize(
    ("limit", "low", "rows"),
    [
        (0.1, 0.0, (178, 178)),
        (0.05, 0.0, (360, 360)),
        (0.02, 0.0, (191, 191)),
        (0.1, 0.01, (178, 44)),
        (0.2, 0.2, (15, 10)),
        (0.1, 0.5, (60, 60)),
    ],
)
def test_a_gap_of_exactly_the_limit_passes_a_search_in_at_most_five_percent(limit, low, rows):
    ours, alone = exact_levels.gap_level(limit, low, rows)
    assert 0.01 < ours <= 0.05
    assert alone > 0.055


@pytest.mark.parametrize(("limit", "n"), [(0.98, 130), (0.99, 264), (0.9, 136)])
def test_an_accuracy_of_exactly_the_limit_passes_a_search_in_at_most_five_percent(limit, n):
    ours, alone = exact_levels.accuracy_level(limit, n)
    assert ours <= 0.05
    assert alone > 0.06


def test_the_benchmark_of_exact_levels_passes_in_short():
    """Two numbers of rows each; ``benchmarks/coverage.py`` takes more."""
    rng = np.random.default_rng(0)
    for claim in (exact_levels.printed_bound, exact_levels.harm_level):
        judged = [r for r in claim(rng, 2) if r.bound is not None]
        assert len(judged) >= 12
        assert all(r.passed for r in judged)
