"""Closed forms against scipy, statsmodels and their own definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from fairpress.auditing.statistics.proportion_intervals import (
    bonett_price,
    exact_mcnemar,
    excess_loss,
    wilson,
)
from fairpress.auditing.statistics.score_bounds import loss_ruled_out
from fairpress.auditing.verdicts.multiplicity import benjamini_hochberg, benjamini_yekutieli, holm
from fairpress.auditing.verdicts.rules import floor_rows
from fairpress.auditing.verdicts.sample_size import rows_needed


@pytest.mark.parametrize(("k", "n"), [(0, 5), (3, 17), (17, 17), (450, 1000)])
def test_wilson_is_statsmodels(k, n):
    assert np.allclose(wilson(k, n), proportion_confint(k, n, method="wilson"), atol=1e-12)


def test_wilson_of_nobody_is_unknown():
    assert np.isnan(wilson(0, 0)).all()


def test_bonett_price_follows_its_formula():
    up, down, n = 7, 19, 400
    p12, p21 = (up + 1) / (n + 2), (down + 1) / (n + 2)
    d, z = p12 - p21, stats.norm.ppf(0.975)
    se = np.sqrt((p12 + p21 - d**2) / (n + 2))
    result = bonett_price(up, down, n)
    assert float(result.value) == pytest.approx((up - down) / n)
    assert np.allclose(result.interval(), (d - z * se, d + z * se))


def test_bonett_price_covers_at_least_94_percent():
    """STATISTICS asks for ≥ .94; 20,000 draws give a Monte-Carlo error of .0017."""
    rng = np.random.default_rng(0)
    for n, flips in ((60, 0.04), (400, 0.01), (2000, 0.15)):
        draws = rng.multinomial(n, [0.7 * flips, 0.3 * flips, 1 - flips], size=20_000)
        low, high = bonett_price(draws[:, 0], draws[:, 1], n).interval()
        assert ((low <= 0.4 * flips) & (0.4 * flips <= high)).mean() >= 0.94


def test_mcnemar_is_the_binomial_test():
    assert float(exact_mcnemar(3, 14)) == pytest.approx(stats.binomtest(3, 17).pvalue)
    assert float(exact_mcnemar(0, 0)) == 1.0


def test_excess_loss_of_two_groups_is_antisymmetric():
    result = excess_loss([30, 5], [10, 5], [500, 700])
    assert result.value[0] == pytest.approx(-result.value[1])
    assert result.value[0] == pytest.approx(20 / 500)


def test_adjusted_p_values_are_statsmodels():
    p = np.random.default_rng(1).random(40) ** 3
    for ours, name in ((holm, "holm"), (benjamini_hochberg, "fdr_bh"), (benjamini_yekutieli, "fdr_by")):
        assert np.allclose(ours(p), multipletests(p, method=name)[1], atol=1e-12)


def test_no_outcome_decides_below_231_rows_at_one_point_and_115_at_two():
    assert (floor_rows(0.01), floor_rows(0.02)) == (231, 115)


def said_no_harm(n, lost, gained):
    """The probability that a loss of 0.02 is ruled out, by enumeration of all numbers of losses and gains."""
    b, c = np.meshgrid(*(np.arange(stats.binom.isf(1e-9, n, p) + 2) for p in (lost, gained)), indexing="ij")
    p = stats.binom.pmf(b, n, lost) * stats.binom.pmf(c, n - b, gained / (1 - lost))
    loss = bonett_price(b, c, np.full(b.shape, float(n)))
    return p[loss_ruled_out(loss, (b + c) / n, 0.02, 0.95)].sum(), p[loss.upper(0.95) < 0.02].sum()


@pytest.mark.parametrize("gained", [0.0, 0.002, 0.01])
@pytest.mark.parametrize("n", [116, 191, 300, 1000, 3000])
def test_no_harm_is_wrong_at_most_once_in_twenty_at_a_loss_of_exactly_the_margin(n, gained):
    both, _ = said_no_harm(n, 0.02 + gained, gained)
    assert both <= 0.05


def test_the_upper_bound_alone_would_be_wrong_twice_as_often():
    _, alone = said_no_harm(191, 0.02, 0.0)
    assert alone > 0.10


@pytest.mark.parametrize("flips", [0.005, 0.01, 0.02, 0.04])
def test_rows_needed_give_no_harm_nine_times_in_ten_if_nothing_changed(flips):
    both, _ = said_no_harm(rows_needed(flips), flips / 2, flips / 2)
    assert both == pytest.approx(0.9, abs=0.02)
