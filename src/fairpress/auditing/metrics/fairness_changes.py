"""Changes of fairness metrics by compression, with intervals that are valid for any extreme groups and at ties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from fairpress.auditing.metrics.fairness import (
    NEEDS,
    Gap,
    bounds_per_pair,
    log_rate,
    max_pair_sum,
    metric_bounds,
    metric_value,
    per_pair,
    same_groups,
    usable,
)
from fairpress.auditing.statistics.pairwise_sum import pair_sum_change_bounds
from fairpress.auditing.statistics.range_bounds import Bounds
from fairpress.auditing.statistics.range_change import (
    MAX_GROUPS,
    PairedErrors,
    PairRates,
    maximum_change_bounds,
    pair_differences,
    pair_ratios,
    paired_errors,
    selection_level,
    smallest_showable_change,
)
from fairpress.auditing.statistics.t_estimate import TEstimate

Triple = tuple[TEstimate, TEstimate, TEstimate]
"""Baseline rates, compressed rates, and their paired changes, over the same groups."""

SELECTION_SHARE = 0.2
"""Share of α for selecting the groups that may be the worst; the rest is for the change itself (.01 + .04 of .05)."""

RANGES = (
    "demographic_parity_difference",
    "equal_opportunity_difference",
    "predictive_equality_difference",
    "equalized_odds_difference",
    "accuracy_gap",
)
"""The metrics that are the largest of one or more ranges."""

_PAIR_SUM_GROUPS, _SHOWABLE_GROUPS = 200, 100


class Showable(NamedTuple):
    """The smallest change of an estimated gap that the rows could show, and the number of groups that may be extreme."""

    change: float
    close_groups: int


def fairness_changes(
    baseline: Mapping[str, TEstimate],
    compressed: Mapping[str, TEstimate],
    changes: Mapping[str, TEstimate],
    rng: np.random.Generator,
    confidence: float = 0.95,
    dependent: bool = False,
) -> dict[str, Gap]:
    """Return compressed − baseline of every fairness metric, with its interval.

    All maps go from a rate ("selection_rate", "tpr", "fpr", "accuracy") to estimates over the same groups:
    `agresti_caffo` of each model and `bonett_price` of the change (compressed − baseline), both in
    `proportion_intervals`, or the crossed ones with ``dependent=True``. A group that lacks a rate is left out of that rate.

    Gaps and disparate impact: `range_change`, by contrasts of all pairs of pairs of groups, which holds for any extreme
    groups and at ties, where the bootstrap of the gap is inconsistent. Equalized odds: the pairs of both rates at once.
    Average odds: mean of the bounds of the two changes at half the error each. Worst group: see `_minimum_change`.
    Above 500 groups: the difference of the two models' own intervals.
    """
    out: dict[str, Gap] = {}
    for metric, names in NEEDS.items():
        if not all(n in baseline and n in compressed and n in changes for n in names):
            continue
        triples = [(baseline[n], compressed[n], changes[n]) for n in names]
        keep = [usable(*triple) for triple in triples]
        usable_triples = [(a[mask], b[mask], c[mask]) for (a, b, c), mask in zip(triples, keep, strict=True)]
        befores = [t[0] for t in usable_triples]
        before, after = (metric_value(metric, [t[m].value for t in usable_triples]) for m in (0, 1))
        value = after - before
        bounds, method, showable = Bounds(np.nan, np.nan), "", Showable(np.nan, 0)
        if np.isnan(value):
            pass  # too few groups
        elif metric == "pairwise_bias_mean" and same_groups(befores) and "pairwise_bias" in out:
            bounds, method = bounds_per_pair(out["pairwise_bias"], befores[0])
        elif metric in RANGES and max(x.value.size for x in befores) <= MAX_GROUPS:
            estimable = [t for t in usable_triples if t[0].value.size >= 2]
            pairs = _PairedRanges.of(estimable, 1 - confidence, dependent)
            bounds, method = pairs.bounds(), "pair-contrasts"
            if bounds.low <= 0 <= bounds.high and keep[0].size <= _SHOWABLE_GROUPS:
                showable = pairs.showable()
        else:
            bounds, method = _change_bounds(metric, usable_triples, 1 - confidence, dependent, rng)
            if metric.startswith("pairwise_bias"):
                limit = max_pair_sum(metric, befores)
                bounds = Bounds(*np.clip(bounds, -limit, limit))
        used = int(np.logical_or.reduce(keep).sum())
        out[metric] = Gap(
            value,
            float(np.fmin(bounds.low, value)),
            float(np.fmax(bounds.high, value)),
            used,
            int(keep[0].size) - used,
            method,
            *showable,
        )
    return out


def difference_in_differences(
    change: TEstimate, first: int, second: int, dependent: bool = False
) -> TEstimate:
    """Return Δ_first − Δ_second of two groups fixed beforehand, as an estimate without axes.

    Fix the pair by name or on validation rows: the pair with the largest gap on the test rows regresses to the mean and
    makes compression look better than it is. `dependent` is for groups that share seeds.
    """
    a, b = change[np.array([first])], change[np.array([second])]
    return (a.minus_dependent(b) if dependent else a - b)[0]


def _change_bounds(
    metric: str, triples: list[Triple], alpha: float, dependent: bool, rng: np.random.Generator
) -> tuple[Bounds, str]:
    groups = max(t[0].value.size for t in triples)
    if metric == "worst_group_accuracy":
        return _minimum_change(triples[0], alpha), "extreme-groups"
    pair_sum = metric.startswith("pairwise_bias")
    if groups > (_PAIR_SUM_GROUPS if pair_sum else MAX_GROUPS) or (pair_sum and dependent):
        return _difference_of_bounds(metric, triples, alpha, dependent, rng), "difference-of-bounds"
    match metric:
        case "pairwise_bias":
            return pair_sum_change_bounds(triples, alpha, rng), "seminorm"
        case "pairwise_bias_mean":
            triples = [(per_pair(a), per_pair(b), per_pair(c)) for a, b, c in triples]
            return pair_sum_change_bounds(triples, alpha, rng), "seminorm"
        case "disparate_impact":
            return _ratio_change(triples[0], alpha, dependent), "pair-contrasts-ratio"
    parts = [range_change_bounds([t], alpha / 2, dependent) for t in triples]  # average odds
    return Bounds(sum(p.low for p in parts) / 2, sum(p.high for p in parts) / 2), "pair-contrasts"


def range_change_bounds(triples: Sequence[Triple], alpha: float = 0.05, dependent: bool = False) -> Bounds:
    """Return a 1 − `alpha` interval of G₁ − G₀, G = the largest range over the families given (TPR, FPR)."""
    return _PairedRanges.of(triples, alpha, dependent).bounds()


def showable_range_change(
    triples: Sequence[Triple], alpha: float = 0.05, dependent: bool = False
) -> Showable:
    """Return the smallest change of the estimated gap that these rows could show, in the direction in which it moved.

    See `range_change.smallest_showable_change`. Close groups are those that may be extreme in the model with the smaller
    gap; of TPR and FPR together, those of the rate with more.
    """
    return _PairedRanges.of(triples, alpha, dependent).showable()


class _PairedRanges(NamedTuple):
    """The pairs of the compressed model and of the baseline, their errors, and the number of groups of each family."""

    after: PairRates
    before: PairRates
    errors: PairedErrors
    sizes: Sequence[int]
    alpha: float

    @classmethod
    def of(cls, triples: Sequence[Triple], alpha: float, dependent: bool) -> _PairedRanges:
        level = selection_level(alpha)
        # Design effects and pseudo-rows of a change and of two rates may differ; that of a pair is the paired estimate.
        after = [replace(x1, centre=x0.centre + change.centre) for x0, x1, change in triples]
        return cls(
            pair_differences(after, level, dependent),
            pair_differences([t[0] for t in triples], level, dependent),
            paired_errors(triples, dependent),
            [t[0].value.size for t in triples],
            alpha,
        )

    def bounds(self) -> Bounds:
        low, high = maximum_change_bounds(self.after, self.before, self.errors, self.alpha)
        return Bounds(max(-1.0, low), min(1.0, high))

    def showable(self) -> Showable:
        after, before, errors = self.after, self.before, self.errors
        if after.value.max() < before.value.max():
            after, before, errors = before, after, errors.swap()
        extreme = np.zeros(sum(self.sizes), dtype=bool)
        for side in (before.top, before.bottom):
            extreme[side[before.plausible]] = True
        close = max(int(part.sum()) for part in np.split(extreme, np.cumsum(self.sizes)[:-1]))
        return Showable(smallest_showable_change(after, before, errors, self.alpha), close)


def _minimum_change(triple: Triple, alpha: float) -> Bounds:
    """Return bounds of min x₁ − min x₀ by the same argument with single groups instead of pairs."""
    side = alpha * (1 - SELECTION_SHARE) / 2
    may_be_worst = []
    for x in triple[:2]:
        width = x.half_width(alpha * SELECTION_SHARE / 2 / (2 * x.value.size))
        may_be_worst.append(x.centre - width <= (x.centre + width).min())
    change = triple[2]
    high = change.upper(1 - side)[may_be_worst[0]].max()
    low = change.lower(1 - side)[may_be_worst[1]].min()
    return Bounds(float(low), float(high))


def _ratio_change(triple: Triple, alpha: float, dependent: bool) -> Bounds:
    """Return bounds of the change of min/max over groups: r_p = x_bottom/x_top by the delta method, min r₁ − min r₀."""
    level = selection_level(alpha)
    before, after = (pair_ratios(x, log_rate(x), level, dependent) for x in triple[:2])
    # The pairs hold −r, whose largest value is minus the smallest ratio.
    low, high = maximum_change_bounds(after, before, paired_errors([triple], dependent), alpha)
    return Bounds(max(-1.0, -high), min(1.0, -low))


def _difference_of_bounds(
    metric: str, triples: list[Triple], alpha: float, dependent: bool, rng: np.random.Generator
) -> Bounds:
    """Return bounds of the change from the two models' own intervals at α/2: always valid, but it ignores the pairing."""
    before, _ = metric_bounds(metric, [t[0] for t in triples], alpha / 2, dependent, rng)
    after, _ = metric_bounds(metric, [t[1] for t in triples], alpha / 2, dependent, rng)
    return Bounds(after.low - before.high, after.high - before.low)
