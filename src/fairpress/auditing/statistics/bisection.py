"""Bisection of many conditions at once; `scipy.optimize.elementwise` would serve, but SciPy has it only from 1.15."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fairpress.auditing.statistics.t_estimate import Floats

STEPS = 60
"""From a bracket of width 2 to less than the spacing of floats between ½ and 1."""


def last_true(
    condition: Callable[[Floats], NDArray[np.bool_]], low: Floats, high: Floats, steps: int = STEPS
) -> Floats:
    """Return, elementwise, the largest x in [low, high) for which a condition holds.

    It holds up to a point and not above. It is assumed to hold at `low` and not at `high`; NaN ends give NaN.
    """
    for _ in range(steps):
        middle = (low + high) / 2
        holds = condition(middle)
        low, high = np.where(holds, middle, low), np.where(holds, high, middle)
    return low
