"""Rare changes: what is not seen in a group is not ruled out, and groups that change as a whole keep scipy's error."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import fairpress as fp
from fairpress.auditing.statistics.rare_changes import (
    ENOUGH,
    unseen_variance,
    unseen_variance_of_rest,
    with_variance,
)
from fairpress.auditing.statistics.unit_means import mean_of_units, unit_sums


def estimate(values, group=None, unit=None):
    group = np.zeros(len(values), int) if group is None else group
    sums = unit_sums(values, group, int(group.max()) + 1, np.ones(len(values)), unit)
    return with_variance(mean_of_units(sums), unseen_variance(sums, (sums.total != 0).astype(float)))


@pytest.mark.parametrize(
    ("rows", "share"), [(100, 0.01), (300, 0.01), (1000, 0.003), (300, 0.03), (300, 0.1)]
)
@pytest.mark.parametrize("size", ["constant", "exponential"])
def test_a_rare_loss_of_the_margin_is_rarely_cleared(rows, share, size):
    """Without the unseen changes, 300 rows of which 1 % change clear it in 5 and 15 %, 100 rows in 38 and 44 %."""
    rng = np.random.default_rng(0)
    samples = 2000
    sizes = np.ones((samples, rows)) if size == "constant" else rng.exponential(size=(samples, rows))
    values = np.where(rng.random((samples, rows)) < share, sizes, 0.0).ravel()
    x = estimate(values, np.repeat(np.arange(samples), rows))
    assert np.mean(x.upper() < share) < 0.065


def test_a_group_without_a_change_is_bounded_by_the_changes_of_others():
    values = np.r_[np.zeros(200), np.where(np.arange(200) < 20, 3.0, 0.0)]
    x = estimate(values, np.repeat([0, 1], 200))
    spread = np.sqrt(np.mean((3.0 - 0.3) ** 2))
    assert x.upper()[0] == pytest.approx(stats.t.ppf(0.96, 199) * np.sqrt(3) * spread / 200, rel=1e-6)
    assert x.lower()[0] == -x.upper()[0]


def test_from_enough_changes_on_the_error_is_scipys():
    values = np.random.default_rng(0).normal(5, 1, ENOUGH)
    assert estimate(values).se[0] == pytest.approx(stats.sem(values), rel=1e-12)
    few = estimate(values[:10])
    assert stats.sem(values[:10]) < few.se[0] < 1.15 * stats.sem(values[:10])


def test_the_rest_is_that_of_the_other_group_and_people_count_once():
    rng = np.random.default_rng(1)
    values = np.where(rng.random(400) < 0.05, rng.normal(size=400), 0.0)
    person, group = np.arange(400) // 4, np.repeat([0, 1], 200)
    sums = unit_sums(values, group, 2, np.ones(400), person)
    changed = (sums.total != 0).astype(float)
    group_only, rest = unseen_variance(sums, changed), unseen_variance_of_rest(sums, changed)
    assert (group_only > 0).all()
    assert rest == pytest.approx(group_only[::-1], rel=0.5)
    single = unseen_variance(unit_sums(values, group, 2, np.ones(400), None), (values != 0).astype(float))
    assert group_only == pytest.approx(single, rel=0.6)


def test_where_nothing_changed_anywhere_a_change_is_as_large_as_the_baselines_values_scatter():
    assert estimate(np.zeros(50)).se[0] == 0
    sums = unit_sums(np.zeros(50), np.zeros(50, int), 1, np.ones(50), None)
    assert unseen_variance(sums, np.zeros(50), 4.0)[0] == pytest.approx(3 * 4.0 / 50**2)
    assert unseen_variance_of_rest(sums, np.zeros(50), 4.0)[0] == 0


def test_an_audit_of_two_equal_models_rules_out_no_more_than_its_rows_can():
    rng = np.random.default_rng(0)
    errors = rng.exponential(2.0, 240)
    table = {"g": np.repeat(["a", "b"], 120), "fp32": errors, "int8": errors}
    for margin, verdict in ((0.2, "no_harm"), (0.01, "inconclusive")):
        report = fp.audit(
            pd.DataFrame(table),
            outcome="number,better=lower",
            baseline="fp32",
            compressed="int8",
            by="g",
            margin=margin,
        )
        losses = [g.losses[0] for g in report.comparisons[0].attributes[0].groups]
        assert [x.verdict for x in losses] == [verdict] * 2
        bound = stats.t.ppf(0.96, 119) * np.sqrt(3) * errors.std() / 120
        assert [x.upper for x in losses] == pytest.approx([bound] * 2, rel=1e-6)
        assert report.comparisons[0].disparate is False
