"""The lower bound of the largest loss: level by enumeration for one group, by simulation for many, and Bonferroni's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from fairpress.auditing.statistics.largest_loss import bonferroni_lower_bounds, dealt_lower_bounds
from fairpress.auditing.statistics.proportion_intervals import bonett_price

RNG_SEED = 11


def bound(lost, gained, membership, rows, **options):
    bounds = dealt_lower_bounds(lost, gained, membership, rows, np.random.default_rng(RNG_SEED), **options)
    return np.fmax.reduce(bounds)


def bonferroni(losses):
    (bounds,) = bonferroni_lower_bounds([losses])
    return np.fmax.reduce(bounds)


@pytest.mark.parametrize(("n", "loss", "gain"), [(120, 0.05, 0.05), (60, 0.1, 0.05), (200, 0.02, 0.01)])
def test_of_one_group_it_exceeds_the_loss_in_at_most_five_percent(n, loss, gain):
    """Every outcome with its probability; without the floor of the critical value the first setting errs in 7.3 %."""
    chances, error = [loss + gain, gain, 1 - loss - 2 * gain], 0.0
    for flips in range(n // 2):
        for lost in range(flips + 1):
            chance = stats.multinomial.pmf([lost, flips - lost, n - flips], n, chances)
            if chance > 2e-6 and bound([lost], [flips - lost], [[1]], [n], draws=1999) > loss:
                error += chance
    assert 0.001 < error <= 0.05


def test_of_one_group_it_is_the_one_sided_bound_where_flips_are_many():
    losses = bonett_price(300, 200, 5000)
    assert bound([300], [200], [[1]], [5000]) == pytest.approx(losses.lower(0.95), abs=3e-4)


def test_overlap_is_worth_more_than_bonferroni():
    """Ten names of one group cost nothing; Bonferroni's quantile is that of ten groups."""
    many = bound([300], [200], np.ones((10, 1)), np.full(10, 5000.0))
    losses = bonett_price(np.full(10, 300.0), 200, 5000)
    assert many == bound([300], [200], [[1]], [5000])
    assert bonferroni(losses) == pytest.approx(float(losses.lower(1 - 0.05 / 10)[0]))
    assert bonferroni(losses) < many - 0.002


def test_many_independent_groups_need_the_quantile_of_their_maximum():
    k, n = 20, 20_000.0
    lost, gained = np.full(k, 420), np.full(k, 380)
    quantile = special.ndtri(0.95 ** (1 / k))
    losses = bonett_price(lost, gained, n)
    expected = (losses.centre - quantile * losses.se).max()
    assert bound(lost, gained, np.eye(k), np.full(k, n)) == pytest.approx(expected, abs=1e-4)


def test_a_higher_confidence_has_a_lower_bound():
    flips = ([60, 30], [20, 30], np.eye(2), [900.0, 900.0])
    assert bound(*flips, confidence=0.99) < bound(*flips, confidence=0.95) < 40 / 900


def test_groups_without_rows_are_left_out():
    assert bound([60], [20], [[1], [0]], [900.0, 0.0]) == bound([60], [20], [[1]], [900.0])
    assert np.isnan(bound([0], [0], [[1]], [0.0]))
    assert np.isnan(bonferroni(bonett_price([0], [0], [0])))
    one = bonett_price(60, 20, 900)
    assert bonferroni(bonett_price([60.0, 0], [20.0, 0], [900.0, 0])) == one.lower(0.95)


def test_too_few_draws_for_a_quantile_are_refused():
    with pytest.raises(ValueError, match="99 draws have no quantile at 0\\.999"):
        bound([6], [2], [[1]], [90.0], confidence=0.999, draws=99)
