"""Bounds on how much further two groups are driven apart: the difference of their paired changes, by MOVER.

The interval of a difference alone is too sure of itself where answers flip one way only, as that of one group's loss is
(`auditing.all_clear`): where one group moves by just the limit it errs in up to 10 %. So each group's change has ends that
hold both conditions, the interval's and the score test's, and the two ends that lie apart are put together: upper bound =
d + √((uᵢ − dᵢ)² + (dⱼ − lⱼ)²) (MOVER: Zou and Donner 2008, Statistics in Medicine 27).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fairpress.auditing.statistics.t_estimate import Floats, TEstimate, t_tail
from fairpress.auditing.verdicts.noninferiority import score_statistic

HALVINGS = 40


def tail(change: TEstimate, moved: Floats, margin: Floats) -> Floats:
    """Return the larger of both p-values of "the change is `margin` or more": the interval's and the score test's.

    `moved` is the share of the denominator that flipped, either way. A change of 1 or more is impossible: 0.
    """
    inside = np.minimum(margin, 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = np.maximum(
            t_tail(change.df, (inside - change.centre) / change.se),
            t_tail(change.df, -score_statistic(change, moved, inside)),
        )
    return np.where(margin >= 1, 0.0, p)


def upper_ends(change: TEstimate, moved: Floats, confidence: float) -> Floats:
    """Return the smallest margin above each estimate that both tests rule out at this one-sided confidence."""
    return _last(
        lambda margin: tail(change, moved, margin) > 1 - confidence, change.value, np.ones_like(change.value)
    )


def gap_increase_bound(
    first: TEstimate, second: TEstimate, moved: tuple[Floats, Floats], limit: float, confidence: float
) -> tuple[Floats, Floats]:
    """Return the upper bounds of first − second, and the p-values of "it is the limit or more", which invert them.

    Parameters
    ----------
    first, second
        Paired changes of two independent groups; all arrays [pairs].
    moved
        Shares of each one's denominator that flipped.
    """
    d = first.value - second.value
    above = upper_ends(first, moved[0], confidence) - first.value
    below = upper_ends(-second, moved[1], confidence) + second.value
    bound = d + np.hypot(above, below)
    # p is the α at which the bound is the limit: where both ends have the same α, on a quarter of a circle around d.
    room = limit - d
    radius = np.maximum(room, 0.0)

    def tails(angle: Floats) -> tuple[Floats, Floats]:
        return (
            tail(first, moved[0], first.value + radius * np.cos(angle)),
            tail(-second, moved[1], -second.value + radius * np.sin(angle)),
        )

    def second_larger(angle: Floats) -> np.ndarray:
        p, q = tails(angle)
        return np.asarray(q > p)

    angle = _last(second_larger, np.zeros_like(d), np.full_like(d, np.pi / 2))
    p = np.maximum(*tails(angle))
    plain = first - second
    beyond = np.maximum(0.5, t_tail(plain.df, (limit - plain.centre) / plain.se))
    return bound, np.where(room > 0, p, beyond)


def _last(holds: Callable[[Floats], np.ndarray], low: Floats, high: Floats) -> Floats:
    """Return where a condition that holds at `low` ends to hold, found by bisection, from above."""
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        held = holds(middle)
        low, high = np.where(held, middle, low), np.where(held, high, middle)
    return high
