"""Step-down min-p of exact McNemar tests: each p against scipy, the adjustment against enumeration of all deals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from fairpress.auditing.statistics.westfall_young import mcnemar_loss, step_down_min_p
from fairpress.auditing.verdicts.multiplicity import holm

OVERLAPPING = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    ("lost", "gained"), [(0, 0), (0, 5), (5, 0), (1, 1), (7, 3), (40, 60), (60, 40), (900, 800)]
)
def test_the_p_value_is_that_of_the_one_sided_binomial_test(lost, gained):
    peer = stats.binomtest(lost, lost + gained, 0.5, "greater").pvalue if lost + gained else 1.0
    assert mcnemar_loss(lost, gained) == pytest.approx(peer, rel=1e-9)


def enumerated(lost, gained, membership):
    """Return the adjusted p-values by listing every deal of every stratum, with its probability."""
    flips = lost + gained

    def p_values(losses):
        net = membership @ (2 * losses - flips)
        total = abs(membership) @ flips
        return mcnemar_loss((total + net) / 2, (total - net) / 2)

    deals = [np.array(d) for d in itertools.product(*(range(n + 1) for n in flips))]
    chance = np.array([stats.binom.pmf(d, flips, 0.5).prod() for d in deals])
    dealt = np.array([p_values(d) for d in deals])
    observed = p_values(lost)
    order = np.argsort(observed, kind="stable")
    adjusted = np.empty(len(observed))
    for i, h in enumerate(order):
        smallest = dealt[:, order[i:]].min(axis=1)
        adjusted[h] = chance[smallest <= observed[h] * (1 + 1e-9)].sum()
    adjusted[order] = np.maximum.accumulate(adjusted[order])
    return adjusted


@pytest.mark.parametrize(
    ("lost", "gained", "membership"),
    [
        ([4, 3, 2, 5], [1, 0, 2, 1], OVERLAPPING),
        ([6, 0, 3, 1], [0, 4, 0, 1], OVERLAPPING),
        ([0, 0, 5, 0], [2, 1, 0, 0], OVERLAPPING),
        # A loss under the second model of a row that the first one gains.
        ([4, 3, 2, 5], [1, 0, 2, 1], OVERLAPPING * np.array([[1], [-1], [1], [-1], [1]])),
        # Strata of 16, 17 and 33 flips: whole words of coins, and one more.
        ([11, 12, 22], [5, 5, 11], np.array([[1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]])),
    ],
)
def test_adjusted_p_values_are_those_of_all_deals(lost, gained, membership):
    draws = 100_000
    exact = enumerated(np.array(lost), np.array(gained), membership)
    adjusted = step_down_min_p(lost, gained, membership, np.random.default_rng(3), draws)
    error = 4.5 * np.sqrt(exact * (1 - exact) / draws) + 2 / draws
    assert (abs(adjusted - exact) <= error).all(), (adjusted, exact)


@pytest.mark.parametrize("flips", [5, 40, 256, 257, 4000])
def test_one_hypothesis_alone_needs_no_adjustment(flips):
    lost = int(stats.binom.ppf(0.9, flips, 0.5))
    p = mcnemar_loss(lost, flips - lost)
    draws = 40_000
    adjusted = step_down_min_p([lost], [flips - lost], [[1]], np.random.default_rng(0), draws)
    assert adjusted[0] == pytest.approx(p, abs=4.5 * np.sqrt(p / draws))


def test_the_same_hypothesis_twice_costs_nothing_and_holm_doubles_it():
    once = step_down_min_p([14], [4], [[1]], np.random.default_rng(0))
    twice = step_down_min_p([14], [4], [[1], [1]], np.random.default_rng(0))
    assert twice.tolist() == [once[0], once[0]]
    assert holm(mcnemar_loss([14, 14], [4, 4]))[0] > 1.8 * once[0]


def test_below_the_resolution_of_the_draws_holm_stands():
    lost, gained = np.array([80, 30, 9]), np.array([2, 25, 9])
    adjusted = step_down_min_p(lost, gained, np.eye(3), np.random.default_rng(0), draws=999)
    p = mcnemar_loss(lost, gained)
    assert adjusted[0] == pytest.approx(3 * p[0])
    assert adjusted[0] < 1e-9
    assert adjusted[1] >= p[1]
    assert adjusted[2] >= adjusted[1]


def test_adjusted_p_values_lie_between_the_p_value_and_holm_and_rise_with_the_p_value():
    rng = np.random.default_rng(8)
    for _ in range(20):
        membership = rng.random((12, 9)) < 0.4
        lost, gained = rng.poisson(6, 9), rng.poisson(4, 9)
        p = mcnemar_loss(membership @ lost, membership @ gained)
        adjusted = step_down_min_p(lost, gained, membership, np.random.default_rng(0), draws=4999)
        slack = 5 * np.sqrt(0.25 / 5000)
        assert (adjusted >= np.minimum(p, 1) - slack).all()
        assert (adjusted <= holm(p) + slack).all()
        assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()


def test_hypotheses_without_flips_are_not_rejected_and_cost_nothing():
    alone = step_down_min_p([9], [1], [[1]], np.random.default_rng(0))
    beside = step_down_min_p([9, 0], [1, 0], [[1, 0], [0, 1], [0, 0]], np.random.default_rng(0))
    assert beside.tolist() == [alone[0], 1.0, 1.0]


def test_draws_in_chunks_and_at_once_have_the_same_distribution(monkeypatch):
    lost, gained = np.array([12, 8, 300]), np.array([5, 5, 270])
    at_once = step_down_min_p(lost, gained, np.eye(3), np.random.default_rng(0), draws=20_000)
    monkeypatch.setattr("fairpress.auditing.statistics.dealt_flips._CHUNK_NUMBERS", 3000)
    in_chunks = step_down_min_p(lost, gained, np.eye(3), np.random.default_rng(0), draws=20_000)
    assert (at_once != in_chunks).any()
    np.testing.assert_allclose(in_chunks, at_once, atol=5 * np.sqrt(0.25 / 20_000))


@pytest.mark.parametrize(
    ("lost", "gained", "membership", "message"),
    [
        ([1, 2], [1], [[1, 1]], "do not fit"),
        ([1, 2], [1, 2], [[1, 1, 1]], "do not fit"),
        ([1, 2], [1, 2], [[1, 0.5]], "−1, 0 or 1"),
    ],
)
def test_input_that_does_not_fit_is_refused(lost, gained, membership, message):
    with pytest.raises(ValueError, match=message):
        step_down_min_p(lost, gained, membership, np.random.default_rng(0))
