"""The test of harm keeps its level where a correction for many tests uses it, and has more power than a t."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, special, stats

from fairpress.auditing.statistics.harm import harm_p_value, modified_root
from fairpress.auditing.statistics.proportion_intervals import bonett_price
from fairpress.auditing.statistics.score_bounds import restricted_gains


def outcomes(n: int, lost: float, gained: float):
    """Return numbers of losses and gains with their probabilities; all but 10⁻⁹ of them."""
    most = [int(stats.binom.isf(1e-10, n, p)) + 1 if p > 0 else 0 for p in (lost, gained)]
    b, c = (x.ravel() for x in np.meshgrid(*(np.arange(m + 1.0) for m in most), indexing="ij"))
    chance = stats.binom.pmf(b, n, lost) * stats.binom.pmf(c, n - b, gained / (1 - lost))
    possible = b + c <= n
    return b[possible], c[possible], chance[possible]


def p_of(b, c, n, margin):
    return harm_p_value(bonett_price(b, c, np.full(b.shape, float(n))), (b + c) / n, margin)


@pytest.mark.parametrize("gained", [0.0, 0.005, 0.05])
@pytest.mark.parametrize("n", [30, 140, 420, 900])
@pytest.mark.parametrize("margin", [0.01, 0.02, 0.05])
def test_its_error_at_the_margin_is_at_most_the_level(margin, n, gained):
    b, c, chance = outcomes(n, margin + gained, gained)
    p = p_of(b, c, n, margin)
    for level in (0.05, 0.05 / 14, 0.05 / 42, 0.05 / 165):
        assert chance[p <= level].sum() <= level


def test_a_normal_score_test_errs_four_times_as_often_at_a_small_level():
    n, margin, level = 300, 0.05, 0.05 / 165
    b, c, chance = outcomes(n, margin + 0.001, 0.001)
    q = restricted_gains(b / n, c / n, margin)
    z = ((b - c) / n - margin) / np.sqrt((2 * q + margin * (1 - margin)) / n)
    assert chance[special.ndtr(-z) <= level].sum() > 4 * level
    assert chance[p_of(b, c, n, margin) <= level].sum() <= level


@pytest.mark.parametrize(("n", "lost", "at_least"), [(900, 0.04, 0.05), (420, 0.06, 0.10), (140, 0.1, 0.05)])
def test_it_shows_more_harm_than_bonett_and_prices_t_after_a_correction(n, lost, at_least):
    b, c, chance = outcomes(n, lost + 0.01, 0.01)
    level = 0.05 / 165
    wald = bonett_price(b, c, np.full(b.shape, float(n))).p_above(0.02)
    assert chance[p_of(b, c, n, 0.02) <= level].sum() > chance[wald <= level].sum() + at_least


def test_with_many_rows_it_is_the_tail_of_the_likelihood_ratio():
    """r*, r and Wald's z agree to O(1/√n) per row; r is maximised numerically here."""
    b, c, n, margin = 2600.0, 400.0, 100_000.0, 0.02

    def minus(q):
        return -(
            special.xlogy(b, q + margin) + special.xlogy(c, q) + special.xlogy(n - b - c, 1 - 2 * q - margin)
        )

    best = -optimize.minimize_scalar(minus, bounds=(0, 0.4), options={"xatol": 1e-12}).fun
    free = special.xlogy(b, b / n) + special.xlogy(c, c / n) + special.xlogy(n - b - c, 1 - (b + c) / n)
    r = np.sqrt(2 * (free - best))
    loss = bonett_price(np.array([b]), np.array([c]), np.array([n]))
    assert modified_root(loss, np.array([(b + c) / n]), margin)[0] == pytest.approx(r, rel=0.01)


def test_more_losses_are_never_less_evidence():
    for n in (20, 50, 500, 5000):
        for gains in (0, 1, 5, 20):
            b = np.arange(n - gains + 1.0)
            for margin in (0.005, 0.02, 0.1):
                p = p_of(b, np.full(b.shape, float(gains)), n, margin)
                assert (np.diff(p) <= 1e-12).all()
                assert ((p >= 0) & (p <= 1)).all()


def test_weights_count_as_fewer_rows_and_people_by_a_t_distribution():
    b, c, n = np.array([40.0]), np.array([6.0]), np.array([800.0])
    flipped = (b + c) / n
    plain, weighted, people = (
        harm_p_value(loss, flipped, 0.02)[0]
        for loss in (bonett_price(b, c, n), bonett_price(b, c, n, 2.0), bonett_price(b, c, n, 2.0, 9.0))
    )
    half = harm_p_value(bonett_price(b / 2, c / 2, n / 2), flipped, 0.02)[0]
    assert plain < weighted < people
    assert weighted == pytest.approx(half, rel=1e-9)
    z = modified_root(bonett_price(b / 2, c / 2, n / 2), flipped, 0.02)[0]
    assert people == pytest.approx(stats.t.sf(z, 9), rel=1e-9)
    assert np.isnan(harm_p_value(bonett_price(0 * b, 0 * c, 0 * n), 0 * b, 0.02)).all()


def test_excluding_tests_by_their_flips_would_be_invalid():
    """Tarone's exclusion by the smallest p given the flips: nearly always a false harm among 1,000 groups."""
    rng = np.random.default_rng(0)
    groups, n, margin, draws = 1000, 250, 0.05, 100
    lost = np.arange(n + 1.0)
    p = p_of(lost, 0 * lost, n, margin)[rng.binomial(n, margin, (draws, groups))]
    wrong = {"tarone": 0, "holm": 0}
    for smallest in p:  # all flips are losses: p is the smallest one given them
        k = next(k for k in range(1, groups + 1) if (smallest <= 0.05 / k).sum() <= k)
        wrong["tarone"] += bool((smallest <= 0.05 / k).any())
        wrong["holm"] += bool((smallest <= 0.05 / groups).any())
    assert wrong["holm"] / draws <= 0.1
    assert wrong["tarone"] / draws > 0.8
