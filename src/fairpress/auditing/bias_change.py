"""Pairwise bias and what compression changed in it, over training seeds and rows at once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import permutations, product

import numpy as np

from fairpress.auditing.crossed_contrast import CrossedProducts, crossed_contrasts
from fairpress.auditing.studentized import Floats, t_quantile
from fairpress.core.estimate import Estimate

ORDER_SHARE = 0.1
"""Share of α spent on the order of the groups; the rest on the change itself."""

MOST_ORDERS = 20_000
_AT_ONCE = 2_000


def bias_change(
    sums: CrossedProducts,
    after: Sequence[float],
    before: Sequence[float] | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """Return the pairwise bias of a model, or by how much it differs from another's on the same rows and seeds.

    Bias is Σ over pairs of groups |ΔTPR| + |ΔTNR| (Kamal and Talbert 2024, eq. 1). Once the groups are put in order,
    the sum of absolute differences is a linear form: Σ_k (2k − K + 1)·x_(k). Of each model and rate we keep every order
    that no pair of groups contradicts (one-sided crossed tests, α/10 over all pairs, rates and models together); the
    interval is the union of the intervals (1 − 0.9 α) of the contrasts of all orders that are kept. The true
    order is among them with probability 1 − α/10, and its contrast *is* the bias or its change; where groups are equal, every
    order of them is true. Conservative near ties, an ordinary paired interval away from them.

    Parameters
    ----------
    sums
        Values 1 where a model is right. Cells: groups 0 … K − 1 among rows with a positive label (TPR), then the same
        groups among the others (TNR).
    after, before
        A model as weights over the models of `sums`: ``[0, 1]``, or ``[.3, .7, 0]`` for one that answers as the first
        with probability .3 and as the second otherwise. Without `before` the bias itself.
    """
    alpha = 1 - confidence
    roles = [np.asarray(after, float)] + ([] if before is None else [np.asarray(before, float)])
    k = len(sums.rows) // 2
    n = float(sums.rows.sum())
    if k < 2:
        return Estimate.not_estimable("a bias needs two groups with enough rows", n)
    if (sums.rows == 0).any():
        return Estimate.not_estimable("a group has no rows of one of the labels", n)
    signs = [1.0, -1.0][: len(roles)]
    level = alpha * ORDER_SHARE / (len(roles) * 2 * math.comb(k, 2))
    choices = [
        [(family, sign * role, order) for order in _orders(sums, role, family, k, level)]
        for sign, role in zip(signs, roles, strict=True)
        for family in (0, 1)
    ]
    if math.prod(map(len, choices)) > MOST_ORDERS:
        return Estimate.not_estimable("too many groups are too close to be put in order", n)
    low, high = math.inf, -math.inf
    side = 1 - (1 - ORDER_SHARE) * alpha / 2
    for weights in _batches(choices, k, len(roles[0])):
        found = crossed_contrasts(sums, weights)
        reach = t_quantile(found.df, side) * found.se
        low, high = min(low, float((found.centre - reach).min())), max(high, float((found.centre + reach).max()))
    rates = sums.rates
    value = sum(
        sign * float(_spread(rates[family * k : (family + 1) * k] @ role))
        for sign, role in zip(signs, roles, strict=True)
        for family in (0, 1)
    )
    if before is None:
        low, high = max(0.0, low), max(0.0, high)
    return Estimate(value, min(low, value), max(high, value), n, "crossed-orders" if sums.seeds > 1 else "orders")


def _spread(x: Floats) -> float:
    k = len(x)
    return float(np.sort(x) @ _steps(k))


def _steps(k: int) -> Floats:
    return 2.0 * np.arange(k) - k + 1


def _orders(sums: CrossedProducts, role: Floats, family: int, k: int, level: float) -> list[Floats]:
    """Return the weights of the groups under every order that no pair contradicts at this level."""
    pairs = [(i, j) for i in range(k) for j in range(i + 1, k)]
    weights = np.zeros((len(pairs), 2 * k, len(role)))
    for p, (i, j) in enumerate(pairs):
        weights[p, family * k + i], weights[p, family * k + j] = role, -role
    found = crossed_contrasts(sums, weights)
    reach = t_quantile(found.df, 1 - level) * found.se
    certain = np.zeros((k, k), bool)  # [i, j]: i is above j
    for p, (i, j) in enumerate(pairs):
        certain[i, j] = found.centre[p] > reach[p]
        certain[j, i] = found.centre[p] < -reach[p]
    out = []
    for order in permutations(range(k)):  # from the lowest to the highest
        if not any(certain[a, b] for p, a in enumerate(order) for b in order[p + 1 :]):
            w = np.zeros(k)
            w[list(order)] = _steps(k)
            out.append(w)
    # Certain pairs in a circle cannot be: they would contradict one another's estimates by more than their errors.
    return out or [_ranked(sums.rates[family * k : (family + 1) * k] @ role)]


def _ranked(x: Floats) -> Floats:
    w = np.zeros(len(x))
    w[np.argsort(x)] = _steps(len(x))
    return w


def _batches(
    choices: Sequence[Sequence[tuple[int, Floats, Floats]]], k: int, models: int
) -> Iterator[Floats]:
    """Yield weights [contrasts, cells, models] of all combinations of orders, some at a time."""
    batch = []
    for combination in product(*choices):
        w = np.zeros((2 * k, models))
        for family, role, order in combination:
            w[family * k : (family + 1) * k] += order[:, None] * role
        batch.append(w)
        if len(batch) == _AT_ONCE:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)
