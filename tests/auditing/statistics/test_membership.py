"""Dense and sparse memberships are the same numbers."""

from __future__ import annotations

import numpy as np
import pytest

from fairpress.auditing.statistics import membership as module
from fairpress.auditing.statistics.dealt_flips import DealtFlips
from fairpress.auditing.statistics.membership import as_membership, membership, with_rows


@pytest.fixture
def parts():
    rng = np.random.default_rng(0)
    array = rng.integers(-1, 2, (12, 9)).astype(float)
    hypotheses, strata = np.nonzero(array)
    return array, (array[hypotheses, strata], hypotheses, strata, array.shape)


def test_a_large_membership_is_sparse_and_has_the_same_entries(parts, monkeypatch):
    array, entries = parts
    small = membership(*entries)
    monkeypatch.setattr(module, "DENSE", 0)
    large = membership(*entries)
    assert isinstance(small, np.ndarray)
    assert not isinstance(large, np.ndarray)
    np.testing.assert_array_equal(small, array)
    np.testing.assert_array_equal(large.toarray(), array)
    below = np.ones((2, 9))
    np.testing.assert_array_equal(with_rows(large, below).toarray(), with_rows(small, below))


def test_dealt_losses_do_not_depend_on_how_a_membership_is_stored(parts, monkeypatch):
    array, _ = parts
    lost, gained = np.arange(9.0), np.arange(9.0)[::-1]
    dense = DealtFlips.of(lost, gained, array)
    monkeypatch.setattr(module, "DENSE", 0)
    sparse = DealtFlips.of(lost, gained, array)
    assert not isinstance(as_membership(array), np.ndarray)
    for name in ("lost", "total", "offset"):
        np.testing.assert_array_equal(getattr(dense, name), getattr(sparse, name))
    draws = [
        np.concatenate(list(d.select(np.array([3, 1])).deal(np.random.default_rng(1), 50)), axis=1)
        for d in (dense, sparse)
    ]
    np.testing.assert_array_equal(*draws)
