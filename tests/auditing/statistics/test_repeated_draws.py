"""Repeated draws are those of the generator, in values and in what it draws next."""

from __future__ import annotations

import numpy as np
import pytest

from fairpress.auditing.statistics import repeated_draws
from fairpress.auditing.statistics.repeated_draws import standard_normal


@pytest.mark.parametrize("kind", [np.random.PCG64, np.random.MT19937, np.random.Philox])
def test_draws_and_what_follows_are_those_of_the_generator(kind):
    for _ in range(2):
        plain, repeated = (np.random.Generator(kind(3)) for _ in range(2))
        for shape in ((5, 4), (2, 3), (5, 4)):
            np.testing.assert_array_equal(standard_normal(repeated, shape), plain.standard_normal(shape))
        assert repeated.random() == plain.random()


def test_the_same_state_gives_the_same_array_and_another_state_another():
    first, again, other = (standard_normal(np.random.default_rng(seed), (6, 7)) for seed in (1, 1, 2))
    assert first is again
    assert (first != other).all()
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 0


def test_large_draws_are_not_kept(monkeypatch):
    monkeypatch.setattr(repeated_draws, "MOST_NUMBERS", 10)
    first, again = (standard_normal(np.random.default_rng(4), (11,)) for _ in range(2))
    assert first is not again
    np.testing.assert_array_equal(first, again)
