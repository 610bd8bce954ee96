"""Betting e-processes: against the product over rows, their level under any number of looks, and how e-values combine."""

from __future__ import annotations

import numpy as np
import pytest

from fairpress.auditing.statistics.e_process import (
    BETS,
    average_e,
    e_bh,
    log_e_loss,
    log_e_no_harm,
    release_level,
)

MARGIN = 0.02


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_e_value_of_counts_is_the_product_over_rows_in_any_order(seed):
    d = np.random.default_rng(seed).choice([1, -1, 0], 300, p=[0.03, 0.02, 0.95])
    lost, gained = (d == 1).sum(), (d == -1).sum()
    clear = np.mean([np.prod(1 + bet * (MARGIN - d)) for bet in BETS])
    assert log_e_no_harm(lost, gained, len(d), MARGIN) == pytest.approx(np.log(clear))
    for margin in (0.0, MARGIN):
        loss = np.mean([np.prod(1 + bet / (1 + margin) * (d - margin)) for bet in BETS])
        assert log_e_loss(lost, gained, len(d), margin) == pytest.approx(np.log(loss))


def test_the_mean_e_value_of_one_row_at_the_hypothesis_is_one():
    for up in (0.0, 0.1, 0.4):
        for margin in (0.0, 0.02, 0.2):
            p = np.array([margin + up, up, 1 - margin - 2 * up])
            for e in (log_e_no_harm, log_e_loss):
                values = np.exp(e(np.array([1, 0, 0]), np.array([0, 1, 0]), np.ones(3), margin))
                assert values @ p == pytest.approx(1.0)


def test_no_row_can_lose_everything():
    assert np.isfinite(log_e_loss(0, 5000, 5000, 0.9))
    assert np.isfinite(log_e_no_harm(5000, 0, 5000, 0.001))


@pytest.mark.parametrize("up", [0.0, 0.01])
def test_three_hundred_looks_at_a_loss_of_the_margin_clear_it_in_at_most_five_percent(up):
    rng = np.random.default_rng(7)
    flips = rng.multinomial(20, [MARGIN + up, up, 1 - MARGIN - 2 * up], size=(1500, 300)).cumsum(axis=1)
    n = 20 * np.arange(1, 301)
    clear = (log_e_no_harm(flips[..., 0], flips[..., 1], n, MARGIN).max(axis=1) >= np.log(20)).mean()
    harm = (log_e_loss(flips[..., 0], flips[..., 1], n, MARGIN).max(axis=1) >= np.log(20)).mean()
    # 0.05 plus three Monte-Carlo errors; that something is cleared shows that the test can fail.
    assert 0.005 < clear <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1500)
    assert 0.005 < harm <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1500)


def test_an_unchanged_model_is_cleared_within_the_rows_that_the_referee_measured():
    """Median rows at 2 % flips: 440 (review of the statistics, "Sequential")."""
    rng = np.random.default_rng(8)
    flips = rng.multinomial(20, [0.01, 0.01, 0.98], size=(1000, 200)).cumsum(axis=1)
    clear = log_e_no_harm(flips[..., 0], flips[..., 1], 20 * np.arange(1, 201), MARGIN) >= np.log(20)
    assert 400 <= np.median(20 * (clear.argmax(axis=1) + 1)) <= 500


def test_the_levels_of_all_releases_sum_to_alpha():
    assert release_level(np.arange(1, 200_000), 0.05).sum() == pytest.approx(0.05, abs=1e-6)


def test_the_average_of_e_values():
    assert np.exp(average_e(np.log([1.0, 3.0, 8.0]))) == pytest.approx(4.0)
    assert np.exp(average_e(np.log([[1.0, 3.0], [8.0, 2.0]]), axis=0)) == pytest.approx([4.5, 2.5])


def test_e_bh_rejects_the_largest_number_whose_smallest_e_value_suffices():
    # K/(αk) for K = 4, α = .05: 80, 40, 26.7, 20.
    assert e_bh(np.log([90.0, 5.0, 30.0, 30.0])).tolist() == [True, False, True, True]
    assert e_bh(np.log([39.0, 5.0, 39.0, 1.0])).tolist() == [False] * 4
    assert e_bh(np.log([20.0] * 4)).all()
