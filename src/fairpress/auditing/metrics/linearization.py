"""Linearization of rates whose denominator depends on the model: PPV, NPV, balanced accuracy as means over rows.

The bootstrap of cells (`cell_bootstrap`) needs independent rows of equal weight. With weights, people with several rows, or
stacked seeds, a ratio R = Σwa/Σwb is linearized instead: z = R + (a − R·b)·n/Σb has mean R, and the variance of that mean is
the ratio's (Taylor linearization; Woodruff, JASA 66, 1971). Every estimator can infer on means.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.metrics.class_means import MACRO, macro
from fairpress.auditing.statistics.t_estimate import Floats

LINEARIZED = ("ppv", "npv", "balanced_accuracy")


class Linear(NamedTuple):
    """`values` [combinations] have the rate as their mean in every stratum; NaN where it is undefined.

    `reach` [strata]: the change of a row's value by one unit of the numerator.
    """

    values: Floats
    reach: Floats


def linearize(cells: Cells, model: str, rate: str, stratum: np.ndarray, strata: int) -> Linear:
    """Return a rate of `LINEARIZED` or of `class_means.MACRO` as values; a stratum is a group, or one under one seed."""
    if rate in MACRO:
        return Linear(*macro(cells, model, rate, stratum, strata))
    y, p = (cells.binary(v).astype(float) for v in (cells.label, cells.predicted[model]))
    match rate:
        case "ppv":
            return _ratio(cells.weight, y * p, p, stratum, strata)
        case "npv":
            return _ratio(cells.weight, (1 - y) * (1 - p), 1 - p, stratum, strata)
        case "balanced_accuracy":
            tpr = _ratio(cells.weight, y * p, y, stratum, strata)
            tnr = _ratio(cells.weight, (1 - y) * (1 - p), 1 - y, stratum, strata)
            return Linear((tpr.values + tnr.values) / 2, np.hypot(tpr.reach, tnr.reach) / 2)
    raise ValueError(f"{rate!r} is not one of {', '.join(LINEARIZED)}")


def _ratio(weight: Floats, top: Floats, bottom: Floats, stratum: np.ndarray, strata: int) -> Linear:
    def total(x: Floats) -> Floats:
        return np.asarray(np.bincount(stratum, weights=weight * x, minlength=strata), dtype=float)

    n, below = total(np.ones_like(weight)), total(bottom)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio, scale = np.where(below > 0, total(top) / below, np.nan), n / below
    values = ratio[stratum] + (top - ratio[stratum] * bottom) * scale[stratum]
    return Linear(values, np.where(below > 0, scale, np.nan))
