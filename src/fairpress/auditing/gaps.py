"""Fairness metrics of one model over the groups of one attribute: values and valid intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fairpress.auditing.ranges import Bounds, range_bounds
from fairpress.auditing.seminorm import pair_sum, pair_sum_bounds
from fairpress.auditing.studentized import Floats, Studentized, t_quantile

NEEDS: dict[str, tuple[str, ...]] = {
    "demographic_parity_difference": ("selection_rate",),
    "disparate_impact": ("selection_rate",),
    "equal_opportunity_difference": ("tpr",),
    "predictive_equality_difference": ("fpr",),
    "equalized_odds_difference": ("tpr", "fpr"),
    "average_odds_difference": ("tpr", "fpr"),
    "accuracy_gap": ("accuracy",),
    "worst_group_accuracy": ("accuracy",),
    "pairwise_bias": ("tpr", "fpr"),
    "pairwise_bias_mean": ("tpr", "fpr"),
}
"""Fairness metric → the rates it is made of. Specificity = 1 − FPR has the same pairwise differences."""

FAIRNESS: tuple[str, ...] = tuple(NEEDS)


@dataclass(frozen=True)
class Gap:
    """A fairness metric with its interval; all NaN when fewer than two groups (one for the worst group) can be used.

    Attributes
    ----------
    groups, left_out
        Groups used, and groups that lack a denominator of the metric. The caller names those: the metric of the others
        says nothing about them, and a group that vanishes must not make a gap look smaller.
    """

    value: float
    low: float
    high: float
    groups: int
    left_out: int
    method: str


def fairness_values(rates: Mapping[str, Floats]) -> dict[str, float]:
    """Return every fairness metric that the given rates [G] allow; groups with a NaN rate are left out.

    Keys of `rates`: "selection_rate", "tpr", "fpr", "accuracy" (multi-class: "accuracy" only). NaN with fewer than
    two usable groups. Definitions: max − min over groups, except ``disparate_impact`` = min/max,
    ``equalized_odds_difference`` = max of the TPR and the FPR gap, ``average_odds_difference`` = their mean,
    ``worst_group_accuracy`` = min, ``pairwise_bias`` = Σ_{i<j} |TNR_i − TNR_j| + |TPR_i − TPR_j| (Kamal and
    Talbert, eq. 1) and ``pairwise_bias_mean`` = the same per pair.
    """
    out = {}
    for metric, names in NEEDS.items():
        if all(name in rates for name in names):
            stacked = np.stack([np.asarray(rates[name], float) for name in names])
            out[metric] = metric_value(metric, stacked[:, ~np.isnan(stacked).any(axis=0)])
    return out


def metric_value(metric: str, x: Floats) -> float:
    """Return the metric from rates [its rates in the order of NEEDS, groups]."""
    k = x.shape[1]
    if k < (1 if metric == "worst_group_accuracy" else 2):
        return float("nan")
    spread = x.max(axis=1) - x.min(axis=1)
    match metric:
        case "disparate_impact":
            return float(x.min() / x.max()) if x.max() > 0 else float("nan")
        case "worst_group_accuracy":
            return float(x.min())
        case "pairwise_bias":
            return float(pair_sum(x).sum())
        case "pairwise_bias_mean":
            return float(pair_sum(x).sum() / (k * (k - 1) / 2))
        case "average_odds_difference":
            return float(spread.mean())
    return float(spread.max())


def usable(*estimates: Studentized) -> NDArray[np.bool_]:
    """Return the groups which every one of the given rates can estimate."""
    return np.asarray(np.logical_and.reduce([e.estimable for e in estimates]))


def log_rate(x: Studentized) -> Studentized:
    """Return the logarithm of rates, by the delta method around the (never zero) smoothed centre."""
    with np.errstate(divide="ignore"):
        value = np.log(x.value)
    return replace(x, value=value, centre=np.log(x.centre), se=x.se / x.centre, limits=(-np.inf, 0.0))


def fairness_intervals(
    rates: Mapping[str, Studentized],
    rng: np.random.Generator,
    confidence: float = 0.95,
    dependent: bool = False,
) -> dict[str, Gap]:
    """Return every fairness metric that the given rates [G] allow, with an interval that is valid at ties.

    Give `intervals.agresti_caffo` per rate (with its `deff`), or `crossed.crossed_rate` and ``dependent=True``
    for rates over seeds. `rng` is used by pairwise bias only.

    Gaps: `ranges.range_bounds` (Tukey–Kramer below, pointwise above). Equalized odds: both families at once.
    Average odds: mean of the bounds of the two gaps at half the error each. Disparate impact: bounds of the
    range of log rates; 0 is the lower bound when a group is never selected. Worst group: the smallest pointwise lower bound
    (the truth's own worst group is one group) and the smallest simultaneous upper bound.
    """
    out = {}
    for metric, names in NEEDS.items():
        if not all(name in rates for name in names):
            continue
        chosen = [rates[name] for name in names]
        keep = usable(*chosen)
        parts = [x[keep] for x in chosen]
        value = metric_value(metric, np.stack([x.value for x in parts]))
        bounds, method = Bounds(np.nan, np.nan), ""
        if not np.isnan(value):
            bounds, method = metric_bounds(metric, parts, 1 - confidence, dependent, rng)
        used = int(keep.sum())
        # The plain value may lie outside bounds that are centred on smoothed rates.
        out[metric] = Gap(
            value,
            float(np.fmin(bounds.low, value)),
            float(np.fmax(bounds.high, value)),
            used,
            int(keep.size) - used,
            method,
        )
    return out


def metric_bounds(
    metric: str, x: list[Studentized], alpha: float, dependent: bool, rng: np.random.Generator
) -> tuple[Bounds, str]:
    kind = "simultaneous-bonferroni" if dependent else "tukey-kramer"
    match metric:
        case "disparate_impact":
            return disparate_impact_bounds(x[0], alpha, dependent), "log-" + kind
        case "worst_group_accuracy":
            return minimum_bounds(x[0], alpha), "worst-of-bounds"
        case "pairwise_bias" | "pairwise_bias_mean":
            pairs = x[0].value.size * (x[0].value.size - 1) / 2 if metric.endswith("mean") else 1.0
            found = pair_sum_bounds(x, alpha, dependent, rng)
            return Bounds(found.low / pairs, found.high / pairs), "seminorm"
        case "equalized_odds_difference":
            both = [range_bounds(part, alpha, dependent, families=2) for part in x]
            return Bounds(max(b.low for b in both), min(1.0, max(b.high for b in both))), kind
        case "average_odds_difference":
            both = [range_bounds(part, alpha / 2, dependent) for part in x]
            return Bounds(sum(b.low for b in both) / 2, min(1.0, sum(b.high for b in both) / 2)), kind
    found = range_bounds(x[0], alpha, dependent)
    return Bounds(found.low, min(1.0, found.high)), kind


def disparate_impact_bounds(x: Studentized, alpha: float, dependent: bool) -> Bounds:
    """Return bounds of min/max of rates from the range of their logarithms."""
    spread = range_bounds(log_rate(x), alpha, dependent)
    low = 0.0 if (x.value <= 0).any() else float(np.exp(-spread.high))
    return Bounds(low, float(np.exp(-spread.low)))


def minimum_bounds(x: Studentized, alpha: float) -> Bounds:
    """Return bounds of the smallest parameter: min of pointwise lower and of simultaneous upper bounds."""
    low = (x.centre - t_quantile(x.df, 1 - alpha / 2) * x.se).min()
    high = (x.centre + t_quantile(x.df, 1 - alpha / (2 * x.value.size)) * x.se).min()
    return Bounds(float(np.clip(low, *x.limits)), float(np.clip(high, *x.limits)))
