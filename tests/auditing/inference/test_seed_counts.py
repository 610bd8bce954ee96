"""Estimates over seeds from counts, against the same from the values of every seed and row."""

import numpy as np
import pytest

from fairpress.auditing.cells.cells import Cells, EncodedTable
from fairpress.auditing.inference import seed_counts
from fairpress.auditing.inference.group_estimator import GroupEstimator
from fairpress.auditing.inference.seed_estimator import SeedGroupEstimator
from fairpress.auditing.metrics.linearization import LINEARIZED, linearize
from fairpress.auditing.statistics.two_way import crossed_change, crossed_excess, crossed_rate, crossed_sums
from fairpress.core.attribute import Attribute

RATES = ("accuracy", "selection_rate", "tpr", "fpr", "tnr", "fnr")
GROUPS, ROWS = 5, 300


@pytest.fixture(params=[3, 8])
def evidence(request):
    """Runs in which a group has no positive rows, and one seed of another group no positive decision."""
    seeds, rng = request.param, np.random.default_rng(request.param)
    group, label = rng.integers(0, GROUPS, ROWS), rng.integers(0, 2, ROWS)
    label[group == 1] = 0
    base = np.where(rng.random((seeds, ROWS)) < 0.2, 1 - label, label)
    small = np.where(rng.random((seeds, ROWS)) < 0.1, 1 - base, base)
    small[0, group == 2] = 0
    ones = np.ones(seeds * ROWS)
    cells = Cells(
        {"g": EncodedTable(tuple("abcde"), np.tile(group, seeds))},
        np.tile(label, seeds),
        {"base": base.reshape(-1), "small": small.reshape(-1)},
        ones,
        ones,
        ones,
        ("0", "1"),
        "1",
        {"seed": np.repeat(np.arange(seeds), ROWS), "row": np.tile(np.arange(ROWS), seeds)},
    )
    return SeedGroupEstimator(cells, "runs")


@pytest.fixture
def grouping(evidence):
    return evidence.cells.grouping(Attribute(("g",)))


def assert_same(x, y):
    for part in ("value", "centre", "se", "n", "effective_n"):
        np.testing.assert_allclose(getattr(x, part), getattr(y, part), rtol=1e-9, atol=1e-12, err_msg=part)
    defined = ~np.isnan(y.value)
    np.testing.assert_allclose(x.df[defined], y.df[defined], rtol=1e-9)
    assert (x.limits, x.method) == (y.limits, y.method)
    np.testing.assert_allclose(x.interval(0.95), y.interval(0.95), rtol=1e-9)


def summed(evidence, values, grouping):
    """The crossed sums of values of combinations, whose rows outside the denominator are NaN under every seed."""
    d, group = evidence.by_seed(values), evidence.by_seed(grouping.index)[0]
    inside = ~np.isnan(d[0])
    return crossed_sums(d[:, inside], group[inside], grouping.size)


@pytest.mark.parametrize("rate", RATES)
def test_rates_and_changes_are_those_of_the_values(evidence, grouping, rate):
    before, after = (evidence.cells.indicator(m, rate) for m in ("base", "small"))
    change = summed(evidence, after - before, grouping)
    assert_same(evidence.smoothed("small", rate, grouping), crossed_rate(summed(evidence, after, grouping)))
    assert_same(evidence.change("small", "base", rate, grouping), crossed_change(change))
    sign = 1 if rate == "fpr" else -1
    excess = crossed_excess(change)
    assert_same(evidence.excess("small", "base", rate, grouping), excess if sign == 1 else -excess)
    with np.errstate(invalid="ignore"):
        per_seed = change.seed_sums / change.seed_counts
    np.testing.assert_allclose(evidence.per_seed("small", "base", rate, grouping), per_seed)
    share = GroupEstimator.flip_share(evidence, "small", "base", rate, grouping)
    np.testing.assert_allclose(evidence.flip_share("small", "base", rate, grouping), share)
    assert share.any()


@pytest.mark.parametrize("rate", LINEARIZED)
def test_ratios_are_the_means_of_linearised_values(evidence, grouping, rate):
    stratum = grouping.index * evidence.seeds + evidence.cells.keys["seed"]
    values, reach = {}, {}
    for model in ("base", "small"):
        linear = linearize(evidence.cells, model, rate, stratum, grouping.size * evidence.seeds)
        values[model] = linear.values
        reach[model] = linear.reach.reshape(grouping.size, -1).mean(axis=1)
        mean = evidence.mean(
            evidence.moments(linear.values), grouping, reach[model], (0.0, 1.0), "crossed-linearised"
        )
        assert_same(evidence.ratio(model, rate, grouping), mean)
    assert np.isnan(evidence.ratio("small", rate, grouping).value).any() == (rate != "npv")
    difference = evidence.moments(values["small"] - values["base"])
    largest = np.maximum(reach["small"], reach["base"])
    mean = evidence.mean(difference, grouping, largest, (-1.0, 1.0), "crossed-linearised")
    assert_same(evidence.ratio_change("small", "base", rate, grouping), mean)


def test_a_model_does_not_change_from_itself(evidence, grouping):
    change = evidence.change("small", "small", "accuracy", grouping)
    assert not change.value.any()
    assert not evidence.flip_share("small", "small", "accuracy", grouping).any()


def test_flips_are_those_of_the_rows(evidence, grouping):
    counted = evidence.flips("small", "base", grouping)
    for kind, rows in GroupEstimator.flips(evidence, "small", "base", grouping).items():
        np.testing.assert_allclose(counted[kind], rows, atol=1e-12, err_msg=kind)
    assert counted["right_to_wrong"].any()
    assert counted["wrong_to_right"].any()


def test_many_groups_and_rows_take_no_more_memory(evidence, grouping, monkeypatch):
    whole = evidence._counts.both("small", "base", grouping)
    monkeypatch.setattr(seed_counts, "EXACT_ROWS", 7)
    again = seed_counts.SeedCounts(evidence.cells, evidence.seeds)
    np.testing.assert_array_equal(again.both("small", "base", grouping), whole)
    monkeypatch.setattr(seed_counts, "HELD_COUNTS", 2 * whole.size)
    for model in ("base", "small"):
        for other in ("base", "small"):
            again.both(model, other, grouping)
    assert sum(x.size for x in again._pairs.values()) <= 2 * whole.size
    expected = evidence.ratio("base", "ppv", grouping)
    monkeypatch.setattr(seed_counts, "MOST_COUNTS", whole.size - 1)
    assert not evidence._counts.suits(grouping)
    assert_same(evidence.ratio("base", "ppv", grouping), expected)
