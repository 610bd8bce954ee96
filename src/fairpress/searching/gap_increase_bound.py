"""Upper bounds on the increase of a gap between two groups: the difference of their paired changes, by MOVER.

The interval of a difference is too narrow if predictions flip in one direction only, as is the interval of one group's loss
(`auditing.statistics.score_bounds`): if one group changes by exactly the limit, its error rate is up to 10 %. Therefore the
limits of each group's change satisfy both the interval and the score test, and MOVER combines them: upper bound =
d + √((uᵢ − dᵢ)² + (dⱼ − lⱼ)²) (MOVER: Zou and Donner 2008, Statistics in Medicine 27).
"""

from __future__ import annotations

import numpy as np

from fairpress.auditing.statistics.bisection import last_true
from fairpress.auditing.statistics.score_bounds import loss_upper_bound, noninferiority_p
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate, t_tail


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
    above = loss_upper_bound(first, flip_rate[0], confidence) - first.value
    below = loss_upper_bound(-second, flip_rate[1], confidence) + second.value
    bound = d + np.hypot(above, below)
    # p is the α at which the bound is the limit: where both ends have the same α, on a quarter of a circle around d.
    room = limit - d
    radius = np.maximum(room, 0.0)

    def p_values(angle: Floats) -> tuple[Floats, Floats]:
        return (
            noninferiority_p(first, flip_rate[0], first.value + radius * np.cos(angle)),
            noninferiority_p(-second, flip_rate[1], -second.value + radius * np.sin(angle)),
        )

    def second_larger(angle: Floats) -> np.ndarray:
        p, q = p_values(angle)
        return np.asarray(q > p)

    angle = last_true(second_larger, np.zeros_like(d), np.full_like(d, np.pi / 2))
    p = np.maximum(*p_values(angle))
    plain = first - second
    beyond = np.maximum(0.5, t_tail(plain.df, (limit - plain.centre) / plain.se))
    return bound, np.where(room > 0, p, beyond)
