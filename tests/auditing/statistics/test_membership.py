"""A membership is the array of its entries."""

from __future__ import annotations

import numpy as np
import pytest

from fairpress.auditing.statistics.dealt_flips import DealtFlips
from fairpress.auditing.statistics.membership import Membership


def random_array(rng, signs=(-1, 0, 0, 0, 1)):
    """Return an array [hypotheses, strata] with empty hypotheses, and with some that have nearly all strata."""
    array = rng.choice(signs, (12, 9)).astype(float)
    array[[0, 4, 11]] = 0
    array[7] = 1
    return array


@pytest.mark.parametrize("signs", [(-1, 0, 0, 0, 1), (0, 0, 1), (0,), (1,), (-1,)])
def test_sums_are_those_of_the_array(signs):
    rng = np.random.default_rng(0)
    array = random_array(rng, signs)
    members, values, draws = Membership.of(array), rng.integers(0, 50, 9), rng.integers(0, 50, (9, 40))
    np.testing.assert_array_equal(members.net(values), array @ values)
    np.testing.assert_array_equal(members.total(values), abs(array) @ values)
    np.testing.assert_array_equal(members.opposite(values), (array < 0) @ values)
    np.testing.assert_array_equal(members.net_of_draws(draws), array @ draws)


def test_hypotheses_strata_and_unions_are_those_of_the_array():
    rng = np.random.default_rng(1)
    array, every = random_array(rng), np.eye(9, dtype=np.int64)
    members = Membership.of(array)
    rows, columns = np.array([11, 3, 3, 7, 0]), np.array([8, 0, 5])
    np.testing.assert_array_equal(members.hypotheses(rows).net_of_draws(every), array[rows])
    np.testing.assert_array_equal(members.strata(columns).net_of_draws(every[:3, :3]), array[:, columns])
    apart = np.array([[1.0, 0, 0, -1], [0, 1, 0, 0], [0, 0, 1, 0]])
    pooled = Membership.of(apart).with_unions([np.array([0, 2]), np.array([1])])
    expected = np.vstack([apart, apart[[0, 2]].sum(axis=0), apart[1]])
    np.testing.assert_array_equal(pooled.net_of_draws(np.eye(4, dtype=np.int64)), expected)


def test_entries_in_any_order_are_the_same_array():
    rng = np.random.default_rng(2)
    array = random_array(rng)
    hypothesis, stratum = (part[::-1] for part in np.nonzero(array))
    members = Membership.of_entries(hypothesis, stratum, array[hypothesis, stratum], (12, 9))
    np.testing.assert_array_equal(members.net_of_draws(np.eye(9, dtype=np.int64)), array)


def test_dealt_losses_of_chosen_hypotheses_are_sums_over_their_strata():
    array = random_array(np.random.default_rng(3))
    lost, gained = np.arange(9.0), np.arange(9.0)[::-1]
    flips, chosen = DealtFlips.of(lost, gained, array), np.array([3, 7, 1])
    strata = DealtFlips.of(lost, gained, np.eye(9))
    by_stratum, by_hypothesis = (
        np.concatenate([np.vstack(list(chunk)) for chunk in x.deal(np.random.default_rng(1), 50)], axis=1)
        for x in (strata, flips.select(chosen))
    )
    gains = (lost + gained)[:, None] - by_stratum
    expected = np.maximum(array, 0) @ by_stratum + np.maximum(-array, 0) @ gains
    np.testing.assert_array_equal(by_hypothesis, expected[chosen])
