"""Paired bootstrap of changes of rates whose denominator depends on the model (PPV, NPV, balanced accuracy)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fairpress.auditing.metrics.rates import BASELINE, COMPRESSED, confusion, rate
from fairpress.auditing.statistics.t_estimate import Floats

BOOTSTRAPPED = ("ppv", "npv", "balanced_accuracy")
REPLICATES = 2000
CHUNK = 4_000_000


@dataclass(frozen=True)
class BootstrapEstimate:
    """A rate's values [groups] before and after, and its change with a percentile interval; NaN where undefined."""

    before: Floats
    after: Floats
    change: Floats
    low: Floats
    high: Floats


def draw(cells: ArrayLike, rng: np.random.Generator, replicates: int) -> Floats:
    """Return bootstrap replicates [B, ..., 2, 2, 2] of cells [..., 2, 2, 2] (label, ŷ₀, ŷ₁).

    Stratified by group × label: within each the predictions of both models are drawn together, as a row-by-row
    bootstrap would. Half a row is added to each cell's probability, because unobserved flips are not impossible.
    """
    n = np.asarray(cells, float)
    flat = n.reshape(*n.shape[:-2], 4)
    p = (flat + 0.5) / (flat.sum(-1, keepdims=True) + 2)
    size = np.round(flat.sum(-1)).astype(np.int64)
    drawn = rng.multinomial(size, p, size=(replicates, *size.shape))
    return np.asarray(drawn.reshape(replicates, *n.shape), float)


def bootstrap_changes(
    cells: ArrayLike, rng: np.random.Generator, confidence: float = 0.95, replicates: int = REPLICATES
) -> dict[str, BootstrapEstimate]:
    """Return the paired change of each of `BOOTSTRAPPED` in every group, from cells [groups, 2, 2, 2].

    Replicates in which a rate is undefined are left out; if they are more than 5 %, the estimate is NaN.
    """
    n = np.asarray(cells, float)
    chunk = max(1, CHUNK // max(n.size, 1))
    replicated_changes: dict[str, list[Floats]] = {name: [] for name in BOOTSTRAPPED}
    for start in range(0, replicates, chunk):
        drawn = draw(n, rng, min(chunk, replicates - start))
        counts = [confusion(drawn, model) for model in (BASELINE, COMPRESSED)]
        for name in BOOTSTRAPPED:
            replicated_changes[name].append(rate(counts[1], name).value - rate(counts[0], name).value)
    out = {}
    for name in BOOTSTRAPPED:
        before, after = (rate(confusion(n, model), name).value for model in (BASELINE, COMPRESSED))
        change = after - before
        replicated = np.concatenate(replicated_changes[name])
        undefined = np.isnan(replicated).mean(axis=0) > 0.05
        low, high = _quantiles(replicated, (1 - confidence) / 2)
        gone = undefined | np.isnan(change)
        # The plain change may lie outside an interval around smoothed cells.
        out[name] = BootstrapEstimate(
            before,
            after,
            np.where(gone, np.nan, change),
            np.where(gone, np.nan, np.fmin(low, change)),
            np.where(gone, np.nan, np.fmax(high, change)),
        )
    return out


def _quantiles(x: Floats, tail: float) -> tuple[Floats, Floats]:
    """Return the quantiles `tail` and 1 − `tail` over the first axis, ignoring NaN; NaN where all values are.

    ``np.nanquantile`` loops over the groups, which takes a minute for 10,000 of them.
    """
    ordered = np.sort(x, axis=0)  # NaN is sorted to the end
    last = (~np.isnan(ordered)).sum(axis=0) - 1
    quantiles = []
    for share in (tail, 1 - tail):
        position = share * np.maximum(last, 0)
        below = np.floor(position).astype(int)
        a, b = (
            np.take_along_axis(ordered, i[None], axis=0)[0]
            for i in (below, np.minimum(below + 1, np.maximum(last, 0)))
        )
        quantiles.append(np.where(last >= 0, a + (position - below) * (b - a), np.nan))
    return quantiles[0], quantiles[1]
