"""Paired bootstrap of changes of rates whose denominator depends on the model (PPV, NPV, balanced accuracy)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fairpress.auditing.metrics.rates import BASELINE, COMPRESSED, Confusion, confusion, rate
from fairpress.auditing.statistics.binomial_draws import BinomialDraws, Integers
from fairpress.auditing.statistics.t_estimate import Floats

BOOTSTRAPPED = ("ppv", "npv", "balanced_accuracy")
REPLICATES = 2000
_AT_ONCE = 2**16
"""Draws in one array: the arrays of a chunk of groups stay in the processor's cache."""


@dataclass(frozen=True)
class BootstrapEstimate:
    """A rate's values [..., groups] before and after, and its change with a percentile interval; NaN where undefined."""

    before: Floats
    after: Floats
    change: Floats
    low: Floats
    high: Floats


def bootstrap_changes(
    cells: ArrayLike, rng: np.random.Generator, confidence: float = 0.95, replicates: int = REPLICATES
) -> dict[str, BootstrapEstimate]:
    """Return the paired change of each of `BOOTSTRAPPED` in every group, of models with the same baseline.

    The bootstrap is stratified by group × label: within each the predictions of both models are drawn together, as a
    row-by-row bootstrap would. Half a row is added to each cell's probability, because unobserved flips are not impossible.
    The cells are multinomial; they are drawn as the baseline's predictions, and then those of either kind that flip. All
    models have the same replicates of the baseline, and an interval does not depend on which other models there are.
    Replicates in which a rate is undefined are left out; if they are more than 5 %, the estimate is NaN.

    Parameters
    ----------
    cells
        Counts [..., groups, 2, 2, 2] (label, ŷ₀, ŷ₁), the leading axes being models.

    Raises ``ValueError`` where the baseline's counts differ between models.
    """
    n = np.asarray(cells, float)
    models = n.reshape(-1, *n.shape[-4:])
    baselines = models.sum(axis=-1)
    if not np.allclose(
        baselines, baselines[0], rtol=1e-6, atol=1e-6
    ):  # equal weights may sum to almost whole numbers
        raise ValueError("models do not have the same baseline")
    at_once = max(1, _AT_ONCE // (2 * replicates))
    low, high = (np.full((len(BOOTSTRAPPED), *models.shape[:2]), np.nan) for _ in range(2))
    for start in range(0, models.shape[1], at_once):
        part = slice(start, start + at_once)
        for m, changes in enumerate(_replicated(models[:, part], rng, replicates)):
            undefined = np.isnan(changes).mean(axis=-1) > 0.05
            bounds = _quantiles(changes, (1 - confidence) / 2)
            low[:, m, part], high[:, m, part] = (np.where(undefined, np.nan, x) for x in bounds)
    out = {}
    for name, lower, upper in zip(BOOTSTRAPPED, low, high, strict=True):
        before, after = (rate(confusion(n, model), name).value for model in (BASELINE, COMPRESSED))
        change = after - before
        lower, upper = lower.reshape(change.shape), upper.reshape(change.shape)
        gone = np.isnan(lower) | np.isnan(change)
        # The plain change may lie outside an interval around smoothed cells.
        out[name] = BootstrapEstimate(
            before,
            after,
            np.where(gone, np.nan, change),
            np.where(gone, np.nan, np.fmin(lower, change)),
            np.where(gone, np.nan, np.fmax(upper, change)),
        )
    return out


def _replicated(models: Floats, rng: np.random.Generator, replicates: int) -> Iterator[Floats]:
    """Yield the changes of `BOOTSTRAPPED` [rates, groups, replicates] of each of the models [models, groups, 2, 2, 2]."""
    groups = models.shape[1]
    baseline = models[0].sum(axis=-1).reshape(-1, 2)  # [groups × labels, ŷ₀]
    rows = np.round(baseline.sum(axis=-1)).astype(np.int64)
    positive = rng.binomial(
        rows[:, None], ((baseline[:, 1] + 1) / (rows + 2))[:, None], size=(len(rows), replicates)
    )
    gained = BinomialDraws.of(rows[:, None] - positive, rng)
    lost = BinomialDraws.of(positive, rng)

    def rates(predicted: Integers) -> Floats:
        negatives, positives = rows.reshape(groups, 2, 1).transpose(1, 0, 2)
        fp, tp = predicted.reshape(groups, 2, replicates).transpose(1, 0, 2).astype(float)
        counts = Confusion(negatives - fp, fp, positives - tp, tp)
        return np.stack([rate(counts, name).value for name in BOOTSTRAPPED])

    before = rates(positive)
    for cells in models.reshape(len(models), -1, 2, 2):
        chance = (cells + 0.5) / (cells.sum(axis=-1, keepdims=True) + 1)  # of ŷ₁ given ŷ₀
        up, down = gained.of_chance(chance[:, 0, 1]), lost.of_chance(chance[:, 1, 0])
        yield rates(positive + up - down) - before


def _quantiles(x: Floats, tail: float) -> tuple[Floats, Floats]:
    """Return the quantiles `tail` and 1 − `tail` over the last axis, ignoring NaN; NaN where all values are.

    ``np.nanquantile`` loops over the groups, which takes a minute for 10,000 of them.
    """
    ordered = np.sort(x, axis=-1)  # NaN is sorted to the end
    last = (~np.isnan(ordered)).sum(axis=-1) - 1
    quantiles = []
    for share in (tail, 1 - tail):
        position = share * np.maximum(last, 0)
        below = np.floor(position).astype(int)
        a, b = (
            np.take_along_axis(ordered, i[..., None], axis=-1)[..., 0]
            for i in (below, np.minimum(below + 1, np.maximum(last, 0)))
        )
        quantiles.append(np.where(last >= 0, a + (position - below) * (b - a), np.nan))
    return quantiles[0], quantiles[1]
