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

POSITIVE = np.array([[0.0, 0.0], [1.0, 1.0]])
"""Whether a row counts, by its label and prediction [2, 2]; those below likewise."""
PREDICTED_POSITIVE = POSITIVE.T
TRUE_POSITIVE, TRUE_NEGATIVE = POSITIVE * POSITIVE.T, (1 - POSITIVE) * (1 - POSITIVE.T)


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
    y, p = (cells.binary(v) for v in (cells.label, cells.predicted[model]))
    kind = (stratum * 2 + y) * 2 + p
    counts = np.bincount(kind, weights=cells.weight, minlength=strata * 4).astype(float).reshape(strata, 2, 2)
    match rate:
        case "ppv":
            table, reach = _ratio(counts, TRUE_POSITIVE, PREDICTED_POSITIVE)
        case "npv":
            table, reach = _ratio(counts, TRUE_NEGATIVE, 1 - PREDICTED_POSITIVE)
        case "balanced_accuracy":
            tpr, of_positives = _ratio(counts, TRUE_POSITIVE, POSITIVE)
            tnr, of_negatives = _ratio(counts, TRUE_NEGATIVE, 1 - POSITIVE)
            table, reach = (tpr + tnr) / 2, np.hypot(of_positives, of_negatives) / 2
        case _:
            raise ValueError(f"{rate!r} is not one of {', '.join(LINEARIZED)}")
    return Linear(table.reshape(-1).take(kind), reach)


def _ratio(counts: Floats, top: Floats, bottom: Floats) -> tuple[Floats, Floats]:
    """Return the values of rows [strata, label, prediction] and their reach [strata], from weighted counts of that shape."""
    n, above, below = (np.asarray((counts * part).sum(axis=(1, 2))) for part in (1.0, top, bottom))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio, scale = np.where(below > 0, above / below, np.nan), n / below
        ratio, scale = ratio[:, None, None], scale[:, None, None]
        values = ratio + (top - ratio * bottom) * scale
    return values, np.where(below > 0, scale[:, 0, 0], np.nan)
