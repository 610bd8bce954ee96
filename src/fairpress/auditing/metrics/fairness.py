"""Fairness metrics of one model over the groups of one attribute: values and valid intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fairpress.auditing.statistics.pairwise_sum import pair_sum, pair_sum_bounds
from fairpress.auditing.statistics.range_bounds import Bounds, range_bounds
from fairpress.auditing.statistics.rate_ranges import difference_range, ratio_range, smallest_rate
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate

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
        The numbers of groups with at least one of the metric's rates, and with none. The caller names the latter, because
        the metric does not cover them and a missing group must not make a gap look smaller.
    showable, close_groups
        Of a change of a gap whose interval includes 0, with at most 100 groups: the smallest change of the estimate that
        these rows could show, and the number of groups that may be extreme; else NaN and 0. See
        `fairness_changes.showable_range_change`.
    """

    value: float
    low: float
    high: float
    groups: int
    left_out: int
    method: str
    showable: float = float("nan")
    close_groups: int = 0


def metric_value(metric: str, x: Sequence[Floats]) -> float:
    """Return the metric from its rates in the order of NEEDS, each over the groups that have it.

    Definitions: max − min over groups, except ``disparate_impact`` = min/max, ``equalized_odds_difference`` = max of the TPR
    and the FPR gap, ``average_odds_difference`` = their mean, ``worst_group_accuracy`` = min, ``pairwise_bias`` =
    Σ_{i<j} |TNR_i − TNR_j| + |TPR_i − TPR_j| (Kamal and Talbert 2024, eq. 1) and ``pairwise_bias_mean`` = the same per
    pair. NaN with fewer than two groups (one for the worst group).

    A group without positives has an FPR and no TPR: it counts in the FPR gap, so that no metric made of both gaps is smaller
    than they are. Equalized odds is the larger of the known gaps; a mean or a sum needs both.
    """
    if metric == "worst_group_accuracy":
        return float(x[0].min()) if x[0].size else float("nan")
    estimable = [part for part in x if part.size >= 2]
    if not estimable or (metric != "equalized_odds_difference" and len(estimable) < len(x)):
        return float("nan")
    match metric:
        case "disparate_impact":
            return float(x[0].min() / x[0].max()) if x[0].max() > 0 else float("nan")
        case "pairwise_bias":
            return sum(float(pair_sum(part)) for part in x)
        case "pairwise_bias_mean":
            return sum(float(pair_sum(part)) / pairs_of(part.size) for part in x)
        case "average_odds_difference":
            return float(np.mean([np.ptp(part) for part in x]))
    return max(float(np.ptp(part)) for part in estimable)


def pairs_of(groups: int) -> float:
    """Return the number of pairs among `groups` groups."""
    return groups * (groups - 1) / 2


def max_pair_sum(metric: str, x: Sequence[TEstimate]) -> float:
    """Return the largest possible pairwise bias: half of the groups at 0, half at 1."""
    sizes = [part.value.size for part in x]
    return sum((k // 2) * (k - k // 2) / (pairs_of(k) if metric.endswith("mean") else 1.0) for k in sizes)


def per_pair(x: TEstimate) -> TEstimate:
    """Return rates divided by the number of pairs, so that a sum over pairs becomes a mean."""
    pairs = pairs_of(x.value.size)
    return replace(x.scaled_errors(1 / pairs), value=x.value / pairs, centre=x.centre / pairs)


def same_groups(x: Sequence[TEstimate]) -> bool:
    """Return whether every rate has the same number of groups, so that a mean over pairs is a sum over their number."""
    return len({part.value.size for part in x}) == 1


def bounds_per_pair(bias: Gap, x: TEstimate) -> tuple[Bounds, str]:
    """Return the bounds of the mean over pairs from those of the sum, and their method."""
    pairs = pairs_of(x.value.size)
    return Bounds(bias.low / pairs, bias.high / pairs), bias.method


def usable(*estimates: TEstimate) -> NDArray[np.bool_]:
    """Return the groups in which every one of the given estimates of a rate is known."""
    return np.asarray(np.logical_and.reduce([e.estimable for e in estimates]))


def log_rate(x: TEstimate) -> TEstimate:
    """Return the logarithm of rates, by the delta method around the (never zero) smoothed centre."""
    with np.errstate(divide="ignore"):
        value = np.log(x.value)
    return replace(x.scaled_errors(1 / x.centre), value=value, centre=np.log(x.centre), limits=(-np.inf, 0.0))


def fairness_intervals(
    rates: Mapping[str, TEstimate],
    rng: np.random.Generator,
    confidence: float = 0.95,
    dependent: bool = False,
) -> dict[str, Gap]:
    """Return every fairness metric that the given rates [G] allow, with an interval that is valid at ties.

    Pass `proportion_intervals.agresti_caffo` per rate (with its `deff`), or `two_way.crossed_rate` and ``dependent=True``
    for rates over seeds. `rng` is used by pairwise bias only.

    Gaps: `rate_ranges.difference_range` (simultaneous below, pointwise above), for seeds `range_bounds.range_bounds`.
    Equalized odds: both families at once. Average odds: mean of the bounds of the two gaps at half the error each. Disparate
    impact: `rate_ranges.ratio_range`; 0 is the lower bound when a group is never selected. Worst group:
    `rate_ranges.smallest_rate`.
    """
    out: dict[str, Gap] = {}
    for metric, names in NEEDS.items():
        if not all(name in rates for name in names):
            continue
        chosen = [rates[name] for name in names]
        keep = [usable(x) for x in chosen]
        parts = [x[mask] for x, mask in zip(chosen, keep, strict=True)]
        value = metric_value(metric, [x.value for x in parts])
        bounds, method = Bounds(np.nan, np.nan), ""
        if np.isnan(value):
            pass  # too few groups
        elif metric == "pairwise_bias_mean" and same_groups(parts) and "pairwise_bias" in out:
            bounds, method = bounds_per_pair(out["pairwise_bias"], parts[0])
        else:
            bounds, method = metric_bounds(metric, parts, 1 - confidence, dependent, rng)
        used = int(np.logical_or.reduce(keep).sum())
        # The plain value may lie outside bounds that are centred on smoothed rates.
        out[metric] = Gap(
            value,
            float(np.fmin(bounds.low, value)),
            float(np.fmax(bounds.high, value)),
            used,
            int(keep[0].size) - used,
            method,
        )
    return out


def metric_bounds(
    metric: str, x: list[TEstimate], alpha: float, dependent: bool, rng: np.random.Generator
) -> tuple[Bounds, str]:
    kind = "simultaneous-bonferroni" if dependent else "clopper-pearson-mover"

    def gap(rate: TEstimate, error: float, families: int = 1) -> Bounds:
        if dependent:
            return range_bounds(rate, error, dependent, families)
        return difference_range(rate, error, families)

    match metric:
        case "disparate_impact":
            bounds = disparate_impact_bounds(x[0], alpha) if dependent else ratio_range(x[0], alpha)
            return bounds, "log-" + kind
        case "worst_group_accuracy":
            return minimum_bounds(x[0], alpha) if dependent else smallest_rate(x[0], alpha), "worst-of-bounds"
        case "pairwise_bias" | "pairwise_bias_mean":
            summed = [per_pair(part) for part in x] if metric.endswith("mean") else x
            bounds = pair_sum_bounds(summed, alpha, dependent, rng)
            return Bounds(bounds.low, min(bounds.high, max_pair_sum(metric, x))), "seminorm"
        case "equalized_odds_difference":
            estimable = [part for part in x if part.value.size >= 2]
            both = [gap(part, alpha, len(estimable)) for part in estimable]
            return Bounds(max(b.low for b in both), min(1.0, max(b.high for b in both))), kind
        case "average_odds_difference":
            both = [gap(part, alpha / 2) for part in x]
            return Bounds(sum(b.low for b in both) / 2, min(1.0, sum(b.high for b in both) / 2)), kind
    bounds = gap(x[0], alpha)
    return Bounds(bounds.low, min(1.0, bounds.high)), kind


def disparate_impact_bounds(x: TEstimate, alpha: float) -> Bounds:
    """Return bounds of min/max of rates over seeds from the range of their logarithms."""
    spread = range_bounds(log_rate(x), alpha, dependent=True)
    low = 0.0 if (x.value <= 0).any() else float(np.exp(-spread.high))
    return Bounds(low, float(np.exp(-spread.low)))


def minimum_bounds(x: TEstimate, alpha: float) -> Bounds:
    """Return bounds of the smallest rate over seeds: min of pointwise lower and of simultaneous upper bounds."""
    low = (x.centre - x.half_width(alpha / 2)).min()
    high = (x.centre + x.half_width(alpha / (2 * x.value.size))).min()
    return Bounds(float(np.clip(low, *x.limits)), float(np.clip(high, *x.limits)))
