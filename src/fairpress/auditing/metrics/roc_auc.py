"""The area under the ROC curve as a mean of one value per row, on which every estimator can infer."""

from __future__ import annotations

import numpy as np

from fairpress.auditing.statistics.t_estimate import Floats


def placements(
    bins: np.ndarray, positive: np.ndarray, weight: Floats, rows: Floats, stratum: np.ndarray, strata: int
) -> Floats:
    """Return values [combinations] whose weighted mean in a stratum is its AUC, and whose spread is DeLong's.

    A positive's placement is the share of negatives it outranks, ties counted half; a negative's the share of positives
    that outrank it (DeLong, DeLong and Clarke-Pearson, Biometrics 44, 1988). With n₁ positives and n₀ negatives of n,
    z = A + (n/n_y)·√(n_y/(n_y − 1))·(placement − A): the variance of the mean of z is S₁₀/n₁ + S₀₁/n₀.
    NaN in a stratum with fewer than two positives or negatives; a stratum is a group, or a group under one seed.

    Parameters
    ----------
    bins
        Rank of each combination's score.
    rows
        Number of rows of each combination; `weight` is their total weight.
    """
    yes = positive.astype(float)
    key, entry_index = np.unique(stratum * (int(bins.max(initial=0)) + 1) + bins, return_inverse=True)
    entry_stratum = key // (int(bins.max(initial=0)) + 1)
    below: list[Floats] = []
    size: list[Floats] = []
    count: list[Floats] = []
    for side in (yes, 1 - yes):
        in_entry = np.bincount(entry_index, weights=weight * side, minlength=len(key))
        total = np.bincount(stratum, weights=weight * side, minlength=strata)
        up_to = np.cumsum(in_entry)
        before = np.concatenate([[0.0], np.cumsum(total)])[entry_stratum]  # what earlier strata hold
        with np.errstate(divide="ignore", invalid="ignore"):
            below.append(((up_to - before - in_entry / 2) / total[entry_stratum])[entry_index])
        size.append(np.asarray(total, dtype=float))
        count.append(np.asarray(np.bincount(stratum, weights=rows * side, minlength=strata), dtype=float))
    placement = np.where(positive, below[1], 1 - below[0])
    known = np.where(
        np.isfinite(placement), placement, 0.0
    )  # without the other class, a rounding error by zero
    with np.errstate(divide="ignore", invalid="ignore"):
        area = np.bincount(stratum, weights=weight * yes * known, minlength=strata) / size[0]
        area = np.where((count[0] > 1) & (count[1] > 1), area, np.nan)
        n = size[0] + size[1]
        stretch = [n / s * np.sqrt(c / (c - 1)) for s, c in zip(size, count, strict=True)]
        factor = np.where(positive, stretch[0][stratum], stretch[1][stratum])
        return np.asarray(area[stratum] + factor * (placement - area[stratum]))


def tied_within_bins(
    bins: np.ndarray, positive: np.ndarray, weight: Floats, stratum: np.ndarray, strata: int
) -> Floats:
    """Return half the share of positive–negative pairs within a bin: the largest error of an AUC from bins."""
    width = int(bins.max(initial=0)) + 1
    key, entry_index = np.unique(stratum * width + bins, return_inverse=True)
    in_entry = [
        np.bincount(entry_index, weights=weight * side, minlength=len(key)) for side in (positive, ~positive)
    ]
    total = [np.bincount(stratum, weights=weight * side, minlength=strata) for side in (positive, ~positive)]
    pairs = np.bincount(key // width, weights=in_entry[0] * in_entry[1], minlength=strata)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(pairs / (2 * total[0] * total[1]))
