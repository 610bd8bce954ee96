"""Intervals of an AUC and of its paired change that keep their level where few rows are misranked."""

from __future__ import annotations

import numpy as np

from fairpress.auditing.statistics import special
from fairpress.auditing.statistics.proportion_intervals import wilson
from fairpress.auditing.statistics.t_estimate import Floats

FEW_MISRANKED = 3.0
"""With fewer effective misranked rows, the variance of a change of AUC is estimated too badly for DeLong's interval."""

_CERTAIN_MISRANKED = 10.0
"""Up to this number of misranked rows, the variance of an AUC is at least Hanley and McNeil's."""


def effective_rows(area: Floats, se: Floats, smaller: Floats, larger: Floats) -> Floats:
    """Return the number of rows of which AUCs are as uncertain as a proportion.

    It is A(1−A)/variance. DeLong's variance is estimated from the rows that are misranked, and of a single tie it takes each
    of the n₁·n₀ pairs for a row of its own. Where Hanley and McNeil's (Radiology 143, 1982) is larger, it replaces DeLong's
    up to ten misranked rows; with m of them, ten of m parts of the difference are added, since DeLong's is consistent.
    Without misranked rows (se = 0) it is the size of the smaller class.

    Parameters
    ----------
    area, se
        The AUCs, and DeLong's standard errors [groups].
    smaller, larger
        Effective rows of the smaller and the larger class [groups].
    """
    by_exponentials = _hanley_mcneil(area, smaller, larger)
    misranked = np.minimum(area, 1 - area) * _rows_of(area, by_exponentials, smaller)
    share = _CERTAIN_MISRANKED / np.fmax(misranked, _CERTAIN_MISRANKED)
    variance = se**2 + share * np.maximum(by_exponentials - se**2, 0.0)
    return _rows_of(area, np.where(se > 0, variance, 0.0), smaller)


def auc_interval(area: Floats, n: Floats, smaller: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Return the interval (low, high) of AUCs, as of a proportion of `n` rows (`effective_rows`).

    The limit next to 0 or 1 is the wider one of Wilson's and of Clopper and Pearson's interval, because Wilson's does not
    cover a rare outlier there. The other limit is not above that of a perfect ranking of the `smaller` class: a tie says
    nothing about outliers that were not drawn.
    """
    low, high = wilson(area * n, n, confidence)
    perfect, _ = wilson(smaller, smaller, confidence)
    good = area >= 0.5
    limit = _clopper_pearson_limit(np.where(good, area, 1 - area), n, (1 + confidence) / 2)
    low = np.fmin(low, np.where(good, perfect, 1 - limit))
    return low, np.fmax(high, np.where(good, limit, 1 - perfect))


def auc_change_interval(
    areas: tuple[Floats, Floats],
    limits: tuple[tuple[Floats, Floats], tuple[Floats, Floats]],
    correlation: Floats,
) -> tuple[Floats, Floats]:
    """Return the interval (low, high) of second − first AUC from the limits of both.

    Combined by MOVER with DeLong's correlation (Zou and Donner, Statistics in Medicine 27, 2008): low = d −
    √((A₂−l₂)² + (u₁−A₁)² − 2·r·(A₂−l₂)·(u₁−A₁)), and high alike.

    Parameters
    ----------
    areas, limits
        The AUCs [groups] of both models on the same rows, and the (low, high) of each.
    correlation
        Between the two, from 0 to 1 [groups].
    """
    (first, second), ((first_low, first_high), (second_low, second_high)) = areas, limits

    def distance(a: Floats, b: Floats) -> Floats:
        return np.asarray(np.sqrt(np.maximum(a**2 + b**2 - 2 * correlation * a * b, 0.0)))

    change = second - first
    low = change - distance(second - second_low, first_high - first)
    return low, change + distance(second_high - second, first - first_low)


def _rows_of(area: Floats, variance: Floats, smaller: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(variance > 0, area * (1 - area) / variance, smaller)


def _hanley_mcneil(area: Floats, smaller: Floats, larger: Floats) -> Floats:
    """Return the variance of an AUC whose scores are exponential, the rarer class being the one with the heavier tail."""
    a = np.maximum(area, 1 - area)
    with np.errstate(divide="ignore", invalid="ignore"):
        stretch = 1 + np.maximum(smaller - 1, 0) * (1 - a) / (2 - a) + np.maximum(larger - 1, 0) * a / (1 + a)
        return np.asarray(a * (1 - a) / (smaller * larger) * stretch)


def _clopper_pearson_limit(share: Floats, n: Floats, confidence: float) -> Floats:
    """Return the one-sided upper limit of a share of n effective rows; 1 where all are successes."""
    failures = np.nan_to_num(n * (1 - share))
    bound = special.betaincinv(
        np.nan_to_num(n * share) + 1, np.where(failures > 0, failures, 1.0), confidence
    )
    return np.where(failures > 0, bound, 1.0)
