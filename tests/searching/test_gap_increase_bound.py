"""The bound on a rise errs in at most 5 %, by exact enumeration and by simulation, and inverts its p-value."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom
from test_bounds import evidence_of

from fairpress.auditing.statistics.proportion_intervals import bonett_price
from fairpress.core.attribute import Attribute
from fairpress.searching.bounds import JudgingPlan, bounds_of
from fairpress.searching.gap_increase_bound import gap_increase_bound


def changes(up: np.ndarray, down: np.ndarray, rows: int):
    """Return Bonett–Price changes and the share that moved."""
    return bonett_price(up, down, np.full(len(up), float(rows))), (up + down) / rows


@pytest.mark.parametrize("falls", [False, True])
@pytest.mark.parametrize(("limit", "rows"), [(0.01, 385), (0.02, 265), (0.03, 175), (0.05, 105), (0.02, 366)])
def test_a_rise_of_just_the_limit_one_way_is_seldom_shown_to_be_kept(limit, rows, falls):
    """The difference of the intervals alone passes 6 to 10 % of these."""
    flips, none = np.arange(rows + 1.0), np.zeros(rows + 1)
    still, moved_still = changes(none, none, 3000)
    moving, moved = changes(none, flips, rows) if falls else changes(flips, none, rows)
    sides = (still, moving, (moved_still, moved)) if falls else (moving, still, (moved, moved_still))
    bound, p = gap_increase_bound(*sides, limit, 0.95)
    chance = binom.pmf(flips, rows, limit)
    assert 0.01 < chance[p <= 0.05].sum() <= 0.05
    np.testing.assert_array_equal(bound <= limit, p <= 0.05)


def test_where_both_groups_move_and_flips_go_both_ways_it_errs_as_seldom():
    """20,000 samples of two groups that move apart by just the limit; 5.5 % are three standard errors above 5 %."""
    rng = np.random.default_rng(0)
    limit, back, total = 0.02, 0.005, 20_000
    for rows in ((400, 3000), (1000, 1000)):
        chances = [[back + limit / 2, back], [back, back + limit / 2]]
        drawn = np.hstack(
            [rng.multinomial(n, [*c, 1 - sum(c)], total)[:, :2] for n, c in zip(rows, chances, strict=True)]
        )
        seen, times = np.unique(drawn.astype(float), axis=0, return_counts=True)
        first, moved_first = changes(seen[:, 0], seen[:, 1], rows[0])
        second, moved_second = changes(seen[:, 2], seen[:, 3], rows[1])
        bound, p = gap_increase_bound(first, second, (moved_first, moved_second), limit, 0.95)
        assert 0.03 < times[p <= 0.05].sum() / total < 0.055
        np.testing.assert_array_equal(bound <= limit, p <= 0.05)


def test_a_search_takes_this_bound_for_a_rise():
    """Of 330 rows none flipped: the difference of the intervals is at most 0.7 points, and says too much."""
    rng = np.random.default_rng(0)
    evidence, _ = evidence_of(rng, {"a": 3000, "b": 330}, {"a": 0.0, "b": 0.0}, 0.0)
    change = evidence.change(
        "candidate", "baseline", "accuracy", evidence.cells.grouping(Attribute(("race",)))
    )
    assert (change[1:2] - change[0:1]).upper(0.95)[0] < 0.008
    rows = {("race", "accuracy"): {"race = a": 3000.0, "race = b": 330.0}}
    asked = JudgingPlan({"max_accuracy_gap_rise": 0.009}, ("race",), ("accuracy",), 0.95, rows)
    bounds = bounds_of(evidence, asked)
    assert [b.who for b in bounds] == ["race = a against race = b", "race = b against race = a"]
    for b in bounds:
        assert b.p > 0.05
        assert b.bound > 0.009
        assert b.rows_needed > b.n
