"""Exemplars' jackknife, which is computed from counts, against leaving out each seed and counting again."""

import numpy as np
import pytest

from fairpress.auditing.inference import exemplars
from fairpress.auditing.inference.exemplars import _excess, differing_rows, modal_class


def counted_again(base, small, classes, halves):
    """The share expected from retraining and the excess of each row, from the predictions of each half."""
    expected, differing = np.zeros(base.shape[1]), np.zeros(base.shape[1])
    for a, b in halves:
        first = modal_class(base[a], classes)
        expected += differing_rows(first, modal_class(base[b], classes))
        differing += differing_rows(first, modal_class(small[b], classes))
    return expected / len(halves), (differing - expected) / len(halves)


@pytest.mark.parametrize(("seeds", "classes"), [(20, 2), (21, 2), (23, 4)])
def test_the_excess_without_a_seed_is_that_of_the_other_seeds(seeds, classes):
    rng, half = np.random.default_rng(0), seeds // 2
    label = rng.integers(0, classes, 200)
    base = np.where(rng.random((seeds, 200)) < 0.7, rng.integers(0, classes, (seeds, 200)), label)
    small = np.where(rng.random((seeds, 200)) < 0.3, rng.integers(0, classes, (seeds, 200)), base)
    base[:, :50] = small[:, :50] = label[:50]  # rows that all predict alike
    orders = [rng.permutation(seeds) for _ in range(5)]
    halves = [(o[:half], o[half : 2 * half]) for o in orders]
    expected, excess, without = _excess(base, small, classes, halves)
    again = counted_again(base, small, classes, halves)
    np.testing.assert_array_equal([expected, excess], again)
    assert expected.any()
    assert not excess[:50].any()
    for s in range(seeds):
        left = [(a[a != s], b[b != s]) for a, b in halves]
        np.testing.assert_array_equal(without[s], counted_again(base, small, classes, left)[1])


def test_many_classes_are_counted_a_part_of_the_rows_at_a_time(monkeypatch):
    rng = np.random.default_rng(0)
    base, small = rng.integers(0, 5, (2, 10, 333))
    orders = [rng.permutation(10) for _ in range(3)]
    halves = [(o[:5], o[5:]) for o in orders]
    whole = exemplars._excess(base, small, 5, halves)
    shapes = []
    of_rows = exemplars._excess_of_rows
    monkeypatch.setattr(exemplars, "VOTES", 10_000)
    monkeypatch.setattr(
        exemplars, "_excess_of_rows", lambda base, *rest: (shapes.append(base.shape), of_rows(base, *rest))[1]
    )
    parts = exemplars._excess(base, small, 5, halves)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(shapes) == 5
    assert all((2 * seeds + 3 * len(halves)) * rows * 5 <= 10_000 for seeds, rows in shapes)
