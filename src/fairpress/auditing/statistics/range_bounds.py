"""Bounds of the range of many parameters (a gap), valid at ties and for thousands of groups."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fairpress.auditing.statistics import special
from fairpress.auditing.statistics.bisection import last_true
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate, t_quantile

_LARGEST, _STEP, _MAX_STEPS = 20.0, 20.0 / 2**36, 30


class Bounds(NamedTuple):
    low: float
    high: float


@lru_cache(maxsize=1024)
def range_quantile(k: int, probability: float) -> float:
    """Return the quantile of the range of k independent standard normals (the studentized range with df = ∞).

    Solves k ∫ φ(x) [Φ(x) − Φ(x − q)]^(k−1) dx = probability on a fixed grid; agrees with
    ``scipy.stats.studentized_range`` to 1e-8 and, unlike it, is fast at k = 10,000.
    """
    if k < 2:
        return 0.0
    x = np.linspace(-9.0, 9.0, 4001)
    density = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi) * (x[1] - x[0])
    cdf = special.ndtr(x)

    def excess(q: float) -> float:
        return float((k * density * (cdf - special.ndtr(x - q)) ** (k - 1)).sum()) - probability

    # Not scipy.optimize: importing it takes longer than a whole audit of a small table.
    bonferroni = float(np.sqrt(2) * special.ndtri(1 - (1 - probability) / (k * (k - 1))))
    return _last_negative(excess, min(bonferroni, _LARGEST))


def _last_negative(function: Callable[[float], float], high: float) -> float:
    """Return the last multiple of `_STEP` below `_LARGEST` at which an increasing function is negative; 0 if there is none.

    A regula falsi between 0 and `high` (the Illinois method; Dowell and Jarratt, BIT 11, 1971) takes a third of the steps
    of a bisection, which finds the multiple where rounding hides the root. The answer does not depend on the way to it.
    """
    low, below, above = 0.0, function(0.0), function(high)
    side, point = 0, high
    for _ in range(_MAX_STEPS):
        if not below < 0 <= above:
            break
        previous, point = point, (low * above - high * below) / (above - below)
        value = function(point)
        if value < 0:
            low, below, above = point, value, above / 2 if side < 0 else above
        else:
            high, above, below = point, value, below / 2 if side > 0 else below
        side = -1 if value < 0 else 1
        if abs(point - previous) < _STEP / 4:
            multiple = int(point / _STEP)
            for last in (multiple, multiple - 1, multiple + 1):
                if function(last * _STEP) < 0 <= function((last + 1) * _STEP):
                    return last * _STEP
            break
    bisected = last_true(
        lambda q: np.asarray(function(float(q)) < 0), np.zeros(()), np.full((), _LARGEST), 36
    )
    return float(bisected)


def pair_quantile(x: TEstimate, alpha: float, dependent: bool, families: int = 1) -> float:
    """Return c such that all pairwise |errors| are simultaneously within c·se_ij with probability 1 − alpha.

    Independent groups: Tukey–Kramer, q/√2 with q the range quantile at (1 − alpha)^(1/families), conservative
    for unequal variances (Hayter, Annals of Statistics 12, 1984); `families` counts independent sets of groups
    judged together (TPR and FPR). Dependent groups: Bonferroni over groups, t with the smallest df; over few seeds,
    see `simultaneous_errors`.
    """
    k = x.value.size
    if dependent:
        return float(t_quantile(x.df.min(), 1 - alpha / (2 * k * families)))
    return float(range_quantile(k, (1 - alpha) ** (1 / families)) / np.sqrt(2))


def simultaneous_errors(
    x: TEstimate, alpha: float, dependent: bool, families: int = 1
) -> tuple[Floats, float]:
    """Return se and c such that all pairwise |errors| are simultaneously within c·se_ij with probability 1 − alpha.

    As `pair_quantile`. Over few seeds (`TEstimate.parts`), se are the half-widths at that level, and c is 1.
    """
    if x.parts is not None:
        return x.half_width(alpha / (2 * x.value.size * families)), 1.0
    return x.se, pair_quantile(x, alpha, dependent, families)


def pointwise_errors(x: TEstimate, tail: float) -> tuple[Floats, float]:
    """Return se and z such that the error of one pair exceeds z·se_ij with probability `tail`, t with the smallest df.

    Over few seeds, se are the half-widths at that level, and z is 1: a standard deviation over seeds of a difference is at
    most the sum of the two.
    """
    if x.parts is not None:
        return x.half_width(tail), 1.0
    return x.se, float(t_quantile(x.df.min(), 1 - tail))


def range_bounds(x: TEstimate, alpha: float = 0.05, dependent: bool = False, families: int = 1) -> Bounds:
    """Return a 1 − `alpha` interval of max − min of the parameters, floored at 0.

    low = max over ordered pairs of (x_i − x_j − c·se_ij), c simultaneous over all pairs (`pair_quantile`); high = max
    over ordered pairs of (x_i − x_j + z·se_ij), z the two-sided *pointwise* quantile: the truth's own extreme pair is
    one fixed pair, and exceeding its bound is enough. For low, any pair may have the largest error, so all bounds
    must hold. se_ij = √(se_i² + se_j²), or se_i + se_j for `dependent` groups (seeds shared), which bounds it
    whatever the correlation. Every entry of `x` must be estimable; NaN with fewer than two.

    Only groups on a Pareto frontier can hold an extreme (the bounds are monotone in x and in se), so
    10,000 groups take milliseconds although there are 5·10⁷ pairs.
    """
    if x.value.size < 2:
        return Bounds(np.nan, np.nan)
    se, c = simultaneous_errors(x, alpha, dependent, families)
    low = _extreme_pair(x.centre, se, -c, dependent)
    se, z = pointwise_errors(x, alpha / 2)
    high = _extreme_pair(x.centre, se, z, dependent)
    return Bounds(max(0.0, low), max(0.0, high))


def _extreme_pair(centre: Floats, se: Floats, c: float, dependent: bool) -> float:
    """Return max over i ≠ j of centre_i − centre_j + c·se_ij; −inf without a pair."""
    top = _frontier(centre, np.sign(c) * se)
    bottom = _frontier(-centre, np.sign(c) * se)
    bound = centre[top][:, None] - centre[bottom][None, :] + c * pair_se(se[top], se[bottom], dependent)
    bound[top[:, None] == bottom[None, :]] = -np.inf
    return float(bound.max(initial=-np.inf))


def _frontier(value: Floats, spread: Floats) -> NDArray[np.intp]:
    """Return the groups not beaten in both value and spread by *two* others (i = j is excluded later)."""
    order = np.lexsort((-spread, -value))
    ordered = spread[order]
    # The second largest so far: a spread raises it to itself, or to the largest before.
    second = np.maximum.accumulate(np.minimum(ordered[1:], np.maximum.accumulate(ordered)[:-1]))
    beats = np.full(len(order), True)  # the first two have not two others before them
    beats[2:] = ordered[2:] > second[:-1]
    return np.asarray(order[beats], dtype=np.intp)


def pair_se(a: Floats, b: Floats, dependent: bool) -> Floats:
    """Return the standard errors of all differences of two vectors of estimates, shape [a, b]."""
    if dependent:
        return np.asarray(a[:, None] + b[None, :])
    return np.sqrt(a[:, None] ** 2 + b[None, :] ** 2)


def largest_low(x: TEstimate, alpha: float, dependent: bool, families: int = 1) -> float:
    """Return the largest simultaneous lower bound over all ordered pairs, at least 0."""
    se, c = simultaneous_errors(x, alpha, dependent, families)
    return max(0.0, _extreme_pair(x.centre, se, -c, dependent))


def plausible_pairs(
    x: TEstimate, alpha: float, dependent: bool, families: int, reach: float
) -> NDArray[np.bool_]:
    """Return which ordered pairs [i, j] may be the extreme pair: simultaneous upper bound of x_i − x_j at least `reach`."""
    se, c = simultaneous_errors(x, alpha, dependent, families)
    pairs = x.centre[:, None] - x.centre[None, :] + c * pair_se(se, se, dependent) >= reach
    np.fill_diagonal(pairs, False)
    return pairs
