"""Expected calibration error and its change, with bounds that hold where the bootstrap does not: near perfect calibration.

ECE = Σ over bins |Σ (s − y) of the bin's rows| / n, 15 bins of equal width (Guo et al., ICML 2017). Like a gap, it is never
negative and biased upwards, most of all for calibrated models, whose true value a percentile interval excludes. The bias
depends on the distance of each bin from 0, which is unknown where the sign of the bin is uncertain. The noise of the bins is
therefore simulated (normal, with their paired covariance), the error is computed under several assumptions (true values as
observed; uncertain bins at 0; uncertain bins far from 0; for a change, only one model at 0), and the widest of these
intervals is returned.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from fairpress.auditing.statistics.t_estimate import Floats

ECE_BINS = 15
DRAWS = 4000
_AT_ONCE, _ASSUMED = 1000, 11
"""Draws in one array, which stays in the processor's cache; errors of each draw: 3 of either model, 5 of the change."""


@dataclass(frozen=True)
class Deviations:
    """Of one group: mean deviation s − y per bin [2·15] (baseline's bins, then the compressed model's), their covariance."""

    mean: Floats
    covariance: Floats


def calibration_bins(scores: Floats) -> np.ndarray:
    """Return the bin of each score, 0 … 14."""
    return np.asarray(np.minimum((scores * ECE_BINS).astype(int), ECE_BINS - 1))


def deviations(
    scores: tuple[Floats, Floats],
    crossed: tuple[Floats, Floats],
    squares: tuple[Floats, Floats, Floats],
    positive: np.ndarray,
    weight: Floats,
    weight_squares: Floats,
    units: np.ndarray | None,
) -> Deviations:
    """Return the deviations of one group's combinations.

    Parameters
    ----------
    scores
        Mean s₀, s₁ of each combination, whose rows are in one bin.
    crossed, squares
        Σw²·s₀, Σw²·s₁ and Σw²·s₀², Σw²·s₁², Σw²·s₀·s₁ of each combination, for rows as the units.
    units
        Index of the person of each combination, where people have several rows; else None.
    """
    y = positive.astype(float)
    bin_index = [calibration_bins(s) + ECE_BINS * side for side, s in enumerate(scores)]
    n, size = weight.sum(), 2 * ECE_BINS
    off = [s - y for s in scores]
    mean = (
        sum(np.bincount(a, weights=weight * d, minlength=size) for a, d in zip(bin_index, off, strict=True))
        / n
    )
    if units is None:
        second = np.zeros((size, size))
        for a, c, v in zip(bin_index, crossed, squares, strict=False):
            second[np.arange(size), np.arange(size)] += np.bincount(
                a, weights=v + y * (weight_squares - 2 * c), minlength=size
            )
        cross = squares[2] + y * (weight_squares - crossed[0] - crossed[1])
        np.add.at(second, (bin_index[0], bin_index[1]), cross)
        np.add.at(second, (bin_index[1], bin_index[0]), cross)
        first = sum(
            np.bincount(a, weights=c - y * weight_squares, minlength=size)
            for a, c in zip(bin_index, crossed, strict=True)
        )
        spread = np.outer(mean, first)
        covariance = second - spread - spread.T + weight_squares.sum() * np.outer(mean, mean)
        return Deviations(mean, covariance / n**2)
    people, unit = np.unique(units, return_inverse=True)
    total = np.zeros((len(people), size))
    for a, d in zip(bin_index, off, strict=True):
        np.add.at(total, (unit, a), weight * d)
    total -= np.bincount(unit, weights=weight)[:, None] * mean
    j = len(people)
    return Deviations(mean, total.T @ total / n**2 * (j / (j - 1) if j > 1 else np.nan))


class Interval(NamedTuple):
    """An estimate and the ends of its interval."""

    value: float
    low: float
    high: float


class Calibration(NamedTuple):
    """The calibration errors of both models, and compressed − baseline."""

    baseline: Interval
    compressed: Interval
    change: Interval


@lru_cache(maxsize=1)
def standard_draws() -> Floats:
    """Return the standard normal draws [4000, 2·15] that every group's noise is made of; always the same."""
    return np.random.default_rng(0).standard_normal((DRAWS, 2 * ECE_BINS))


def noise(deviation: Deviations, drawn: Floats) -> Floats:
    """Return the sampling noise [2·15, draws] of the deviations from standard normal draws [draws, 2·15]."""
    values, vectors = np.linalg.eigh(deviation.covariance)
    root = vectors * np.sqrt(np.maximum(values, 0))
    return np.asarray(root @ drawn.T)


def calibration(deviation: Deviations, drawn: Floats, alpha: float) -> Calibration:
    """Return the calibration errors and their change with 1 − `alpha` intervals, from draws of the `noise`."""
    d, e = deviation.mean.reshape(2, ECE_BINS, 1), drawn.reshape(2, ECE_BINS, -1)
    certain = _sign_is_certain(deviation).reshape(2, ECE_BINS)
    errors = np.empty((_ASSUMED, e.shape[-1]))
    for start in range(0, e.shape[-1], _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        _errors(d, e[..., part], certain, errors[:, part])
    before, after = (float(x) for x in np.abs(d).sum(axis=(1, 2)))
    lows, highs = _quantiles(errors, alpha)
    intervals = []
    for value, part in ((before, slice(0, 3)), (after, slice(3, 6))):
        low, high = _bounds(value, lows[part], highs[part])
        intervals.append(Interval(value, max(0.0, low), min(1.0, max(high, 0.0))))
    low, high = _bounds(after - before, lows[6:], highs[6:])
    return Calibration(intervals[0], intervals[1], Interval(after - before, max(-1.0, low), min(1.0, high)))


def _errors(d: Floats, e: Floats, certain: np.ndarray, out: Floats) -> None:
    """Write the errors [assumptions, draws] of the baseline, of the compressed model, and of their change.

    Of deviations d [2, bins, 1], noise e [2, bins, draws], and where the sign of a bin is certain [2, bins].
    """
    distance = np.abs(e)
    far = np.sign(d) * e  # if the true value has the observed sign and is far from 0
    assumed = (_error_as_observed(d, e), far, _with_bins(distance, certain, far))
    for i, errors in enumerate(assumed):
        out[i], out[3 + i] = errors.sum(axis=1)
    np.subtract(out[3:6], out[:3], out=out[6:9])
    # One model at 0 where signs are uncertain, the other at their observed distance from it.
    apart, both_certain = d[1] - d[0], certain[0] & certain[1]
    baseline_at_zero = _error_as_observed(apart, e[1]) - distance[0]
    compressed_at_zero = distance[1] - _error_as_observed(-apart, e[0])
    far_apart = far[1] - far[0]
    for i, errors in enumerate((baseline_at_zero, compressed_at_zero)):
        _with_bins(errors, both_certain, far_apart).sum(axis=0, out=out[9 + i])


def _sign_is_certain(deviation: Deviations) -> np.ndarray:
    """Return where the sign of a bin is certain: at least three standard errors from 0."""
    return np.asarray(np.abs(deviation.mean) > 3 * np.sqrt(np.maximum(np.diag(deviation.covariance), 0)))


def _error_as_observed(d: Floats, e: Floats) -> Floats:
    """Return the error of |d| per draw if the true value is the observed one."""
    error = d + e
    np.abs(error, out=error)
    error -= np.abs(d)
    return np.asarray(error)


def _with_bins(errors: Floats, bins: np.ndarray, others: Floats) -> Floats:
    """Return errors [..., bins, draws] with those of some bins [..., bins] from `others`; itself where there are none."""
    if not bins.any():
        return errors
    chosen = errors.copy()
    chosen[bins] = others[bins]
    return chosen


def _quantiles(errors: Floats, alpha: float) -> tuple[Floats, Floats]:
    """Return the lower and upper quantiles of every assumption's errors [assumptions, draws]."""
    ordered = np.sort(errors, axis=-1)  # which takes less time than `np.quantile`, many times in a row
    position = np.array([alpha / 2, 1 - alpha / 2]) * (errors.shape[-1] - 1)
    below = np.floor(position).astype(int)
    step = ordered[:, np.minimum(below + 1, errors.shape[-1] - 1)] - ordered[:, below]
    low, high = (ordered[:, below] + (position - below) * step).T
    return low, high


def _bounds(value: float, lows: Floats, highs: Floats) -> tuple[float, float]:
    """Return value − the largest upper, and − the smallest lower quantile of the errors, value inside."""
    return min(value - float(highs.max()), value), max(value - float(lows.min()), value)
