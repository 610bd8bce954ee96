"""Linearised values: numbers of rows whose mean in each group is a ratio of sums, and whose spread is its error."""

from __future__ import annotations

import numpy as np

from fairpress.auditing.statistics.t_estimate import Floats


def ratio_values(
    numerator: Floats, denominator: Floats, index: np.ndarray, groups: int, weight: Floats
) -> Floats:
    """Return R + (a − R·b)/b̄ of each row [rows], with R = Σwa/Σwb of its group: the delta method, row by row.

    Its weighted mean in a group is R, and the variance of that mean is the linearised variance of the ratio (Cochran 1977,
    *Sampling Techniques*, 6.13). NaN for rows in no group, and in groups whose denominators sum to 0.
    """
    inside = slice(None) if index.min(initial=0) >= 0 else np.flatnonzero(index >= 0)
    g, w = index[inside], weight[inside]
    a, b, n = (
        np.bincount(g, weights=x, minlength=groups)
        for x in (w * numerator[inside], w * denominator[inside], w)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio, mean = np.where(b > 0, a / np.where(b > 0, b, 1.0), np.nan), b / n
        values = ratio[g] + numerator[inside] / mean[g] - (ratio / mean)[g] * denominator[inside]
    out = np.full(len(index), np.nan)
    out[inside] = values
    return out
