"""The score test of the ratio of two paired error rates: "the compressed model errs at most φ times as often".

Nam and Blackwelder (Statistics in Medicine 21, 2002); Tang, Tang and Chan (Statistics in Medicine 22, 2003).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fairpress.auditing.statistics.score_bounds import CORRECTION
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate


def variance_under_ratio(both: Floats, repaired: Floats, lost: Floats, ratio: float) -> Floats:
    """Return the variance of e₁ − φe₀ of one row if e₁ = φe₀, at the restricted maximum-likelihood estimate.

    With shares p of rows that are wrong under both models, q of rows that are wrong before only and r of rows that are wrong
    after only, H₀ is p + r = φ(p + q). The variance is then (1 + φ)q + (φ − 1)(p + q + r), and the sum of the shares is
    estimated by what was observed. q solves
    (1 + φ)q² − [(2 − φ²)q̂ + r̂ − (φ² − 1)p̂]q − (φ − 1)q̂(p̂ + q̂ + r̂) = 0.

    Parameters
    ----------
    both, repaired, lost
        Observed shares p̂, q̂, r̂ [any shape].
    ratio
        φ ≥ 1.
    """
    total = both + repaired + lost
    linear = (2 - ratio**2) * repaired + lost - (ratio**2 - 1) * both
    product = 4 * (1 + ratio) * (ratio - 1) * repaired * total
    root = np.sqrt(linear**2 + product)
    with np.errstate(divide="ignore", invalid="ignore"):
        # The second form does not lose digits where few rows are repaired.
        estimate = np.where(
            linear > 0, (linear + root) / (2 * (1 + ratio)), product / (2 * (1 + ratio) * (root - linear))
        )
    q = np.where(repaired + np.maximum(linear, 0) > 0, np.nan_to_num(estimate), 0.0)
    return np.asarray((1 + ratio) * q + (ratio - 1) * total)


def under_ratio(
    difference: TEstimate, ratio: float, both: Floats, repaired: Floats, lost: Floats
) -> TEstimate:
    """Return e₁ − φe₀ with the score test's centre and the error that it would have under e₁ = φe₀.

    A ratio of φ or more is rejected where the upper bound of this estimate is below 0; a quarter of a row is added as
    continuity correction, as in `score_bounds.under_margin`.

    Parameters
    ----------
    difference
        Estimates of e₁ − φe₀ as means of rows with two pseudo-rows at a distance of φ. Their standard errors are scaled by
        the square root of (variance under the hypothesis ÷ estimated variance), which preserves the effect of weights,
        people and seeds.
    both, repaired, lost
        As in `variance_under_ratio`, of the shape of `difference`.
    """
    n = difference.effective_n
    second = both * (1 - ratio) ** 2 + repaired * ratio**2 + lost
    mean = lost - (ratio - 1) * both - ratio * repaired
    with np.errstate(divide="ignore", invalid="ignore"):
        estimated = ((second - mean**2) * n**2 / (n - 1) + 2 * ratio**2) / (n + 2) ** 2
        scale = np.sqrt(variance_under_ratio(both, repaired, lost, ratio) / n / estimated)
        parts = difference.parts
        if parts is not None:
            parts = replace(parts, row_se=parts.row_se * scale)
        return replace(
            difference, centre=difference.value + CORRECTION / n, se=difference.se * scale, parts=parts
        )
