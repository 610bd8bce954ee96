"""Means of bounded values by group, with pseudo-units, because what no row shows is not impossible.

Bonett and Price (2012) add one lost and one gained row to a paired change of proportions, so that n rows without a flip do
not rule out every loss. The same for any bounded value: two units of typical size at a distance of `reach` above and below
the mean enter the standard error (`GroupEstimator.mean` does so for cells of classes).

Bonett and Price's bound of classes is guarded by a score test, because alone it clears too often where hardly anything
flips: without a flip its one-sided bound is 2.5/n at 95 %, and e^−2.5 = 8 % of samples have none of as many lost rows.
Here a third unit is the guard; it fades as units that changed are seen, and is gone from `_SEEN` on.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from fairpress.auditing.statistics.skewed_estimate import SkewedEstimate
from fairpress.auditing.statistics.t_estimate import Floats

_SEEN = 10


def with_pseudo_units(x: SkewedEstimate, reach: ArrayLike, limits: tuple[float, float]) -> SkewedEstimate:
    """Return means with two pseudo-units in their errors, and a third while hardly any unit differs.

    Parameters
    ----------
    x
        Means of units (`unit_means.mean_of_units`); their `n` is the weight, `effective_n` (ΣW)²/ΣW².
    reach
        The most that one row changes the value, in one direction [groups].
    limits
        Range of the parameter.
    """
    far = np.asarray(reach, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        typical = x.n / x.effective_n
        observed = x.se * x.n  # root of the units' sum of squares
        one = (typical * far) ** 2
        widened = np.sqrt(observed**2 + (2 + np.clip(1 - observed**2 / (_SEEN * one), 0, 1)) * one)
        se = widened / (x.n + 2 * typical)
        skewness: Floats = np.where(widened > 0, x.skewness * (observed / widened) ** 3, 0.0)
    return replace(x, se=se, skewness=np.nan_to_num(skewness), limits=limits, method="t-units-bounded")


def of_share(x: SkewedEstimate, share: ArrayLike) -> SkewedEstimate:
    """Return linearised ratios with the rows and degrees of freedom of their own denominators, a share of all [groups]."""
    part = np.asarray(share, float)
    df = np.maximum((x.df + 1) * part - 1, 1.0)
    return replace(x, n=x.n * part, effective_n=x.effective_n * part, df=df)
