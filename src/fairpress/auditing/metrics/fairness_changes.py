"""Changes of fairness metrics by compression, with intervals that are valid for any extreme groups and at ties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fairpress.auditing.metrics.fairness import (
    NEEDS,
    Gap,
    log_rate,
    max_pair_sum,
    metric_bounds,
    metric_value,
    per_pair,
    usable,
)
from fairpress.auditing.statistics.pairwise_sum import pair_sum_change_bounds
from fairpress.auditing.statistics.range_bounds import (
    Bounds,
    Candidates,
    candidates,
    difference_bound,
    largest_high,
    largest_low,
)
from fairpress.auditing.statistics.t_estimate import TEstimate, t_quantile

Triple = tuple[TEstimate, TEstimate, TEstimate]
"""Baseline rates, compressed rates, and their paired changes, over the same groups."""

SELECTION_SHARE = 0.2
"""Share of α for selecting the pairs that may be extreme; the rest is for the change itself (.01 + .04 of .05)."""

_RATIO_GROUPS, _PAIR_SUM_GROUPS = 1000, 200


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

    Let (a, b) be the true extreme pair of the baseline. Then G₁ ≥ x₁_a − x₁_b, hence G₁ − G₀ ≥ D_ab with
    D_ij = Δ_i − Δ_j, and with the compressed model's extreme pair likewise G₁ − G₀ ≤ D_cd. So
    G₁ − G₀ ∈ [min over A₀ of L(D), max over A₁ of U(D)], A_m = pairs whose simultaneous upper bound reaches the
    largest simultaneous lower bound in model m (α/10 each), L and U one-sided bounds at 2α/5 each: pointwise,
    because (a, b) is one pair. Exact at ties, where the bootstrap of the gap is inconsistent. The simultaneous bounds that
    define A₀ and A₁ also bound G₀ and G₁, so their difference is valid at no further cost: without it, a gap that opens
    between equal groups could not be distinguished from one that closes.
    """
    out = {}
    for metric, names in NEEDS.items():
        if not all(n in baseline and n in compressed and n in changes for n in names):
            continue
        triples = [(baseline[n], compressed[n], changes[n]) for n in names]
        keep = [usable(*triple) for triple in triples]
        usable_triples = [(a[mask], b[mask], c[mask]) for (a, b, c), mask in zip(triples, keep, strict=True)]
        before, after = (metric_value(metric, [t[m].value for t in usable_triples]) for m in (0, 1))
        value = after - before
        bounds, method = Bounds(np.nan, np.nan), ""
        if not np.isnan(value):
            bounds, method = _change_bounds(metric, usable_triples, 1 - confidence, dependent, rng)
            if metric.startswith("pairwise_bias"):
                limit = max_pair_sum(metric, [t[0] for t in usable_triples])
                bounds = Bounds(*np.clip(bounds, -limit, limit))
        used = int(np.logical_or.reduce(keep).sum())
        out[metric] = Gap(
            value,
            float(np.fmin(bounds.low, value)),
            float(np.fmax(bounds.high, value)),
            used,
            int(keep[0].size) - used,
            method,
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
    match metric:
        case "worst_group_accuracy":
            return _minimum_change(triples[0], alpha), "extreme-groups"
        case "disparate_impact":
            if triples[0][0].value.size <= _RATIO_GROUPS and not dependent:
                return _ratio_change(triples[0], alpha), "extreme-pairs-ratio"
            return _difference_of_bounds(metric, triples, alpha, dependent, rng), "difference-of-bounds"
        case "pairwise_bias" | "pairwise_bias_mean":
            k = max(t[0].value.size for t in triples)
            if k > _PAIR_SUM_GROUPS or dependent:
                return _difference_of_bounds(metric, triples, alpha, dependent, rng), "difference-of-bounds"
            if metric.endswith("mean"):
                triples = [(per_pair(a), per_pair(b), per_pair(c)) for a, b, c in triples]
            return pair_sum_change_bounds(triples, alpha, rng), "seminorm"
        case "average_odds_difference":
            parts = [range_change_bounds([t], alpha / 2, dependent) for t in triples]
            return Bounds(sum(p.low for p in parts) / 2, sum(p.high for p in parts) / 2), "extreme-pairs"
    estimable = [t for t in triples if t[0].value.size >= 2]
    return range_change_bounds(estimable, alpha, dependent), "extreme-pairs"


def range_change_bounds(triples: Sequence[Triple], alpha: float = 0.05, dependent: bool = False) -> Bounds:
    """Return a 1 − `alpha` interval of G₁ − G₀, G = the largest range over the families given (TPR, FPR)."""
    side = alpha * (1 - SELECTION_SHARE) / 2
    low, high = np.inf, -np.inf
    for (_, _, change), among in zip(triples, _extremes(triples, 0, alpha, dependent), strict=True):
        low = min(low, difference_bound(change, among, side, dependent).low)
    for (_, _, change), among in zip(triples, _extremes(triples, 1, alpha, dependent), strict=True):
        high = max(high, difference_bound(change, among, side, dependent).high)
    before, after = (_simultaneous([t[m] for t in triples], alpha, dependent) for m in (0, 1))
    low, high = max(low, after.low - before.high), min(high, after.high - before.low)
    return Bounds(max(-1.0, low), min(1.0, high))


def _simultaneous(x: Sequence[TEstimate], alpha: float, dependent: bool) -> Bounds:
    """Return bounds of the largest range over families that hold jointly with the selection of pairs."""
    share = alpha * SELECTION_SHARE / 2
    return Bounds(
        max(largest_low(part, share, dependent, len(x)) for part in x),
        max(largest_high(part, share, dependent, len(x)) for part in x),
    )


def _extremes(triples: Sequence[Triple], model: int, alpha: float, dependent: bool) -> list[Candidates]:
    """Return, per family, the pairs that may be the extreme pair of a model (0 baseline, 1 compressed)."""
    share = alpha * SELECTION_SHARE / 2
    x = [t[model] for t in triples]
    reach = max(largest_low(part, share, dependent, len(x)) for part in x)
    return [candidates(part, share, dependent, len(x), reach) for part in x]


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


def _ratio_change(triple: Triple, alpha: float) -> Bounds:
    """Return bounds of the change of min/max: R_m = x_i/x_j, R₁ − R₀ by the delta method over extreme pairs."""
    baseline, compressed, change = triple
    logs = [log_rate(baseline), log_rate(compressed)]
    share, side = alpha * SELECTION_SHARE / 2, alpha * (1 - SELECTION_SHARE) / 2
    p0, p1 = baseline.centre, compressed.centre
    v0, v1 = baseline.se**2, compressed.se**2
    covariance = np.clip((v0 + v1 - change.se**2) / 2, -np.sqrt(v0 * v1), np.sqrt(v0 * v1))
    # Gradient of x₁_i/x₁_j − x₀_i/x₀_j; i is the bottom (first axis), j the top (second axis).
    bottom = v1[:, None] / p1**2 + v0[:, None] / p0**2 - 2 * covariance[:, None] / (p1 * p0)
    r1, r0 = p1[:, None] / p1[None, :], p0[:, None] / p0[None, :]
    top = v1 * (r1 / p1) ** 2 + v0 * (r0 / p0) ** 2 - 2 * covariance * (r1 / p1) * (r0 / p0)
    se = np.sqrt(np.maximum(bottom + top, 0))
    z = float(t_quantile(change.df.min(), 1 - side))
    extreme_pairs = []
    for model in logs:
        among = candidates(model, share, False, 1, largest_low(model, share, False))
        pairs: NDArray[np.bool_] = np.zeros(se.shape, dtype=bool)
        if among.pairs is not None:
            pairs = among.pairs.T  # [bottom, top]
        extreme_pairs.append(pairs)
    difference = r1 - r0
    # On the logarithms' scale a range of 0 is a ratio of 1.
    before, after = (
        Bounds(*(float(np.exp(-f(m, share, False))) for f in (largest_high, largest_low))) for m in logs
    )
    high = min((difference + z * se)[extreme_pairs[0]].max(), after.high - before.low)
    low = max((difference - z * se)[extreme_pairs[1]].min(), after.low - before.high)
    return Bounds(max(-1.0, float(low)), min(1.0, float(high)))


def _difference_of_bounds(
    metric: str, triples: list[Triple], alpha: float, dependent: bool, rng: np.random.Generator
) -> Bounds:
    """Return bounds of the change from the two models' own intervals at α/2: always valid, but it ignores the pairing."""
    before, _ = metric_bounds(metric, [t[0] for t in triples], alpha / 2, dependent, rng)
    after, _ = metric_bounds(metric, [t[1] for t in triples], alpha / 2, dependent, rng)
    return Bounds(after.low - before.high, after.high - before.low)
