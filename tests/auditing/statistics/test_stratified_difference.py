"""Mantel and Haenszel's difference: against statsmodels, a regression with strata, and exact tails."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import StratifiedTable

from fairpress.auditing.statistics import stratified_difference
from fairpress.auditing.statistics.stratified_difference import StratifiedCounts, without_skewness


@pytest.fixture
def tables():
    """Flips and rows [12 strata, 4 groups], some of them without rows."""
    rng = np.random.default_rng(3)
    rows = rng.integers(0, 60, (12, 4)).astype(float)
    rows[2, 0] = rows[5, 1:] = 0.0
    return rng.binomial(rows.astype(int), 0.15).astype(float), rows


@pytest.fixture
def symmetric(monkeypatch):
    """Leaves out the correction for skewness, which the peers do not have."""
    monkeypatch.setattr(stratified_difference, "without_skewness", lambda z, skewness: z)


def test_the_test_is_mantel_and_haenszels(tables, symmetric):
    flips, rows = tables
    p = StratifiedCounts.of(flips, rows).p_two_sided()
    for g in range(4):
        x, n = flips[:, g], rows[:, g]
        x0, n0 = flips.sum(axis=1) - x, rows.sum(axis=1) - n
        strata = [
            np.array([[a, b - a], [c, d - c]]) for a, b, c, d in zip(x, n, x0, n0, strict=True) if b and d
        ]
        assert p[g] == pytest.approx(
            StratifiedTable(strata).test_null_odds(correction=False).pvalue, rel=1e-9
        )


def test_one_stratum_has_miettinen_and_nurminens_interval(symmetric):
    """Against the likelihood, maximized numerically (that of statsmodels 0.14 is not at its maximum away from 0)."""
    x1, n1, x0, n0 = 9, 80, 14, 300

    def z(difference: float) -> float:
        def minus_log_likelihood(p: float) -> float:
            return -stats.binom.logpmf(x1, n1, p + difference) - stats.binom.logpmf(x0, n0, p)

        bounds = (max(-difference, 0) + 1e-9, 1 - max(difference, 0) - 1e-9)
        p0 = optimize.minimize_scalar(
            minus_log_likelihood, bounds=bounds, method="bounded", options={"xatol": 1e-12}
        ).x
        p1, n = p0 + difference, n1 + n0
        return (x1 / n1 - x0 / n0 - difference) / np.sqrt(
            (p1 * (1 - p1) / n1 + p0 * (1 - p0) / n0) * n / (n - 1)
        )

    low, high = StratifiedCounts.of(np.array([[x1, x0]], float), np.array([[n1, n0]], float)).interval()
    critical = stats.norm.ppf(0.975)
    assert low[0] == pytest.approx(optimize.brentq(lambda d: z(d) - critical, -0.2, 0.05), abs=1e-5)
    assert high[0] == pytest.approx(optimize.brentq(lambda d: z(d) + critical, 0.08, 0.4), abs=1e-5)


def test_the_difference_is_the_coefficient_of_a_regression_with_strata(tables):
    flips, rows = tables
    first, second = StratifiedCounts.of(flips, rows).rates()
    stratum, group = (x.ravel() for x in np.indices(rows.shape))
    repeat = np.r_[flips.ravel(), rows.ravel() - flips.ravel()].astype(int)
    at = np.repeat(np.tile(np.arange(rows.size), 2), repeat)
    y = np.repeat([1.0, 0.0], [int(flips.sum()), int((rows - flips).sum())])
    for g in range(4):
        design = np.column_stack([group[at] == g, stratum[at][:, None] == np.arange(12)]).astype(float)
        coefficient = np.linalg.lstsq(design, y, rcond=None)[0][0]
        assert first[g] - second[g] == pytest.approx(coefficient, abs=1e-10)


def test_the_interval_inverts_the_test(tables):
    flips, rows = tables
    counts = StratifiedCounts.of(
        flips, rows, np.array([1.0, 1.7, 1.0, 3.0]), np.array([np.inf, 9.0, 30.0, 4.0])
    )
    for p, side in zip(counts.p_two_sided(), range(4), strict=True):
        low, high = (x[side] for x in counts.interval(1 - p))
        assert min(abs(low), abs(high)) == pytest.approx(0, abs=1e-6)
        low, high = (x[side] for x in counts.interval(1 - p * 1.01))
        assert not low <= 0 <= high


def test_two_groups_differ_by_opposite_amounts(tables):
    flips, rows = tables
    counts = StratifiedCounts.of(flips[:, :2], rows[:, :2])
    low, high = counts.interval()
    assert low[0] == pytest.approx(-high[1], abs=1e-6)
    assert counts.p_two_sided()[0] == pytest.approx(counts.p_two_sided()[1])


@pytest.mark.parametrize("expected", [2.0, 5.0, 20.0])
def test_few_flips_are_called_as_often_as_their_exact_chance(expected):
    """A group of 1,000 rows in a million: the Poisson tail (mid-p), which a symmetric test misses severalfold."""
    rate = expected / 1000
    for observed in stats.poisson.ppf([0.99, 0.999, 0.9999], expected):
        flips = np.array([[observed, rate * 999_000]])
        z = StratifiedCounts.of(flips, np.array([[1000.0, 999_000.0]])).statistic(np.zeros(2))[0]
        exact = stats.poisson.sf(observed, expected) + stats.poisson.pmf(observed, expected) / 2
        assert stats.norm.sf(z) == pytest.approx(exact, rel=0.35)


def test_without_skewness_increases_with_the_statistic():
    z = np.linspace(-8, 30, 400)
    for skewness in (-1.2, -0.1, 0.0, 1e-12, 0.3, 1.2):
        assert (np.diff(without_skewness(z, np.full(z.shape, skewness))) >= 0).all()
    assert without_skewness(np.array([1.3]), np.array([0.0]))[0] == 1.3


def test_a_group_without_a_common_stratum_has_no_difference():
    counts = StratifiedCounts.of(np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[5.0, 0.0], [0.0, 9.0]]))
    assert np.isnan(counts.rates()[0]).all()
    assert np.isnan(counts.p_two_sided()).all()
    assert np.isnan(counts.interval()[0]).all()


def test_where_nothing_flips_there_is_no_difference_and_an_interval_around_0():
    counts = StratifiedCounts.of(np.zeros((3, 2)), np.full((3, 2), 40.0))
    assert counts.p_two_sided() == pytest.approx([1, 1])
    low, high = counts.interval()
    assert (low < 0).all()
    assert (high > 0).all()
