"""Bounds of the range, the ratio and the smallest of many groups' rates, from exact limits of each group's rate.

A simultaneous bound over many groups is decided by the far tail of a rate of few rows, where normal approximations fail: of
40 groups at a rate of .02 the delta method covered the ratio of the smallest to the largest in .86, and of 40 at .1 the
smallest rate in .92, where .95 was nominal. Clopper and Pearson's limits hold in every tail. Those of two independent groups
are combined by MOVER: the reach of x_i − x_j is the root of the sum of the squares of the reach of x_i on one side and of
x_j on the other (Zou and Donner, Statistics in Medicine 27, 2008); ratios likewise on the log scale. Equal groups are
covered in .98 to .99 (``benchmarks/coverage.py --only rate-ranges``).

For rates over seeds, which are not binomial proportions, see `range_bounds`.
"""

from __future__ import annotations

import numpy as np

from fairpress.auditing.statistics import special
from fairpress.auditing.statistics.exact_proportion import clopper_pearson_lower, clopper_pearson_upper
from fairpress.auditing.statistics.range_bounds import Bounds, _frontier, pair_quantile
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate


def difference_range(x: TEstimate, alpha: float = 0.05, families: int = 1) -> Bounds:
    """Return a 1 − `alpha` interval of max − min of independent rates, floored at 0; NaN with fewer than two.

    As in `range_bounds.range_bounds`: low = largest lower bound over ordered pairs, simultaneous at the confidence of
    `pair_quantile`; high = largest upper bound at the two-sided pointwise confidence, because the truth's extreme pair is
    one pair. `x` [groups] is of `proportion_intervals.agresti_caffo`, every entry estimable.
    """
    if x.value.size < 2:
        return Bounds(np.nan, np.nan)
    simultaneous = _limits(
        x, float(special.ndtr(pair_quantile(x, alpha, dependent=False, families=families)))
    )
    pointwise = _limits(x, 1 - alpha / 2)
    low = _largest_difference(x.centre, *simultaneous, sign=-1)
    high = _largest_difference(x.centre, *pointwise, sign=1)
    return Bounds(max(0.0, low), min(1.0, max(0.0, high)))


def ratio_range(x: TEstimate, alpha: float = 0.05) -> Bounds:
    """Return a 1 − `alpha` interval of min/max of independent rates; 0 is the lower end when a group has no success.

    NaN with fewer than two groups. Arguments as in `difference_range`.
    """
    if x.value.size < 2:
        return Bounds(np.nan, np.nan)
    c = pair_quantile(x, alpha, dependent=False)
    low, high = _log(_limits(x, float(special.ndtr(c))))
    far_low, far_high = _log(_limits(x, 1 - alpha / 2))
    centre = np.log(x.centre)
    nearest = _largest_difference(centre, low, high, sign=-1)
    farthest = _largest_difference(centre, far_low, far_high, sign=1)
    return Bounds(float(np.exp(-max(0.0, farthest))), float(np.exp(-max(0.0, nearest))))


def smallest_rate(x: TEstimate, alpha: float = 0.05) -> Bounds:
    """Return a 1 − `alpha` interval of the smallest rate.

    The smallest pointwise lower limit, because the truth's smallest is one group, and the smallest of the upper limits that
    hold simultaneously by Bonferroni. Exact, whatever the rates. NaN without groups.
    """
    if not x.value.size:
        return Bounds(np.nan, np.nan)
    low = clopper_pearson_lower(x, 1 - alpha / 2).min()
    high = clopper_pearson_upper(x, 1 - alpha / (2 * x.value.size)).min()
    return Bounds(float(low), float(high))


def ratio_limits(rate: TEstimate, reference: TEstimate, z: float) -> tuple[Floats, Floats]:
    """Return the limits of rate/reference, each at the confidence Φ(`z`): MOVER on the log scale; shapes broadcast."""
    side = float(special.ndtr(z))
    low, high = _log(_limits(rate, side))
    low_reference, high_reference = _log(_limits(reference, side))
    centre, other = np.log(rate.centre), np.log(reference.centre)
    below = np.hypot(centre - low, high_reference - other)
    above = np.hypot(high - centre, other - low_reference)
    return np.exp(centre - other - below), np.exp(centre - other + above)


def _limits(x: TEstimate, confidence: float) -> tuple[Floats, Floats]:
    """Return one-sided limits of each rate, around its centre."""
    low, high = clopper_pearson_lower(x, confidence), clopper_pearson_upper(x, confidence)
    return np.minimum(low, x.centre), np.maximum(high, x.centre)


def _log(limits: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    with np.errstate(divide="ignore"):
        return np.log(limits[0]), np.log(limits[1])


def _largest_difference(centre: Floats, low: Floats, high: Floats, sign: int) -> float:
    """Return max over i ≠ j of the bound of x_i − x_j: the upper one for sign 1, the lower one for sign −1.

    Only groups that are not beaten in both centre and reach by two others can be in the best pair.
    """
    down, up = centre - low, high - centre
    top_reach, bottom_reach = (up, down) if sign > 0 else (down, up)
    top, bottom = _frontier(centre, sign * top_reach), _frontier(-centre, sign * bottom_reach)
    reach = np.hypot(top_reach[top][:, None], bottom_reach[bottom][None, :])
    bound = centre[top][:, None] - centre[bottom][None, :] + sign * reach
    bound[top[:, None] == bottom[None, :]] = -np.inf
    return float(bound.max(initial=-np.inf))
