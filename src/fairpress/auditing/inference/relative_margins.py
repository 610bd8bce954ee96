"""Losses compared with a share of the baseline's own error, such as 5 % of its false negative rate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fairpress.auditing.cells.grouping import Grouping
from fairpress.auditing.inference.group_estimator import GroupEstimator
from fairpress.auditing.metrics.rates import LOSS_SIGN
from fairpress.auditing.statistics.score_bounds import under_margin
from fairpress.auditing.verdicts.rules import Tested


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
    estimates is taken), with two pseudo-rows as for every paired change. As for absolute margins, "no harm" also needs the
    score test, at the estimated margin, because an interval alone is too short where predictions flip in one direction
    only.

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
    cells, loss = evidence.cells, tested.loss
    before, after = cells.indicator(baseline, metric), cells.indicator(model, metric)
    error, change = (before, after - before) if LOSS_SIGN[metric] > 0 else (1 - before, before - after)
    values = evidence.moments(change - share * error)
    difference = evidence.mean(values, grouping, reach=1.0 + share, method="paired-relative")
    rate = evidence.smoothed(baseline, metric, grouping).value
    if last:
        difference, rate = difference[-1:], rate[-1:]
    margin = share * (rate if LOSS_SIGN[metric] > 0 else 1 - rate)
    with np.errstate(invalid="ignore"):
        score = under_margin(loss, tested.flip_share, margin)
        below = score.centre + score.half_width(1 - confidence) < margin
        cleared = np.asarray(loss.estimable & (difference.upper(confidence) < 0) & below)
    return replace(tested, margin=margin, cleared=cleared, p_harm=difference.p_above(0.0))
