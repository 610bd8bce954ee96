"""Rates whose denominator moves with the model, as means of one value per row: PPV, NPV, balanced accuracy.

The bootstrap of cells (`bootstrap`) needs rows that are independent and equal. With weights, people of several rows, or
stacked seeds, a ratio R = Σwa/Σwb is linearised instead: z = R + (a − R·b)·n/Σb has mean R, and the variance of that mean is
the ratio's (Taylor linearisation; Woodruff, JASA 66, 1971). Means are what every kind of evidence can infer on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.statistics.t_estimate import Floats

LINEARIZED = ("ppv", "npv", "balanced_accuracy")


class Linear(NamedTuple):
    """`values` [combinations] have the rate as their mean in every stratum; NaN where it is undefined.

    `reach` [strata]: by how much one row of the denominator moves its value.
    """

    values: Floats
    reach: Floats


def linearize(cells: Cells, model: str, rate: str, stratum: np.ndarray, strata: int) -> Linear:
    """Return a rate of `LINEARIZED` as values; a stratum is a group, or a group under one seed."""
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
    raise ValueError(f"{rate} is no rate that is linearised")


def _ratio(weight: Floats, top: Floats, bottom: Floats, stratum: np.ndarray, strata: int) -> Linear:
    def total(x: Floats) -> Floats:
        return np.asarray(np.bincount(stratum, weights=weight * x, minlength=strata), dtype=float)

    n, below = total(np.ones_like(weight)), total(bottom)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio, scale = np.where(below > 0, total(top) / below, np.nan), n / below
    values = ratio[stratum] + (top - ratio[stratum] * bottom) * scale[stratum]
    return Linear(values, np.where(below > 0, scale, np.nan))
