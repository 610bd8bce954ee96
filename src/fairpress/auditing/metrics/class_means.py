"""Macro recall and macro F1: means over classes, linearized as means over rows (`linearization`).

Macro recall is M = Σ_c R_c/K over the K classes that have rows. With n_c of n rows, a row of class c has the value
z = M + (d − R_c)·n/(K·n_c), d whether it is right. Macro F1 is the mean of F_c = 2·tp/(rows + predictions of c); a row's
value is M + Σ_c (a − F_c·b)·n/(K·Σb) with a = 2 where class c is predicted rightly, and b = 1 for its label plus 1 for its
prediction. Which classes have rows depends on labels alone, so that both models are averaged over the same classes.
(Taylor linearization; Woodruff, JASA 66, 1971; for F1: Takahashi et al., Applied Intelligence 52, 2022.)
"""

from __future__ import annotations

import numpy as np

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.statistics.t_estimate import Floats

MACRO = ("macro_recall", "macro_f1")


def macro(cells: Cells, model: str, rate: str, stratum: np.ndarray, strata: int) -> tuple[Floats, Floats]:
    """Return values [combinations] whose mean in each stratum is the rate, and their reach [strata].

    The reach is such that two pseudo-rows at this distance weigh as two in every class (Bonett and Price's, of each class).
    NaN in a stratum without rows.
    """
    size = len(cells.classes)
    y, p, w = cells.label, cells.predicted[model], cells.weight
    right = (y == p).astype(float)

    def by_class(codes: np.ndarray, x: Floats) -> Floats:
        flat = np.bincount(stratum * size + codes, weights=w * x, minlength=strata * size)
        return np.asarray(flat, dtype=float).reshape(strata, size)

    ones = np.ones(len(w))
    labelled = by_class(y, ones)
    present = labelled > 0
    n, count = labelled.sum(axis=1), present.sum(axis=1)
    below = labelled if rate == "macro_recall" else labelled + by_class(p, ones)
    top = by_class(y, right) * (1.0 if rate == "macro_recall" else 2.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(present, top / below, 0.0)
        scale = np.where(present, n[:, None] / (count[:, None] * below), 0.0)
        mean = np.where(count > 0, ratio.sum(axis=1) / count, np.nan)
    ratio_y, scale_y = ratio[stratum, y], scale[stratum, y]
    if rate == "macro_recall":
        values = mean[stratum] + (right - ratio_y) * scale_y
        return values, _reach(n, count, below, present)
    ratio_p, scale_p = ratio[stratum, p], scale[stratum, p]
    values = mean[stratum] + (2 * right - ratio_y) * scale_y - ratio_p * scale_p
    # A row that turns right changes 2 in the numerator of its class: as one unit of half the denominator.
    return values, _reach(n, count, below / 2, present)


def _reach(n: Floats, count: Floats, below: Floats, present: np.ndarray) -> Floats:
    """Return √(Σ_c 1/(n_c + 2)²)·n/K [strata]: the pseudo-rows of every class, as a distance of two pseudo-rows of all."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(n / count * np.sqrt(np.where(present, 1 / (below + 2) ** 2, 0.0).sum(axis=1)))
