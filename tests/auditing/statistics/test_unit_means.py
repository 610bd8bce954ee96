"""Means over rows and people against scipy and statsmodels, and bounds of skewed means against their definition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fairpress.auditing.statistics.linear_values import ratio_values
from fairpress.auditing.statistics.skewed_estimate import SKEWNESS_FACTOR, TAIL_SHARE
from fairpress.auditing.statistics.unit_means import excess_of_units, mean_of_units, trimmed_mean, unit_sums

sm = pytest.importorskip("statsmodels.api")


@pytest.fixture
def rows():
    rng = np.random.default_rng(5)
    n = 400
    person = rng.integers(0, 60, n)
    return {
        "group": rng.integers(0, 3, n),
        "person": person,
        "before": rng.normal(5, 2, n),
        "after": rng.normal(5.2, 2, n) + rng.normal(0, 1, 60)[person],
        "weight": rng.uniform(0.5, 2, n),
    }


def of_rows(rows, weight=None, person=None):
    ones = np.ones(len(rows["group"]))
    difference = rows["after"] - rows["before"]
    return unit_sums(difference, rows["group"], 3, ones if weight is None else weight, person)


def test_a_paired_mean_is_that_of_scipys_paired_t_test(rows):
    x = mean_of_units(of_rows(rows))
    for g in range(3):
        inside = rows["group"] == g
        witness = stats.ttest_rel(rows["after"][inside], rows["before"][inside])
        assert x.value[g] / x.se[g] == pytest.approx(witness.statistic, rel=1e-9)
        assert x.df[g] == pytest.approx(witness.df, rel=1e-9)
        assert x.n[g] == inside.sum()


@pytest.mark.parametrize("weighted", [False, True])
def test_people_with_several_rows_have_statsmodels_cluster_robust_error(rows, weighted):
    weight = rows["weight"] if weighted else np.ones(400)
    x = mean_of_units(of_rows(rows, weight, rows["person"]))
    difference = rows["after"] - rows["before"]
    for g in range(3):
        inside = rows["group"] == g
        model = sm.WLS(difference[inside], np.ones(inside.sum()), weights=weight[inside])
        fit = model.fit(cov_type="cluster", cov_kwds={"groups": rows["person"][inside]})
        assert x.value[g] == pytest.approx(fit.params[0], rel=1e-9)
        assert x.se[g] == pytest.approx(fit.bse[0], rel=1e-9)


def test_excess_is_the_coefficient_of_a_cluster_robust_regression(rows):
    """People have rows on both sides, so that the two means are not independent."""
    x = excess_of_units(of_rows(rows, person=rows["person"]))
    difference = rows["after"] - rows["before"]
    for g in range(3):
        design = np.column_stack([np.ones(400), rows["group"] == g]).astype(float)
        fit = sm.OLS(difference, design).fit(
            cov_type="cluster", cov_kwds={"groups": rows["person"], "use_correction": False}
        )
        assert x.value[g] == pytest.approx(fit.params[1], rel=1e-9)
        assert x.se[g] == pytest.approx(fit.bse[1], rel=0.02)  # units / (units - 1) of either side


def test_excess_of_rows_is_welchs(rows):
    x = excess_of_units(of_rows(rows))
    difference = rows["after"] - rows["before"]
    for g in range(3):
        inside = rows["group"] == g
        witness = stats.ttest_ind(difference[inside], difference[~inside], equal_var=False)
        assert x.value[g] / x.se[g] == pytest.approx(witness.statistic, rel=1e-9)
        assert x.df[g] == pytest.approx(witness.df, rel=1e-9)


def test_a_value_far_from_zero_loses_no_digits_of_the_excess(rows):
    shifted = {**rows, "after": rows["after"] + 1e7}
    near, far = excess_of_units(of_rows(rows)), excess_of_units(of_rows(shifted))
    assert far.se == pytest.approx(near.se, rel=1e-6)


def test_people_of_unequal_size_have_fewer_degrees_of_freedom():
    sizes = np.array([1] * 20 + [60])
    person = np.repeat(np.arange(21), sizes)
    x = mean_of_units(unit_sums(np.arange(80.0), np.zeros(80, int), 1, np.ones(80), person))
    assert x.df[0] == 1.0  # one person has nearly all rows
    assert 1 < x.effective_n[0] < 2


def test_dense_and_sparse_sums_agree(rows):
    near = of_rows(rows, person=rows["person"])
    far = of_rows(rows, person=rows["person"] * 10_000_000)
    assert np.array_equal(np.sort(near.total), np.sort(far.total))
    assert mean_of_units(near).se == pytest.approx(mean_of_units(far).se, rel=1e-12)


def test_rows_without_a_value_or_a_group_are_left_out():
    values = np.array([1.0, np.nan, 3.0, 100.0])
    x = mean_of_units(unit_sums(values, np.array([0, 0, 0, -1]), 1, np.ones(4), None))
    assert (x.value[0], x.n[0]) == (2.0, 2.0)


def test_one_row_has_no_error_and_an_empty_group_no_mean():
    x = mean_of_units(unit_sums(np.array([1.0]), np.array([0]), 2, np.ones(1), None))
    assert not x.estimable.any()


def test_a_trimmed_mean_is_scipys(rows):
    mean, se = trimmed_mean(rows["after"], rows["group"], 3)
    for g in range(3):
        x = rows["after"][rows["group"] == g]
        assert mean[g] == pytest.approx(stats.trim_mean(x, 0.1), rel=1e-12)
        assert se[g] == pytest.approx(stats.mstats.trimmed_stde(x, (0.1, 0.1)), rel=0.02)


@pytest.fixture
def skewed():
    values = np.exp(np.random.default_rng(2).standard_normal(80))
    return values, mean_of_units(unit_sums(values, np.zeros(80, int), 1, np.ones(80), None))


def test_bounds_are_the_farther_of_t_and_hall(skewed):
    values, x = skewed
    t = stats.t.ppf(1 - TAIL_SHARE * 0.05, 79)
    centre, se = values.mean(), values.std(ddof=1) / np.sqrt(80)
    k = SKEWNESS_FACTOR * stats.skew(values) / np.sqrt(80)

    def hall(q):
        return 3 / k * (np.cbrt(1 + k * (q - k / 6)) - 1)

    assert x.upper(0.95)[0] == pytest.approx(centre - se * hall(-t), rel=1e-9)  # the long tail is above
    assert x.lower(0.95)[0] == pytest.approx(centre - se * t, rel=1e-9)
    assert x.upper(0.95)[0] > centre + se * t


@pytest.mark.parametrize("level", [0.05, 0.001])
def test_p_values_invert_the_bounds(skewed, level):
    _, x = skewed
    for sign in (x, -x):
        bound = float(sign.lower(1 - level)[0])
        assert sign.p_above(bound)[0] == pytest.approx(level, rel=1e-6)


def test_the_opposite_sign_mirrors_the_bounds(skewed):
    _, x = skewed
    assert (-x).lower(0.95)[0] == pytest.approx(-x.upper(0.95)[0], rel=1e-12)


def test_values_without_any_spread_have_p_values_of_zero_or_one():
    x = mean_of_units(unit_sums(np.full(50, 2.0), np.zeros(50, int), 1, np.ones(50), None))
    assert (x.p_above(1.0)[0], x.p_above(3.0)[0], x.upper()[0]) == (0.0, 1.0, 2.0)


def test_a_ratio_has_the_error_of_the_delta_method_written_out():
    """Var(a/b) = (Var a − 2R Cov(a, b) + R² Var b)/b² of people's sums, by hand."""
    rng = np.random.default_rng(7)
    person = np.repeat(np.arange(40), rng.integers(1, 9, 40))
    words = rng.poisson(10, person.size) + 1.0
    edits = rng.binomial(words.astype(int), 0.1).astype(float)
    values = ratio_values(edits, words, np.zeros(person.size, int), 1, np.ones(person.size))
    x = mean_of_units(unit_sums(values, np.zeros(person.size, int), 1, np.ones(person.size), person))
    a, b = (np.bincount(person, weights=v) for v in (edits, words))
    covariance = np.cov(a, b)
    ratio = a.sum() / b.sum()
    variance = covariance[0, 0] - 2 * ratio * covariance[0, 1] + ratio**2 * covariance[1, 1]
    assert x.value[0] == pytest.approx(ratio, rel=1e-12)
    assert x.se[0] == pytest.approx(np.sqrt(variance * 40) / b.sum(), rel=1e-9)


def test_a_ratio_is_that_of_a_weighted_regression_on_the_ratios_of_rows():
    """Weighted by words, the mean of edits/words is the ratio of sums, and its cluster-robust error the linearised one."""
    rng = np.random.default_rng(8)
    person = rng.integers(0, 30, 200)
    words = rng.poisson(10, 200) + 1.0
    edits = rng.poisson(0.1 * words).astype(float)
    values = ratio_values(edits, words, np.zeros(200, int), 1, np.ones(200))
    x = mean_of_units(unit_sums(values, np.zeros(200, int), 1, np.ones(200), person))
    fit = sm.WLS(edits / words, np.ones(200), weights=words).fit(
        cov_type="cluster", cov_kwds={"groups": person}
    )
    assert x.value[0] == pytest.approx(fit.params[0], rel=1e-9)
    assert x.se[0] == pytest.approx(fit.bse[0], rel=1e-9)


def test_a_group_whose_denominators_sum_to_zero_has_no_ratio():
    values = ratio_values(
        np.array([1.0, 2.0, 0.0]), np.array([4.0, 0.0, 0.0]), np.array([0, 0, 1]), 2, np.ones(3)
    )
    assert values[:2].mean() == 0.75
    assert np.isnan(values[2])
