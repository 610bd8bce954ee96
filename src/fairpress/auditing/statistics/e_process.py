"""Betting e-processes for a loss: evidence that stays valid at any number of looks at a growing table.

A row's loss is D ∈ {−1, 0, 1}: 1 where a right answer was lost, −1 where one was gained. Under the hypothesis that the mean
loss ℓ is at least δ, Π(1 + λ(δ − Dᵢ)) is a non-negative supermartingale for every λ in [0, 1/(1 − δ)); so is the mean over
several λ. By Ville's inequality it ever reaches 1/α with probability at most α, whenever and however often one looks
(Waudby-Smith and Ramdas, *Estimating means of bounded random variables by betting*, JRSS B 86, 2024; Shafer, *Testing by
betting*, JRSS A 184, 2021). The product depends on the counts alone, not on the order of the rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairpress.auditing.statistics.t_estimate import Floats

BETS = (0.1, 0.2, 0.4, 0.6, 0.8, 0.95)
"""λ: stakes of equal weight, from those that suit many flips to those that suit few."""


def log_e_no_harm(lost: ArrayLike, gained: ArrayLike, n: ArrayLike, margin: float) -> Floats:
    """Return ln of the e-value against ℓ ≥ `margin`: large where a loss of the margin is ruled out.

    Parameters
    ----------
    lost, gained
        Rows whose answer went from right to wrong, and from wrong to right, since the first row; any shape.
    n
        Rows of the metric's denominator since the first row.
    margin
        δ, in [0, 1).
    """
    return _log_wealth(lost, gained, n, np.asarray(BETS), margin)


def log_e_loss(lost: ArrayLike, gained: ArrayLike, n: ArrayLike, margin: float = 0.0) -> Floats:
    """Return ln of the e-value against ℓ ≤ `margin`: large where a loss above it is shown (harm, at the audit's margin).

    The stakes are divided by 1 + δ, so that no row can lose everything. Shapes as in `log_e_no_harm`.
    """
    return _log_wealth(lost, gained, n, -np.asarray(BETS) / (1 + margin), margin)


def _log_wealth(lost: ArrayLike, gained: ArrayLike, n: ArrayLike, bets: Floats, margin: float) -> Floats:
    b, c, size = (
        x[..., None] for x in np.broadcast_arrays(*(np.asarray(v, float) for v in (lost, gained, n)))
    )
    log_wealth = (
        b * np.log1p(bets * (margin - 1))
        + c * np.log1p(bets * (margin + 1))
        + (size - b - c) * np.log1p(bets * margin)
    )
    return np.asarray(np.logaddexp.reduce(log_wealth, axis=-1) - np.log(len(bets)))


def upper_bound(lost: ArrayLike, gained: ArrayLike, n: ArrayLike, alpha: float = 0.05) -> float:
    """Return the smallest margin that the looks so far rule out at level α: a bound of the loss at any number of looks.

    With probability 1 − α the loss is below the bound after every look (a confidence sequence); 1 if nothing is ruled out.

    Parameters
    ----------
    lost, gained, n
        Counts since the first row at each look [looks].
    """
    b, c, size = np.broadcast_arrays(*(np.atleast_1d(np.asarray(v, float)) for v in (lost, gained, n)))

    def evidence(margin: float) -> float:
        return float(log_e_no_harm(b, c, size, margin).max() + np.log(alpha))

    low, high = 0.0, 1 - 1e-9
    if evidence(low) >= 0:
        return low
    # The wealth of every stake grows with the margin.
    if evidence(high) < 0:
        return 1.0
    from scipy import optimize  # slow to import

    return float(optimize.brentq(evidence, low, high, xtol=1e-7))


def release_level(release: ArrayLike, alpha: float = 0.05) -> Floats:
    """Return the level of the k-th release (from 1), 6α/(π²k²); the levels of all releases, ever, sum to α."""
    return np.asarray(6 * alpha / (np.pi**2 * np.asarray(release, float) ** 2))


def average_e(log_e: ArrayLike, axis: int = -1) -> Floats:
    """Return ln of the mean of e-values, an e-value against "all of the hypotheses hold", under any dependence.

    Vovk and Wang, *E-values: calibration, combination and applications*, Annals of Statistics 49 (2021). The e-values are
    those at one time; the largest so far is not an e-value.
    """
    values = np.asarray(log_e, float)
    return np.asarray(np.logaddexp.reduce(values, axis=axis) - np.log(values.shape[axis]))


def e_bh(log_e: ArrayLike, alpha: float = 0.05) -> NDArray[np.bool_]:
    """Return which hypotheses are rejected with a false discovery rate of at most α, under any dependence.

    Wang and Ramdas, *False discovery rate control with e-values*, JRSS B 84 (2022): the k largest e-values, k the largest
    number with e₍ₖ₎ ≥ K/(αk). `log_e` is one-dimensional.
    """
    values = np.asarray(log_e, float)
    order = np.argsort(-values, kind="stable")
    ranks = np.arange(1, len(values) + 1)
    reached = np.flatnonzero(values[order] >= np.log(len(values) / (alpha * ranks)))
    rejected = np.zeros(len(values), dtype=bool)
    rejected[order[: int(reached.max(initial=-1)) + 1]] = True
    return rejected
