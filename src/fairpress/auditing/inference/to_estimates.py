"""Convert arrays of estimates to single estimates, with the reason where one is undefined."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fairpress.auditing.class_recall import RARE_CLASSES, is_class_metric
from fairpress.auditing.metrics.fairness import Gap
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate
from fairpress.core.estimate import Estimate

UNDEFINED_REASONS = {
    "accuracy": "no rows in this group",
    "selection_rate": "no rows in this group",
    "tpr": "no positives in this group",
    "fnr": "no positives in this group",
    "fpr": "no negatives in this group",
    "tnr": "no negatives in this group",
    "ppv": "nobody in this group was predicted positive",
    "npv": "nobody in this group was predicted negative",
    "balanced_accuracy": "no positives or no negatives in this group",
}


def undefined_reason(metric: str) -> str:
    """Return why a rate, or the recall of a class, is undefined in a group."""
    if metric == RARE_CLASSES:
        return "no rows of the rare classes in this group"
    return "no rows of this class in this group" if is_class_metric(metric) else UNDEFINED_REASONS[metric]


def to_estimates(
    x: TEstimate,
    confidence: float,
    why: str,
    p: ArrayLike | None = None,
    p_adjusted: ArrayLike | None = None,
    interval: tuple[Floats, Floats] | None = None,
) -> list[Estimate]:
    """Return the estimate of each group with its interval, and with p-values where they are given [groups].

    `interval` replaces that of the estimate itself.
    """
    low, high = x.interval(confidence) if interval is None else interval
    columns = [np.asarray(v, float).tolist() for v in (x.value, low, high, x.n)]
    absent = [None] * len(columns[0])
    p_values = (absent if v is None else _none_if_nan(np.asarray(v, float)) for v in (p, p_adjusted))
    return [
        Estimate(v, a, b, n, x.method, q, r) if ok else Estimate.not_estimable(why)
        for v, a, b, n, q, r, ok in zip(*columns, *p_values, x.estimable.tolist(), strict=True)
    ]


def _none_if_nan(p: Floats) -> list[float | None]:
    return [None if q != q else q for q in p.tolist()]


def gap_estimate(gap: Gap, groups: int) -> Estimate:
    """Return a fairness metric as an estimate, whose n is the number of groups in it."""
    if np.isnan(gap.value):
        # A mean or a sum of two gaps needs both; it is possible that no group has both rates.
        if groups == 1:
            lacking = "there is only one group"
        elif gap.groups > 1:
            lacking = f"one of the rates this needs is known in fewer than 2 of {groups} groups"
        else:
            lacking = f"{('none', 'only 1')[gap.groups]} of {groups} groups has the rows this needs"
        return Estimate.not_estimable(lacking, gap.groups)
    return Estimate(float(gap.value), float(gap.low), float(gap.high), gap.groups, gap.method)
