"""Pairwise bias and its change by compression, over training seeds and rows jointly."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import permutations, product

import numpy as np

from fairpress.auditing.statistics.t_estimate import Floats, TEstimate
from fairpress.auditing.statistics.two_way_contrasts import CrossedProducts, crossed_contrasts
from fairpress.core.estimate import Estimate

ORDER_SHARE = 0.1
"""Share of α for the order of the groups; the rest is for the change itself."""

MAX_ORDERS = 20_000
_BATCH = 2_000


def bias_change(
    sums: CrossedProducts,
    after: Sequence[float],
    before: Sequence[float] | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """Return the pairwise bias of a model, or its difference from another model's on the same rows and seeds.

    Bias is T(x) = Σ over pairs of groups |x_i − x_j|, summed over TPR and TNR (Kamal and Talbert 2024, eq. 1). With w
    the weights 2k − K + 1 of the k-th smallest rate, T(x) = w·x, and T(x) ≥ v·x for the weights v of any other order.
    With w₀ and w₁ of the true orders before and after and Δ the paired changes, hence w₀·Δ ≤ T(x₁) − T(x₀) ≤ w₁·Δ.
    For each model and rate, every order is retained that no pair of groups contradicts (one-sided crossed tests, α/10
    over all pairs, rates and models together); the bounds are the smallest lower bound of w·Δ over the retained
    orders of the model before and the largest upper bound over those of the model after (one-sided, 0.45 α each).
    Where groups are equal, each of their orders is true. Conservative near ties, an ordinary paired interval away
    from them.

    Parameters
    ----------
    sums
        Values 1 where a model is right. Cells: groups 0 … K − 1 among rows with a positive label (TPR), then the same
        groups among the others (TNR).
    after, before
        A model as weights over the models of `sums`: ``[0, 1]``, or ``[.3, .7, 0]`` for one that predicts like the first
        with probability .3 and like the second otherwise. Without `before`, the bias itself is estimated.
    """
    alpha = 1 - confidence
    roles = [np.asarray(after, float)] + ([] if before is None else [np.asarray(before, float)])
    k = len(sums.rows) // 2
    n = float(sums.rows.sum())
    if k < 2:
        return Estimate.not_estimable("pairwise bias needs two groups with enough rows", n)
    if (sums.rows == 0).any():
        return Estimate.not_estimable("a group has no rows of one of the labels", n)
    level = alpha * ORDER_SHARE / (len(roles) * 2 * math.comb(k, 2))
    orders = [[_orders(sums, role, family, k, level) for family in (0, 1)] for role in roles]
    if max(len(tpr) * len(tnr) for tpr, tnr in orders) > MAX_ORDERS:
        return Estimate.not_estimable("too many groups are too close to be ordered", n)
    change_weights = roles[0] - roles[1] if before is not None else roles[0]
    side = 1 - (1 - ORDER_SHARE) * alpha / 2
    low = min(float(x.lower(side).min()) for x in _contrasts(sums, orders[-1], change_weights))
    high = max(float(x.upper(side).max()) for x in _contrasts(sums, orders[0], change_weights))
    rates = sums.rates
    value = sum(
        sign * _spread(rates[family * k : (family + 1) * k] @ role)
        for sign, role in zip((1, -1), roles, strict=False)
        for family in (0, 1)
    )
    largest_bias = 2.0 * (k // 2) * (k - k // 2)  # half of the groups at 0, half at 1
    low, high = max(0.0 if before is None else -largest_bias, low), min(largest_bias, high)
    return Estimate(
        value, min(low, value), max(high, value), n, "crossed-orders" if sums.seeds > 1 else "orders"
    )


def _spread(x: Floats) -> float:
    k = len(x)
    return float(np.sort(x) @ _steps(k))


def _steps(k: int) -> Floats:
    return np.asarray(2.0 * np.arange(k) - k + 1, float)


def _orders(sums: CrossedProducts, role: Floats, family: int, k: int, level: float) -> list[Floats]:
    """Return the weights of the groups under every order that no pair contradicts at this level."""
    pairs = [(i, j) for i in range(k) for j in range(i + 1, k)]
    weights = np.zeros((len(pairs), 2 * k, len(role)))
    for p, (i, j) in enumerate(pairs):
        weights[p, family * k + i], weights[p, family * k + j] = role, -role
    differences = crossed_contrasts(sums, weights)
    reach = differences.half_width(level)
    certain = np.zeros((k, k), bool)  # [i, j]: i is above j
    for p, (i, j) in enumerate(pairs):
        certain[i, j] = differences.centre[p] > reach[p]
        certain[j, i] = differences.centre[p] < -reach[p]
    out = []
    for order in permutations(range(k)):  # from the lowest to the highest
        if not any(certain[a, b] for p, a in enumerate(order) for b in order[p + 1 :]):
            w = np.zeros(k)
            w[list(order)] = _steps(k)
            out.append(w)
    # A cycle of certain pairs is impossible in practice: it would contradict the estimates by more than their errors.
    return out or [_ranked(sums.rates[family * k : (family + 1) * k] @ role)]


def _ranked(x: Floats) -> Floats:
    w = np.zeros(len(x))
    w[np.argsort(x)] = _steps(len(x))
    return w


def _contrasts(
    sums: CrossedProducts, orders: Sequence[Sequence[Floats]], change_weights: Floats
) -> Iterator[TEstimate]:
    """Yield the contrasts of all combinations of an order of the TPRs and one of the TNRs, in batches."""
    both = [np.concatenate(pair) for pair in product(*orders)]
    for start in range(0, len(both), _BATCH):
        yield crossed_contrasts(sums, np.stack(both[start : start + _BATCH])[:, :, None] * change_weights)
