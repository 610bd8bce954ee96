"""Seeds and rows both random."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fairpress.auditing.statistics.t_estimate import ErrorParts, choose, concatenate
from fairpress.auditing.statistics.two_way import (
    ENOUGH_SEEDS,
    crossed_change,
    crossed_excess,
    crossed_mean,
    crossed_sums,
)


def few_seeds(seeds: int = 3, rows: int = 120, size: int = 4):
    """Changes of four groups over a few seeds, and the matrix of values of the first."""
    rng = np.random.default_rng(seeds)
    d = rng.choice([-1.0, 0.0, 1.0], size=(seeds, size * rows), p=[0.08, 0.88, 0.04])
    groups = np.repeat(np.arange(size), rows)
    return crossed_change(crossed_sums(d, groups, size)), d, groups


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_below_six_seeds_a_bound_adds_one_for_rows_and_one_for_seeds(seeds):
    """Mean squares by hand; quantiles of scipy.stats, each at half of the error rate."""
    x, d, groups = few_seeds(seeds)
    augmented = np.concatenate([d[:, groups == 0], np.ones((seeds, 1)), -np.ones((seeds, 1))], axis=1)
    n = augmented.shape[1]
    row_se = augmented.mean(axis=0).std(ddof=1) / np.sqrt(n)
    seed_se = np.sqrt((augmented.mean(axis=1).var(ddof=1) + 1 / (12 * n**2)) / seeds)
    for tail in (0.05, 0.05 / 42, 1e-6):
        width = stats.t.isf(tail / 2, n - 1) * row_se + stats.t.isf(tail / 2, seeds - 1) * seed_se
        assert x.half_width(tail)[0] == pytest.approx(width, rel=1e-9)
    assert x.upper(0.95)[0] == pytest.approx(min(1.0, augmented.mean() + x.half_width(0.05)[0]))


@pytest.mark.parametrize("seeds", [2, 3, 5, 6, 9])
def test_p_values_invert_the_bounds(seeds):
    x, _, _ = few_seeds(seeds)
    assert (x.parts is None) == (seeds >= ENOUGH_SEEDS)
    for margin in (-0.2, -0.1, -0.06):
        p = x.p_above(margin)
        assert x.centre - x.half_width(p) == pytest.approx(np.full(4, margin), abs=1e-7)
    low, high = x.interval(0.9)
    for i in range(4):
        inside = low[i] + 1e-6, high[i] - 1e-6
        assert (
            min(x.p_two_sided(m)[i] for m in inside)
            > 0.1
            > max(x.p_two_sided(m)[i] for m in (low[i] - 1e-6, high[i] + 1e-6))
        )
    assert (-x).p_above(0.0) == pytest.approx((-x).tail(-x.centre))


def test_counts_of_seeds_that_agree_by_chance_are_not_certain():
    """Both seeds lose one answer: the seeds' part is what is between two counts, 1/12 of a row squared."""
    d = np.zeros((2, 200))
    d[0, 3] = d[1, 17] = -1
    x = crossed_change(crossed_sums(d, np.zeros(200, int), 1))
    assert x.parts.seed_se[0] == pytest.approx(np.sqrt(1 / 24) / 202)
    assert x.p_above(-0.1)[0] > 1e-3
    quiet = crossed_mean(crossed_sums(d, np.zeros(200, int), 1))  # any value: no counts
    assert quiet.parts.seed_se[0] == 0
    assert quiet.half_width(0.05)[0] == pytest.approx(stats.t.isf(0.025, 199) * quiet.parts.row_se[0])
    assert 0 < quiet.p_above(-0.1)[0] < 1e-8
    assert x.p_above(x.centre[0] + 0.01)[0] == 1


def test_parts_survive_sign_index_scale_choice_and_difference():
    x, d, groups = few_seeds()
    assert (-x).upper(0.99) == pytest.approx(-x.lower(0.99))
    assert x[1:3].half_width(0.001) == pytest.approx(x.half_width(0.001)[1:3])
    assert x.scaled_errors(2.0).half_width(0.01) == pytest.approx(2 * x.half_width(0.01))
    assert concatenate([x[:2], x[2:]]).half_width(0.01) == pytest.approx(x.half_width(0.01))
    mixed = choose([True, False, True, False], x, x.scaled_errors(3.0))
    assert mixed.half_width(0.01) / x.half_width(0.01) == pytest.approx([1, 3, 1, 3])
    both = x[:1].minus_dependent(x[1:2])
    assert both.half_width(0.01) == pytest.approx(x.half_width(0.01)[:1] + x.half_width(0.01)[1:2])
    with pytest.raises(ValueError, match="not independent"):
        _ = x[:1] - x[1:2]
    # The excess takes the seeds' variance of the differences: at most the sum of the two.
    excess = crossed_excess(crossed_sums(d[:, groups < 2], groups[groups < 2], 2))
    assert excess.half_width(0.01)[0] < both.half_width(0.01)[0]


def test_seeds_suffice_where_chance_alone_would_leave_the_bound_below_the_effect():
    parts = ErrorParts(*(np.array([v]) for v in (0.005, np.inf, 0.05, 1.0, 0.001)))
    needed = stats.norm.isf(0.0005) * 0.005 + stats.t.isf(0.0005, 1) * 0.001
    assert not parts.seeds_suffice(0.001, needed - 1e-6)[0]
    assert parts.seeds_suffice(0.001, needed + 1e-6)[0]


def test_the_tail_is_right_at_the_levels_of_a_correction():
    """Rows and two seeds both vary, truth 0: P(p < .05/42) was .005 and more by one t with Satterthwaite's df."""
    rng = np.random.default_rng(5)
    draws, rows = 20_000, 40
    by_row, by_seed = rng.normal(0, 0.3, (draws, 1, rows)), rng.normal(0, 0.02, (draws, 2, 1))
    d = by_row + by_seed + rng.normal(0, 0.3, (draws, 2, rows))
    flat = np.moveaxis(d, 1, 0).reshape(2, -1)
    x = crossed_mean(crossed_sums(flat, np.repeat(np.arange(draws), rows), draws))
    for level in (0.05, 0.05 / 42):
        expected = level * draws
        assert (x.p_above(0.0) < level).sum() <= expected + 3 * np.sqrt(expected)


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


def test_counts_of_two_seeds_have_the_level_of_a_correction():
    """Networks differ in their threshold, truth 0; without the 1/12 of a row .05/165 is exceeded six times too often."""
    rng = np.random.default_rng(1)
    draws, rows = 10_000, 100
    score = rng.standard_normal((1, draws, rows))
    a, b = (
        score + rng.standard_normal((2, draws, rows)) > 0.5 * rng.standard_normal((2, draws, 1)) for _ in "ab"
    )
    d = (b.astype(float) - a).reshape(2, -1)
    p = crossed_change(crossed_sums(d, np.repeat(np.arange(draws), rows), draws)).p_above(0.0)
    for level in (0.05, 0.05 / 42, 0.05 / 165):
        assert (p < level).sum() <= level * draws + 2 * np.sqrt(level * draws)
