"""Gaps against fairlearn, and intervals that hold where the usual one fails."""

from __future__ import annotations

import numpy as np
import pytest
from fairlearn import metrics as fl
from hypothesis import given, settings
from hypothesis import strategies as st

from fairpress.auditing.metrics.fairness import fairness_intervals
from fairpress.auditing.statistics.proportion_intervals import agresti_caffo


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_gaps_are_fairlearns(seed, groups):
    rng = np.random.default_rng(seed)
    n = 60 * groups
    g, y, p = np.arange(n) % groups, rng.integers(0, 2, n), rng.integers(0, 2, n)

    def rate(hit, among):
        of_group = [hit[(g == k) & among] for k in range(groups)]
        return agresti_caffo([x.sum() for x in of_group], [x.size for x in of_group])

    everyone = np.ones(n, bool)
    intervals = fairness_intervals(
        {
            "selection_rate": rate(p, everyone),
            "tpr": rate(p, y == 1),
            "fpr": rate(p, y == 0),
            "accuracy": rate(p == y, everyone),
        },
        rng,
    )
    peer = {"y_true": y, "y_pred": p, "sensitive_features": g}
    expected = {
        "demographic_parity_difference": fl.demographic_parity_difference(**peer),
        "disparate_impact": fl.demographic_parity_ratio(**peer),
        "equalized_odds_difference": fl.equalized_odds_difference(**peer),
        "average_odds_difference": fl.equalized_odds_difference(**peer, agg="mean"),
        "equal_opportunity_difference": fl.equal_opportunity_difference(**peer),
    }
    for name, value in expected.items():
        assert intervals[name].value == pytest.approx(value, abs=1e-12)


def test_the_interval_of_a_gap_of_four_equal_groups_covers_zero():
    """The percentile bootstrap covers the truth in 0 of 400 draws here (STATISTICS)."""
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(400):
        counts = rng.binomial(1000, 0.7, size=4)
        gap = fairness_intervals({"accuracy": agresti_caffo(counts, np.full(4, 1000))}, rng)["accuracy_gap"]
        covered += gap.low <= 0.0 <= gap.high
    assert covered / 400 >= 0.93
