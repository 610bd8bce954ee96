"""Sums of differences over pairs of groups, against their definition pair by pair."""

from itertools import combinations

import numpy as np
import pytest

from fairpress.auditing.metrics.fairness import pairs_of
from fairpress.auditing.metrics.fairness_changes import fairness_changes
from fairpress.auditing.statistics.pairwise_sum import _open_pair_sum, pair_sum
from fairpress.auditing.statistics.proportion_intervals import agresti_caffo, bonett_price


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_the_sum_over_open_pairs_is_that_of_its_pairs_whether_they_are_few_or_many(share):
    rng = np.random.default_rng(0)
    x, above = rng.normal(size=(7, 12)), np.triu(rng.random((12, 12)) < share, 1)
    definition = sum(np.abs(x[:, i] - x[:, j]) for i, j in combinations(range(12), 2) if above[i, j])
    np.testing.assert_allclose(_open_pair_sum(x, above | above.T), np.broadcast_to(definition, 7), atol=1e-12)


def test_the_sum_over_all_pairs_is_found_by_sorting():
    x = np.random.default_rng(0).normal(size=9)
    assert pair_sum(x) == pytest.approx(sum(abs(a - b) for a, b in combinations(x, 2)))


def test_the_mean_over_pairs_has_the_interval_of_the_sum_divided_by_their_number():
    rng, n = np.random.default_rng(0), np.full(6, 400.0)
    before, up, down = rng.binomial(400, 0.5, 6), rng.binomial(150, 0.1, 6), rng.binomial(150, 0.1, 6)
    models = [{r: agresti_caffo(x, n) for r in ("tpr", "fpr")} for x in (before, before + up - down)]
    changes = {r: bonett_price(up, down, n) for r in ("tpr", "fpr")}
    found = fairness_changes(*models, changes, np.random.default_rng(0))
    bias, mean = found["pairwise_bias"], found["pairwise_bias_mean"]
    assert bias.low < bias.value < bias.high
    expected = [x / pairs_of(6) for x in (bias.low, bias.value, bias.high)]
    assert [mean.low, mean.value, mean.high] == pytest.approx(expected)
