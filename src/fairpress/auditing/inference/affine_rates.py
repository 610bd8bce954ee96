"""Rates as means of affine functions of a model's decisions, by label and seed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fairpress.auditing.cells.grouping import Grouping
from fairpress.auditing.inference.seed_counts import Affine, SeedCounts
from fairpress.auditing.statistics.t_estimate import Floats

_NEGATIVE, _POSITIVE, _ALL = (0,), (1,), (0, 1)
_RATES: dict[str, tuple[tuple[int, ...], tuple[float, ...], tuple[float, ...]]] = {
    "accuracy": (_ALL, (1.0, 0.0), (-1.0, 1.0)),
    "selection_rate": (_ALL, (0.0, 0.0), (1.0, 1.0)),
    "tpr": (_POSITIVE, (0.0,), (1.0,)),
    "fnr": (_POSITIVE, (1.0,), (-1.0,)),
    "fpr": (_NEGATIVE, (0.0,), (1.0,)),
    "tnr": (_NEGATIVE, (1.0,), (-1.0,)),
}
"""Rate → labels of its denominator, the value of a negative decision for each, and what a positive one adds."""


def is_affine(rate: str) -> bool:
    """Return whether `affine` has the rate."""
    return rate in _RATES


def affine(rate: str, model: str, baseline: str | None = None, sign: float = 1.0) -> Affine:
    """Return the indicator of a rate, or its change since the baseline, times a sign."""
    labels, offset, slope = _RATES[rate]
    start, by_label = (sign * np.array(x)[:, None] for x in (offset, slope))
    if baseline is None:
        return Affine(labels, start, [(model, by_label)])
    return Affine(labels, np.zeros_like(start), [(model, by_label), (baseline, -by_label)])


class AffineRatio(NamedTuple):
    """A rate of `linearization.LINEARIZED` as the mean of `offset` + `slope`·decision [groups, label, seeds].

    Linearised within each seed; NaN where the rate is undefined. `reach` [groups]: the mean over seeds of the change of a
    row's value by one unit of the numerator.
    """

    offset: Floats
    slope: Floats
    reach: Floats


def affine_ratio(counts: SeedCounts, model: str, rate: str, grouping: Grouping) -> AffineRatio:
    """Return PPV, NPV or balanced accuracy, with values and reach as in `linearization.linearize`."""
    rows, chosen = counts.rows(grouping)[..., None], counts.positive(model, grouping)
    n, label = rows.sum(axis=1), np.array([0.0, 1.0])[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        match rate:
            case "ppv":  # Σyp / Σp
                below = chosen.sum(axis=1)
                ratio, scale = chosen[:, 1] / below, n / below
                offset = np.repeat(ratio[:, None], 2, axis=1)
                slope = (label - ratio[:, None]) * scale[:, None]
            case "npv":  # Σ(1−y)(1−p) / Σ(1−p)
                below = n - chosen.sum(axis=1)
                ratio, scale = (rows - chosen)[:, 0] / below, n / below
                slope = -(1 - label - ratio[:, None]) * scale[:, None]
                offset = ratio[:, None] - slope
            case "balanced_accuracy":  # the half of Σyp/Σy + Σ(1−y)(1−p)/Σ(1−y)
                share = chosen / rows
                ratio = ((1 - share[:, 0]) + share[:, 1]) / 2
                scales = n[:, None] / rows
                slope = (2 * label - 1) * scales / 2
                slope = np.broadcast_to(slope, chosen.shape)
                offset = ratio[:, None] - slope * share
                scale = np.broadcast_to(np.hypot(scales[:, 0], scales[:, 1]) / 2, ratio.shape)
    undefined = np.isnan(ratio)
    missing = np.where(undefined, np.nan, 0.0)[:, None]
    reach = np.where(undefined, np.nan, scale).mean(axis=1)
    return AffineRatio(offset + missing, slope + missing, reach)
