"""From arrays of inference to single estimates, with the reason where there is none."""

from __future__ import annotations

import numpy as np

from fairpress.auditing.gaps import Gap
from fairpress.auditing.studentized import Studentized
from fairpress.core.estimate import Estimate

WHY_EMPTY = {
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


def estimate(x: Studentized, g: int, confidence: float, why: str, two_sided: bool = False) -> Estimate:
    """Return the estimate of one group with its interval (and the two-sided p-value of 0)."""
    if not x.estimable[g]:
        return Estimate.not_estimable(why)
    low, high = x.interval(confidence)
    p = float(x.p_two_sided()[g]) if two_sided else None
    return Estimate(float(x.value[g]), float(low[g]), float(high[g]), float(x.n[g]), x.method, p)


def of_gap(gap: Gap, groups: int) -> Estimate:
    """Return a fairness metric as an estimate, whose n is the number of groups it is made of."""
    if np.isnan(gap.value):
        return Estimate.not_estimable(
            f"only {gap.groups} of {groups} groups have the rows this needs", gap.groups
        )
    return Estimate(float(gap.value), float(gap.low), float(gap.high), gap.groups, gap.method)
