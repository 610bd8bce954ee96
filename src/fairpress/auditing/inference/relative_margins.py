"""Losses compared with a share of the baseline's own error, such as 5 % of its false negative rate."""

from __future__ import annotations

import numpy as np

from fairpress.auditing.inference.group_estimator import GroupEstimator
from fairpress.auditing.metrics.rates import LOSS_SIGN
from fairpress.auditing.statistics.score_bounds import loss_upper_bound, score_statistic
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate, t_quantile
from fairpress.auditing.verdicts.rules import Tested


def tested_relative(
    evidence: GroupEstimator,
    query: tuple[str, str, str],
    index: np.ndarray,
    groups: int,
    loss: TEstimate,
    flip_share: Floats,
    share: float,
    confidence: float,
    assessed: np.ndarray,
) -> tuple[Tested, Floats, Floats]:
    """Judge ℓ against share · e₀, where e₀ is the baseline's error in the same group and is itself estimated.

    The hypothesis ℓ − share·e₀ ≥ 0 is linear in the rows, so its mean is tested directly (Fieller 1954: no ratio of estimates
    is taken), with two pseudo-rows as for every paired change. As for absolute margins, "no harm" also needs the score test, at
    the estimated margin, because an interval alone is too short where predictions flip in one direction only.

    Parameters
    ----------
    query
        Compressed model, baseline, metric.
    index, groups
        Group of each combination [combinations], number of groups.

    Returns
    -------
    What judges the losses, the share of flips, and the estimated absolute margin; all [groups].
    """
    model, baseline, metric = query
    cells = evidence.cells
    before, after = cells.indicator(baseline, metric), cells.indicator(model, metric)
    error, change = (before, after - before) if LOSS_SIGN[metric] > 0 else (1 - before, before - after)
    difference = evidence.mean(
        evidence.moments(change - share * error), index, groups, reach=1.0 + share, method="paired-relative"
    )
    rate = evidence.smoothed(baseline, metric, index, groups).value
    margin = share * (rate if LOSS_SIGN[metric] > 0 else 1 - rate)
    with np.errstate(invalid="ignore"):
        score = score_statistic(loss, flip_share, margin) < -t_quantile(loss.df, confidence)
        cleared = loss.estimable & (difference.upper(confidence) < 0) & score
    return (
        Tested(
            loss,
            loss.p_above(0.0),
            difference.p_above(0.0),
            loss_upper_bound(loss, flip_share, confidence),
            np.asarray(cleared),
            assessed,
        ),
        flip_share,
        np.asarray(margin),
    )
