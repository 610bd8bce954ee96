"""Seeds and rows both random."""

from __future__ import annotations

import numpy as np
import pytest

from fairpress.auditing.statistics.two_way import crossed_change, crossed_sums


def test_no_flip_in_many_seeds_says_no_more_than_the_rows():
    """Ten seeds of 50 rows without a flip must not look like 500 rows."""
    quiet = crossed_change(crossed_sums(np.zeros((10, 50)), np.zeros(50, int), 1))
    low, high = quiet.interval()
    assert low[0] < -0.03
    assert high[0] > 0.03


def test_crossed_intervals_cover_under_row_effects():
    """Truth 0: rows tend to flip one way in every seed; STATISTICS asks for ≥ .93 (error of 600 draws .010)."""
    rng = np.random.default_rng(3)
    covered = []
    for _ in range(600):
        tendency = rng.choice([-1, 0, 1], size=300, p=[0.05, 0.9, 0.05])
        d = np.where(rng.random((6, 300)) < 0.6, tendency, 0)
        low, high = crossed_change(crossed_sums(d, np.zeros(300, int), 1)).interval()
        covered.append(low[0] <= 0 <= high[0])
    assert np.mean(covered) >= 0.93


def test_one_seed_is_refused():
    with pytest.raises(ValueError, match="two seeds"):
        crossed_change(crossed_sums(np.zeros((1, 5)), np.zeros(5, int), 1))
