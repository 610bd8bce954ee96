"""Distances from 0 and their changes: the bounds of four contrasts, p-values that invert them, pseudo-units."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from fairpress.auditing.statistics.bounded_means import with_pseudo_units
from fairpress.auditing.statistics.folded_change import folded_change, folded_excess, folded_level
from fairpress.auditing.statistics.proportion_intervals import bonett_price
from fairpress.auditing.statistics.unit_means import mean_of_units, unit_sums


def estimate(values: np.ndarray, groups: int = 1, reach: float = 1.0):
    index = np.arange(len(values)) % groups
    x = mean_of_units(unit_sums(values, index, groups, np.ones(len(values)), None))
    return with_pseudo_units(x, reach, (-np.inf, np.inf))


def pair(before: float, after: float, rows: int = 400, seed: int = 0):
    rng = np.random.default_rng(seed)
    x = (rng.random(rows) < 0.5 + before) - 0.5
    y = np.where(rng.random(rows) < 0.5, (rng.random(rows) < 0.5 + after) - 0.5, x)
    return x, y


@pytest.mark.parametrize("sides", list(itertools.product((-0.2, 0.0, 0.2), repeat=2)))
def test_bounds_are_the_largest_of_the_smallest_of_four_contrasts(sides):
    x, y = pair(*sides)
    change = folded_change(estimate(y - x, 4), estimate(y + x, 4))
    means = [np.array([v[g::4].mean() for g in range(4)]) for v in (x, y)]
    assert change.value == pytest.approx(np.abs(means[1]) - np.abs(means[0]))
    contrasts = {(a, b): estimate(a * y - b * x, 4) for a in (1, -1) for b in (1, -1)}
    for bound in ("lower", "upper"):
        at = {k: getattr(e, bound)(0.975) for k, e in contrasts.items()}
        expected = np.maximum(np.minimum(at[1, 1], at[1, -1]), np.minimum(at[-1, 1], at[-1, -1]))
        assert getattr(change, bound)(0.95) == pytest.approx(expected)
    assert (change.lower() < change.value).all()
    assert (change.value < change.upper()).all()


def test_p_values_invert_the_bounds():
    x, y = pair(0.1, -0.15)
    change = folded_change(estimate(y - x, 2), estimate(y + x, 2))
    excess = folded_excess(change[:1], change[1:])
    for e in (change, excess):
        for alpha in (0.3, 0.05, 0.001):
            low = e.lower(1 - alpha)
            assert (e.p_above(low - 1e-6) < alpha).all()
            assert (e.p_above(low + 1e-6) > alpha).all()
    high = change.upper(0.95)
    assert (change.p_below(high + 1e-6) < 0.05).all()
    assert (change.p_below(high - 1e-6) > 0.05).all()
    low, high = change.interval(0.9)
    assert (change.p_two_sided(float(high[0]) + 1e-6) < 0.1)[0]
    with pytest.raises(TypeError, match="no opposite sign"):
        _ = -change


def test_a_level_is_folded_and_equivalence_is_two_one_sided_tests():
    x = estimate(np.where(np.arange(1000) < 520, 0.5, -0.5))
    level = folded_level(x)
    low, high = x.interval()
    assert low[0] < 0 < high[0]
    assert [float(v[0]) for v in level.interval()] == pytest.approx([0.0, float(max(high[0], -low[0]))])
    assert level.value[0] == pytest.approx(0.02)
    assert level.p_within(0.1)[0] < 0.05 < level.p_within(0.03)[0]
    assert level.p_within(0.1)[0] == pytest.approx(float((-x).p_above(-0.1)[0]))
    assert level.p_above(0.0)[0] == pytest.approx(2 * float(x.p_above(0.0)[0]))


def test_two_pseudo_units_are_those_of_bonett_and_price():
    """Rows of −1, 0 and 1 as a paired change of a proportion; with hardly a flip a third unit is the guard."""
    values = np.repeat([1.0, -1.0, 0.0], [30, 30, 940])
    x, peer = estimate(values), bonett_price(30, 30, 1000)
    assert x.se[0] == pytest.approx(float(peer.se), rel=1e-3)
    none = estimate(np.zeros(300))
    assert none.se[0] == pytest.approx(float(bonett_price(0, 0, 300).se) * np.sqrt(1.5), rel=1e-3)
    far = estimate(np.random.default_rng(0).normal(size=5000), reach=1.0)
    assert far.se[0] == pytest.approx(stats.sem(np.random.default_rng(0).normal(size=5000)), rel=1e-3)


@pytest.mark.parametrize("rows", [100, 149, 366, 1000])
def test_without_a_flip_a_bound_is_no_lower_than_clopper_and_pearsons(rows):
    """A smaller one would clear a loss of which more than 5 % of samples show nothing; two units alone are smaller."""
    assert estimate(np.zeros(rows)).upper()[0] > 0.98 * stats.beta.ppf(0.95, 1, rows)
