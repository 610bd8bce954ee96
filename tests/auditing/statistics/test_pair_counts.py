"""Pairs within templates: against their enumeration, and as many as a million rows have."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from fairpress.auditing.statistics.pair_counts import count_pairs


def enumerated(template, identity, before, after):
    """Pairs, disagreements before and after, started and stopped, by template and by (template, identity)."""
    whole, each = {}, {}
    for i, j in combinations(range(len(template)), 2):
        if template[i] != template[j] or identity[i] == identity[j]:
            continue
        b, a = before[i] != before[j], after[i] != after[j]
        values = np.array([1, b, a, a and not b, b and not a], float)
        whole[template[i]] = whole.get(template[i], 0) + values
        for k in (i, j):
            each[template[k], identity[k]] = each.get((template[k], identity[k]), 0) + values
    return whole, each


def as_rows(counts):
    return np.stack([counts.pairs, counts.before, counts.after, counts.started, counts.stopped], axis=1)


@pytest.mark.parametrize("classes", [2, 4])
def test_pairs_are_those_of_their_enumeration(classes):
    rng = np.random.default_rng(classes)
    template, identity = rng.integers(0, 9, 120), rng.integers(0, 4, 120)
    template[template == 8] = 0
    template[:1], identity[:1] = 50, 2  # one row
    template[1:3], identity[1:3] = 51, 1  # one identity
    before, after = rng.integers(0, classes, 120), rng.integers(0, classes, 120)
    whole, each = count_pairs(template, identity, before, after, np.ones(120))
    expected_whole, expected_each = enumerated(template, identity, before, after)
    assert as_rows(whole) == pytest.approx(np.stack([expected_whole[t] for t in sorted(expected_whole)]))
    assert as_rows(each) == pytest.approx(np.stack([expected_each[t] for t in sorted(expected_each)]))
    assert list(each.group) == [i for _, i in sorted(expected_each)]
    assert 50 not in expected_whole
    assert 51 not in expected_whole


def test_combinations_count_as_their_rows():
    rng = np.random.default_rng(0)
    columns = [rng.integers(0, k, 60) for k in (5, 3, 2, 2)]
    rows = rng.integers(1, 5, 60)
    whole, each = count_pairs(*columns, rows.astype(float))
    repeated = count_pairs(*(np.repeat(c, rows) for c in columns), np.ones(rows.sum()))
    assert as_rows(whole) == pytest.approx(as_rows(repeated[0]))
    assert as_rows(each) == pytest.approx(as_rows(repeated[1]))


def test_a_million_rows_of_one_template_are_counted_by_formula():
    identity, before, after = (x.ravel() for x in np.indices((2, 2, 2)))
    rows = np.full(8, 125_000.0)
    whole, _ = count_pairs(np.zeros(8, int), identity, before, after, rows)
    assert whole.pairs[0] == 500_000.0**2
    assert whole.before[0] == whole.after[0] == 500_000.0**2 / 2


def test_the_change_is_the_difference_of_the_shares():
    rng = np.random.default_rng(2)
    columns = [rng.integers(0, k, 400) for k in (40, 5, 2, 2)]
    for counts, groups in zip(count_pairs(*columns, np.ones(400)), (1, 5), strict=True):
        before, after = counts.shares(groups)
        assert counts.change(groups).value == pytest.approx(after.value - before.value)


def test_templates_are_the_clusters():
    """As many rows in fewer templates that are each alike: wider, and with fewer degrees of freedom."""
    rng = np.random.default_rng(5)
    identity = np.tile([0, 1], 600)
    before, after = rng.integers(0, 2, 1200), rng.integers(0, 2, 1200)
    many = count_pairs(np.arange(1200) // 2, identity, before, after, np.ones(1200))[0].change(1)
    same = [np.repeat(x.reshape(-1, 2)[:30], 20, axis=0).ravel() for x in (before, after)]
    few = count_pairs(np.arange(1200) // 40, identity, *same, np.ones(1200))[0].change(1)
    assert many.df[0] == pytest.approx(599)
    assert few.df[0] == pytest.approx(29)
    assert few.se[0] > 3 * many.se[0]


def test_the_change_is_a_linearised_ratio_over_templates():
    """With many templates of one size, the t interval of the mean of their changes; the pseudo-templates hardly count."""
    rng = np.random.default_rng(8)
    template, identity = np.repeat(np.arange(4000), 4), np.tile(np.arange(4), 4000)
    before, after = rng.integers(0, 2, 16_000), rng.integers(0, 2, 16_000)
    whole, _ = count_pairs(template, identity, before, after, np.ones(16_000))
    mean = stats.ttest_1samp((whole.after - whole.before) / whole.pairs, 0).confidence_interval()
    low, high = whole.change(1).interval()
    assert (low[0], high[0]) == pytest.approx((mean.low, mean.high), rel=0.01, abs=1e-4)


def test_where_nothing_changes_the_interval_is_not_a_point():
    identity = np.tile([0, 1, 2], 20)
    same = np.ones(60, int)
    low, high = count_pairs(np.arange(60) // 3, identity, same, same, np.ones(60))[0].change(1).interval()
    assert low[0] < -0.05
    assert high[0] > 0.05
