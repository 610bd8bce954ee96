"""Losses compared with a share of the baseline's own error, such as 5 % of its false negative rate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fairpress.auditing.cells.grouping import Grouping
from fairpress.auditing.inference.group_estimator import GroupEstimator, per_group
from fairpress.auditing.metrics.rates import loss_sign
from fairpress.auditing.statistics.paired_ratio import under_ratio
from fairpress.auditing.statistics.t_estimate import Floats
from fairpress.auditing.verdicts.rules import Tested
from fairpress.core.attribute import OVERALL


def with_relative_margin(
    tested: Tested,
    evidence: GroupEstimator,
    query: tuple[str, str, str, Grouping],
    share: float,
    confidence: float,
    last: bool = False,
) -> Tested:
    """Judge losses against share · e₀ instead, where e₀ is the baseline's error in the same group and is itself estimated.

    The hypothesis ℓ − share·e₀ ≥ 0 is linear in the rows, so its mean is tested directly (Fieller 1954: no ratio of
    estimates is taken), with two pseudo-rows as for every paired change. As for absolute margins, "no harm" also needs a
    score test (`paired_ratio`), because an interval alone is too short where predictions flip in one direction only.

    Parameters
    ----------
    tested
        The losses [groups] of this query.
    query
        Compressed model, baseline, metric, grouping.
    last
        Whether the losses are those of the last group alone.
    """
    model, baseline, metric, grouping = query
    before, after = (_errors(evidence, m, metric) for m in (baseline, model))
    ratio = 1.0 + share
    values = evidence.moments(after - ratio * before)
    difference = evidence.mean(values, grouping, reach=ratio, method="paired-relative")
    shares = [
        _share(evidence, x, grouping) for x in (before * after, before * (1 - after), after * (1 - before))
    ]
    error = evidence.smoothed(baseline, metric, grouping).value
    if loss_sign(metric) < 0:
        error = 1 - error
    if last:
        difference, error, shares = difference[-1:], error[-1:], [x[-1:] for x in shares]
    score = under_ratio(difference, ratio, *shares)
    with np.errstate(invalid="ignore"):
        below = score.centre + score.half_width(1 - confidence) < 0
        cleared = np.asarray(tested.loss.estimable & (difference.upper(confidence) < 0) & below)
    return replace(
        tested, margin=share * np.nan_to_num(error), cleared=cleared, p_harm=difference.p_above(0.0)
    )


def baseline_error(evidence: GroupEstimator, baseline: str, metric: str) -> float:
    """Return the baseline's error among all people, smoothed so that it is above 0 (Agresti and Caffo 2000)."""
    rate = float(evidence.smoothed(baseline, metric, evidence.cells.grouping(OVERALL)).centre[0])
    return rate if loss_sign(metric) > 0 else 1 - rate


def _errors(evidence: GroupEstimator, model: str, metric: str) -> Floats:
    """Return the indicator [combinations] of the error that a metric is about; NaN outside its denominator."""
    rate = evidence.cells.indicator(model, metric)
    return rate if loss_sign(metric) > 0 else 1 - rate


def _share(evidence: GroupEstimator, indicator: Floats, grouping: Grouping) -> Floats:
    """Return the (weighted) mean of an indicator in each group; 0 where there are no rows."""
    inside = ~np.isnan(indicator)
    weight, group = evidence.cells.weight[inside], grouping.index[inside]
    total, n = (per_group(x, group, grouping.size) for x in (weight * indicator[inside], weight))
    return np.asarray(total / np.where(n > 0, n, 1.0))
