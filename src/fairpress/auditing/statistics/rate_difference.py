"""Score test and bound of the difference of two independent rates, with the variance under the hypothesis.

Farrington and Manning, Statistics in Medicine 9 (1990); the restricted estimates are the closed form of Miettinen and
Nurminen, Statistics in Medicine 4 (1985). A quarter of a row of each group is the continuity correction, as in
`score_bounds`: without it the error at a nominal 5 % is up to 8.6 % where the lower rate is near 0, with it at most 5.0 %
(``benchmarks/coverage.py --only search-limits``). Agresti and Caffo's interval errs there in up to 10 %, but less where
groups are of very different sizes and the level is 1 % or below; therefore both must reject.
"""

from __future__ import annotations

import numpy as np

from fairpress.auditing.statistics.bisection import last_true
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate, t_tail

CORRECTION = 0.25


def difference_p(first: TEstimate, second: TEstimate, limit: Floats | float) -> Floats:
    """Return the p-values of H₀: first − second ≥ limit.

    The larger of those of the score test and of Agresti and Caffo's interval.

    Parameters
    ----------
    first, second
        Rates of disjoint groups of one shape (`proportion_intervals.agresti_caffo`); their values and effective rows count.
    limit
        Any value of −1 to 1. From 1 on p = 0: no difference is larger.

    NaN where a rate cannot be estimated.
    """
    difference = first - second
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.maximum(
            t_tail(difference.df, (limit - difference.centre) / difference.se),
            t_tail(difference.df, -score_statistic(first, second, limit)),
        )
    return np.where(difference.estimable, np.where(np.asarray(limit) >= 1, 0.0, p), np.nan)


def difference_upper_bound(first: TEstimate, second: TEstimate, confidence: float) -> Floats:
    """Return the one-sided upper bound of first − second, which inverts `difference_p`: p < 1 − confidence above it."""
    alpha = 1 - confidence
    shape = np.broadcast_shapes(first.value.shape, second.value.shape)

    def not_rejected(limit: Floats) -> np.ndarray:
        return np.asarray(difference_p(first, second, limit) >= alpha)

    bound = last_true(not_rejected, np.full(shape, -1.0), np.ones(shape))
    return np.where(first.estimable & second.estimable, bound, np.nan)


def score_statistic(
    first: TEstimate, second: TEstimate, limit: Floats | float, correction: float = CORRECTION
) -> Floats:
    """Return (p₁ − p₂ − δ + `correction`·(1/n₁ + 1/n₂)) over the standard error under p₁ − p₂ = δ."""
    n1, n2 = first.effective_n, second.effective_n
    r1, r2 = restricted_rates(first.value, n1, second.value, n2, limit)
    with np.errstate(divide="ignore", invalid="ignore"):
        se = np.sqrt(r1 * (1 - r1) / n1 + r2 * (1 - r2) / n2)
        above = first.value - second.value - limit + correction * (1 / n1 + 1 / n2)
        return np.asarray(above / se)


def restricted_rates(
    first: Floats, n1: Floats, second: Floats, n2: Floats, limit: Floats | float
) -> tuple[Floats, Floats]:
    """Return the maximum-likelihood rates p₁, p₂ of two groups under p₁ − p₂ = δ, from observed rates and rows.

    The root of the likelihood equation, a cubic in p₁, in its trigonometric form (Farrington and Manning 1990, appendix).
    """
    d = np.asarray(limit, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        theta = n2 / n1
        a = 1 + theta
        b = -(1 + theta + first + theta * second + d * (theta + 2))
        c = d**2 + d * (2 * first + theta + 1) + first + theta * second
        e = -first * d * (1 + d)
        v = _cubed(b / (3 * a)) - b * c / (6 * a**2) + e / (2 * a)
        u = np.where(v < 0, -1.0, 1.0) * np.sqrt(np.maximum((b / (3 * a)) ** 2 - c / (3 * a), 0))
        # u = 0: a triple root, whose angle does not matter.
        cosine = np.where(u == 0, 0.0, v / _cubed(u))
        angle = (np.pi + np.arccos(np.clip(cosine, -1, 1))) / 3
        p1 = np.clip(2 * u * np.cos(angle) - b / (3 * a), np.maximum(d, 0), 1 + np.minimum(d, 0))
    return p1, np.clip(p1 - d, 0, 1)


def _cubed(x: Floats) -> Floats:
    """Return x³; NumPy's power of negative numbers takes twenty times as long."""
    return np.asarray(np.copysign(np.abs(x) ** 3, x))
