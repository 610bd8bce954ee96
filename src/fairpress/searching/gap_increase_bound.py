"""Upper bounds on the increase of a gap between two groups: the difference of their paired changes, by MOVER.

The interval of a difference is too narrow if predictions flip in one direction only, as is the interval of one group's loss
(`auditing.verdicts.noninferiority`): if one group changes by exactly the limit, its error rate is up to 10 %. Therefore the
limits of each group's change satisfy both the interval and the score test, and MOVER combines them: upper bound =
d + √((uᵢ − dᵢ)² + (dⱼ − lⱼ)²) (MOVER: Zou and Donner 2008, Statistics in Medicine 27).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fairpress.auditing.statistics.t_estimate import Floats, TEstimate, t_tail
from fairpress.auditing.verdicts.noninferiority import score_statistic

BISECTION_STEPS = 40


def p_value(change: TEstimate, flip_rate: Floats, margin: Floats) -> Floats:
    """Return the larger p-value of "the change is at least `margin`": that of the interval or of the score test.

    `flip_rate` is the share of the denominator that flipped in either direction. A change of 1 or more is impossible: p = 0.
    """
    inside = np.minimum(margin, 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = np.maximum(
            t_tail(change.df, (inside - change.centre) / change.se),
            t_tail(change.df, -score_statistic(change, flip_rate, inside)),
        )
    return np.where(margin >= 1, 0.0, p)


def upper_ends(change: TEstimate, flip_rate: Floats, confidence: float) -> Floats:
    """Return the smallest margin above each estimate that both tests reject at this one-sided confidence."""
    return _bisect(
        lambda margin: p_value(change, flip_rate, margin) > 1 - confidence,
        change.value,
        np.ones_like(change.value),
    )


def gap_increase_bound(
    first: TEstimate, second: TEstimate, flip_rate: tuple[Floats, Floats], limit: float, confidence: float
) -> tuple[Floats, Floats]:
    """Return the upper bounds of first − second, and the p-values of "it is at least the limit", which invert the bounds.

    Parameters
    ----------
    first, second
        Paired changes of two independent groups; all arrays [pairs].
    flip_rate
        Share of each group's denominator that flipped.
    """
    d = first.value - second.value
    above = upper_ends(first, flip_rate[0], confidence) - first.value
    below = upper_ends(-second, flip_rate[1], confidence) + second.value
    bound = d + np.hypot(above, below)
    # p is the α at which the bound is the limit: where both ends have the same α, on a quarter of a circle around d.
    room = limit - d
    radius = np.maximum(room, 0.0)

    def p_values(angle: Floats) -> tuple[Floats, Floats]:
        return (
            p_value(first, flip_rate[0], first.value + radius * np.cos(angle)),
            p_value(-second, flip_rate[1], -second.value + radius * np.sin(angle)),
        )

    def second_larger(angle: Floats) -> np.ndarray:
        p, q = p_values(angle)
        return np.asarray(q > p)

    angle = _bisect(second_larger, np.zeros_like(d), np.full_like(d, np.pi / 2))
    p = np.maximum(*p_values(angle))
    plain = first - second
    beyond = np.maximum(0.5, t_tail(plain.df, (limit - plain.centre) / plain.se))
    return bound, np.where(room > 0, p, beyond)


def _bisect(holds: Callable[[Floats], np.ndarray], low: Floats, high: Floats) -> Floats:
    """Return the largest value for which a condition holds, found by bisection and approached from above."""
    for _ in range(BISECTION_STEPS):
        middle = (low + high) / 2
        holding = holds(middle)
        low, high = np.where(holding, middle, low), np.where(holding, high, middle)
    return high
