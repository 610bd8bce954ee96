"""The bound of a loss inverts both tests exactly, and its error is the nominal one by enumeration."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats

from fairpress.auditing.statistics.proportion_intervals import bonett_price
from fairpress.auditing.statistics.score_bounds import (
    loss_interval,
    loss_ruled_out,
    loss_upper_bound,
    noninferiority_p,
    restricted_gains,
    rows_of_variance,
)
from fairpress.auditing.verdicts.rules import judge, run_tests


def random_losses(seed: int, size: int):
    """Return losses and flip shares: few rows and many, no flips, one direction only, weights, people."""
    rng = np.random.default_rng(seed)
    n = np.floor(np.exp(rng.uniform(np.log(5), np.log(20_000), size)))
    flips = np.minimum(n, rng.poisson(n * rng.choice([0, 0.005, 0.02, 0.1, 0.5], size)))
    lost = rng.binomial(flips.astype(int), rng.choice([0, 0.2, 0.5, 0.8, 1], size)).astype(float)
    deff, df = rng.choice([1, 1, 1.7, 4.0], size), rng.choice([np.inf, 3, 12], size)
    return bonett_price(lost, flips - lost, n, deff, df), flips / n


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.975, 0.9995])
def test_a_margin_is_ruled_out_exactly_above_the_bound(confidence):
    loss, flipped = random_losses(0, 3000)
    bound = loss_upper_bound(loss, flipped, confidence)
    rng = np.random.default_rng(1)
    near = [bound + step for e in (1e-9, 1e-6, 1e-3, 0.02, 0.2) for step in (e, -e)]
    margins = [*near, rng.uniform(-0.2, 0.5, 3000), np.full(3000, 0.02), np.zeros(3000)]
    for margin in margins:
        ruled_out = loss_ruled_out(loss, flipped, margin, confidence)
        np.testing.assert_array_equal(ruled_out, bound < margin)
        np.testing.assert_array_equal(ruled_out, noninferiority_p(loss, flipped, margin) < 1 - confidence)
    assert (bound < 0).any()
    assert (bound >= loss.upper(confidence) - 1e-9).all()


@pytest.mark.parametrize("margin", [0.01, 0.02, 0.05])
def test_the_verdict_no_harm_is_a_bound_below_the_margin(margin):
    loss, flipped = random_losses(2, 2000)
    key = ("g", "accuracy")
    verdict = judge({key: run_tests(loss, flipped, margin)})[key].verdict
    below = loss_upper_bound(loss, flipped, 0.95) < margin
    assert below[verdict == "no_harm"].all()
    assert not below[verdict == "inconclusive"].any()
    assert {"no_harm", "inconclusive", "harm"} <= set(verdict)


def test_a_group_without_rows_has_no_bound_and_one_that_lost_everything_has_a_bound_of_one():
    loss = bonett_price(np.array([0.0, 5.0]), np.zeros(2), np.array([0.0, 5.0]))
    flipped = np.array([0.0, 1.0])
    np.testing.assert_array_equal(loss_upper_bound(loss, flipped, 0.95), [np.nan, 1.0])
    assert not loss_ruled_out(loss, flipped, 1.0, 0.95).any()
    assert np.isnan(loss_interval(loss, flipped, 0.95)[0][0])


@pytest.mark.parametrize("margin", [-0.05, 0.001, 0.02, 0.2])
def test_the_restricted_share_of_gains_maximises_the_likelihood(margin):
    for lost, gained in ((0.03, 0.01), (0.0, 0.0), (0.002, 0.1), (0.4, 0.3), (0.02, 0.0)):

        def minus_log_likelihood(q, lost=lost, gained=gained):
            from scipy.special import xlogy

            return -(
                xlogy(lost, q + margin) + xlogy(gained, q) + xlogy(1 - lost - gained, 1 - 2 * q - margin)
            )

        span = (max(0.0, -margin), (1 - margin) / 2)
        best = optimize.minimize_scalar(minus_log_likelihood, bounds=span, options={"xatol": 1e-10})
        ours = restricted_gains(np.array([lost]), np.array([gained]), margin)[0]
        assert minus_log_likelihood(ours) <= best.fun + 1e-9
        assert span[0] - 1e-12 <= ours <= span[1]


def test_the_lower_end_of_a_loss_is_bonett_and_prices_but_for_a_hair():
    loss, flipped = random_losses(3, 3000)
    low, high = loss_interval(loss, flipped, 0.95)
    wald = loss.lower(0.975)
    assert (low <= wald + 1e-9).all()
    shown = (wald > 0) & (flipped < 0.1) & np.isinf(loss.df)
    assert shown.sum() > 50
    assert (wald[shown] - low[shown] < 0.1 * loss.se[shown]).all()
    assert (low <= loss.value).all()
    assert (loss.value <= high).all()


def test_the_interval_of_a_gain_is_that_of_the_loss_with_its_sign_changed():
    loss, flipped = random_losses(5, 1000)
    low, high = loss_interval(loss, flipped, 0.95)
    np.testing.assert_allclose(loss_interval(-loss, flipped, 0.95), (-high, -low), atol=1e-12)


def test_the_rows_of_a_variance_are_the_effective_rows_of_bonett_and_price():
    loss, flipped = random_losses(4, 500)
    np.testing.assert_allclose(rows_of_variance(loss, flipped), loss.effective_n, rtol=1e-9)


@pytest.mark.parametrize(("n", "flips"), [(115, 0.02), (200, 0.02), (300, 0.02), (115, 0.05)])
def test_the_printed_upper_end_errs_as_seldom_as_it_says_where_all_flips_are_losses(n, flips):
    lost = np.arange(n + 1.0)
    chance = stats.binom.pmf(lost, n, flips)
    loss = bonett_price(lost, 0 * lost, np.full(lost.shape, n))
    errors = [
        chance[bound < flips].sum()
        for bound in (loss_upper_bound(loss, lost / n, 0.95), loss_interval(loss, lost / n, 0.95)[1])
    ]
    assert errors[0] <= 0.05
    assert errors[1] <= 0.025
    assert chance[loss.upper(0.95) < flips].sum() > 0.05
