"""An AUC of a nearly perfect ranking is as uncertain as its few misranked rows leave it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri

from fairpress.auditing.statistics.auc_interval import auc_change_interval, auc_interval, effective_rows


def delong(positives: np.ndarray, negatives: np.ndarray) -> tuple[float, float]:
    """Return AUC and standard error, written out."""
    above = np.sign(positives[:, None] - negatives) / 2 + 0.5
    variance = above.mean(1).var(ddof=1) / len(positives) + above.mean(0).var(ddof=1) / len(negatives)
    return float(above.mean()), float(np.sqrt(variance))


def interval(positives: np.ndarray, negatives: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    area, se = (np.array([v]) for v in delong(positives, negatives))
    smaller, larger = (np.array([float(n)]) for n in sorted((len(positives), len(negatives))))
    low, high = auc_interval(area, effective_rows(area, se, smaller, larger), smaller, confidence)
    return float(low[0]), float(high[0])


def test_one_tie_does_not_make_a_ranking_more_certain_than_a_perfect_one():
    positives, negatives = np.arange(100.0, 120), np.arange(20.0)
    perfect = interval(positives, negatives)
    tied = interval(np.append(positives[1:], negatives[-1]), negatives)
    assert perfect[0] == pytest.approx(0.839, abs=0.001)  # Wilson's of 20 of 20
    assert tied[0] == perfect[0]  # of 400 pairs as if they were rows it were 0.985
    assert tied[1] == pytest.approx(1.0, abs=0.001)


def test_a_bad_ranking_mirrors_a_good_one():
    rng = np.random.default_rng(1)
    x, y = rng.normal(2.5, 1, 30), rng.normal(0, 1, 40)
    low, high = interval(x, y)
    assert interval(-x, -y) == pytest.approx((1 - high, 1 - low))


def test_with_many_misranked_rows_the_interval_is_that_of_delong():
    rng = np.random.default_rng(2)
    x, y = rng.normal(0.8, 1, 2000), rng.normal(0, 1, 2000)
    area, se = delong(x, y)
    assert interval(x, y) == pytest.approx((area - 1.96 * se, area + 1.96 * se), abs=0.002)


def test_of_classes_of_unequal_size_it_is_that_of_delong_too():
    """Hanley and McNeil's standard error is 1.36 times as large: the rarer class has no heavy tail."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(1.8, 1, 500), rng.normal(0, 1, 5000)
    low, high = interval(x, y)
    assert 1 <= (high - low) / (2 * 1.96 * delong(x, y)[1]) < 1.1


def test_outliers_are_covered_beside_ties():
    """A sample without an outlier says as little with ties at the border as without them."""
    rng, covered, area = np.random.default_rng(5), [], 0.9 * (1 - 0.05 / 4)
    for _ in range(400):
        y = np.where(rng.random(20) < 0.05, 9, rng.standard_normal(20))
        x = np.where(rng.random(20) < 0.1, -9, rng.choice([9, 10], 20))
        low, high = interval(x, y)
        covered.append(low <= area <= high)
    assert np.mean(covered) >= 0.95


@pytest.mark.parametrize("kind", ["wide", "outliers"])
def test_intervals_of_nearly_perfect_rankings_cover(kind):
    """By Wilson's interval with DeLong's variance alone they cover 70 and 84 times in 100."""
    rng, covered = np.random.default_rng(3), []
    area = 0.99 if kind == "wide" else 0.995
    for _ in range(400):
        y = rng.standard_normal(300)
        wide = 3 * rng.standard_normal(30) + np.sqrt(10) * ndtri(area)
        x = wide if kind == "wide" else np.where(rng.random(30) < 1 - area, -9, 9)
        low, high = interval(x, y)
        covered.append(low <= area <= high)
    assert np.mean(covered) >= 0.95


def test_a_change_combines_the_limits_of_both_models():
    areas = np.array([0.9]), np.array([0.8])
    limits = (np.array([0.85]), np.array([0.93])), (np.array([0.74]), np.array([0.86]))
    low, high = auc_change_interval(areas, limits, np.array([0.0]))
    assert low[0] == pytest.approx(-0.1 - np.hypot(0.06, 0.03))
    assert high[0] == pytest.approx(-0.1 + np.hypot(0.06, 0.05))
    narrower = auc_change_interval(areas, limits, np.array([0.9]))
    assert low[0] < narrower[0][0] < -0.1 < narrower[1][0] < high[0]
