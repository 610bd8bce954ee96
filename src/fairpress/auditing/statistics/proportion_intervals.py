"""Closed-form intervals: one proportion, a paired change, a group's loss minus the rest's."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fairpress.auditing.statistics import special
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate


def wilson(
    successes: ArrayLike, n: ArrayLike, confidence: float = 0.95, deff: ArrayLike = 1.0
) -> tuple[Floats, Floats]:
    """Return Wilson's score interval (low, high) of a proportion; NaN where n = 0.

    centre = (p̂ + z²/2n)/(1 + z²/n), half-width = z/(1 + z²/n) · √(p̂(1−p̂)/n + z²/4n²); `deff` divides n.
    Wilson, JASA 22 (1927).
    """
    x, size, d = np.broadcast_arrays(*(np.asarray(v, float) for v in (successes, n, deff)))
    z = special.ndtri((1 + confidence) / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        p, m = x / size, size / d
        centre = (p + z**2 / (2 * m)) / (1 + z**2 / m)
        half = z / (1 + z**2 / m) * np.sqrt(p * (1 - p) / m + z**2 / (4 * m**2))
        empty = size <= 0
        low = np.where(empty, np.nan, np.where(x <= 0, 0.0, centre - half))
        high = np.where(empty, np.nan, np.where(x >= size, 1.0, centre + half))
    return low, high


def agresti_caffo(successes: ArrayLike, n: ArrayLike, deff: ArrayLike = 1.0) -> TEstimate:
    """Return one group's proportion with one success and one failure added, ready for differences and gaps.

    p̃ = (x+1)/(n+2), se² = p̃(1−p̃)/(n+2). The difference (``a - b``) of two groups is Agresti and Caffo's
    interval (The American Statistician 54, 2000). `deff` divides x and n first. NaN where n = 0.
    """
    x, size, d = np.broadcast_arrays(*(np.asarray(v, float) for v in (successes, n, deff)))
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(size > 0, x / size, np.nan)
        m = size / d
        p = np.where(size > 0, (value * m + 1) / (m + 2), np.nan)
    se = np.sqrt(p * (1 - p) / (m + 2))
    return TEstimate(value, p, se, size, m, np.full(size.shape, np.inf), (0.0, 1.0), "agresti-caffo")


def bonett_price(
    up: ArrayLike, down: ArrayLike, n: ArrayLike, deff: ArrayLike = 1.0, df: ArrayLike = np.inf
) -> TEstimate:
    """Return the paired change (up − down)/n of a proportion with Bonett and Price's adjusted Wald inference.

    p₁₂ = (up+1)/(n+2), p₂₁ = (down+1)/(n+2), centre = p₁₂ − p₂₁, se² = (p₁₂ + p₂₁ − centre²)/(n+2).
    Bonett and Price, J. Educ. Behav. Stat. 37 (2012). All arguments broadcast; NaN where n = 0.

    Parameters
    ----------
    up, down
        Rows whose indicator went 0→1 and 1→0. For a loss swap them or negate the result.
    n
        The metric's own denominator.
    deff
        Design effect of repeated subjects or weights: the counts are divided by it.
    df
        Degrees of freedom where variances are estimated from few subjects (`design_effect`); normal otherwise.
    """
    b, c, size, d, f = np.broadcast_arrays(*(np.asarray(v, float) for v in (up, down, n, deff, df)))
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(size > 0, (b - c) / size, np.nan)
        m = size / d
        p12, p21 = (b / d + 1) / (m + 2), (c / d + 1) / (m + 2)
    centre = np.where(size > 0, p12 - p21, np.nan)
    se = np.sqrt((p12 + p21 - centre**2) / (m + 2))
    return TEstimate(value, centre, se, size, m, np.array(f), (-1.0, 1.0), "bonett-price")


def exact_mcnemar(up: ArrayLike, down: ArrayLike) -> Floats:
    """Return the two-sided exact McNemar p-value; 1 without flips.

    min(1, 2·P(Bin(up+down, ½) ≤ min(up, down))). Reported in addition to the interval, which determines the verdict.
    """
    b, c = np.asarray(up, float), np.asarray(down, float)
    return np.asarray(np.minimum(1.0, 2 * special.bdtr(np.minimum(b, c), (b + c).astype(int), 0.5)))


def rest_of_groups(counts: ArrayLike) -> Floats:
    """Return, for each group (last axis), the sum over all other groups."""
    x = np.asarray(counts, float)
    return np.asarray(x.sum(axis=-1, keepdims=True) - x)


def excess_loss(
    lost: ArrayLike, gained: ArrayLike, n: ArrayLike, deff: ArrayLike = 1.0, rest_deff: ArrayLike = 1.0
) -> TEstimate:
    """Return each group's loss minus the loss of the rest of the attribute's groups (last axis = groups).

    E_g = ℓ_g − ℓ_rest with ℓ = (lost − gained)/n; both are Bonett–Price estimates of disjoint rows, so
    variances add. NaN where the group or the rest is empty. For seeds see `two_way.crossed_excess`.
    """
    group_loss = bonett_price(lost, gained, n, deff)
    rest_loss = bonett_price(rest_of_groups(lost), rest_of_groups(gained), rest_of_groups(n), rest_deff)
    return group_loss - rest_loss
