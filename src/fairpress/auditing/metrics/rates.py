"""Rates of a classifier from pair counts, as numerator and denominator."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fairpress.auditing.class_recall import is_class_metric
from fairpress.auditing.statistics.t_estimate import Floats

BASELINE, COMPRESSED = 0, 1

LOSS_SIGN: dict[str, float] = {"accuracy": -1.0, "tpr": -1.0, "fpr": 1.0}
"""Judged rates: loss = sign × change (compressed − baseline), so that a positive loss is worse."""


def loss_sign(metric: str) -> float:
    """Return the sign of a judged metric, the recall of a class included. Raises ``KeyError`` for another metric."""
    return -1.0 if is_class_metric(metric) else LOSS_SIGN[metric]


class Confusion(NamedTuple):
    """Counts of one model, each of the leading shape of the cells."""

    tn: Floats
    fp: Floats
    fn: Floats
    tp: Floats


class Ratio(NamedTuple):
    """A rate as numerator and denominator; `value` is NaN where the denominator is 0."""

    numerator: Floats
    denominator: Floats

    @property
    def value(self) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.where(self.denominator > 0, self.numerator / self.denominator, np.nan))


def confusion(cells: ArrayLike, model: int) -> Confusion:
    """Return the confusion counts of the baseline (0) or the compressed model (1).

    `cells` has shape [..., 2, 2, 2]: label, prediction of the baseline, prediction of the compressed model
    (0 negative, 1 positive).
    """
    counts = np.asarray(cells, float).sum(axis=-1 if model == BASELINE else -2)
    return Confusion(counts[..., 0, 0], counts[..., 0, 1], counts[..., 1, 0], counts[..., 1, 1])


_RATES: dict[str, Callable[[Confusion], Ratio]] = {
    "accuracy": lambda c: Ratio(c.tp + c.tn, c.tp + c.tn + c.fp + c.fn),
    "selection_rate": lambda c: Ratio(c.tp + c.fp, c.tp + c.tn + c.fp + c.fn),
    "tpr": lambda c: Ratio(c.tp, c.tp + c.fn),
    "fpr": lambda c: Ratio(c.fp, c.fp + c.tn),
    "tnr": lambda c: Ratio(c.tn, c.fp + c.tn),
    "fnr": lambda c: Ratio(c.fn, c.tp + c.fn),
    "ppv": lambda c: Ratio(c.tp, c.tp + c.fp),
    "npv": lambda c: Ratio(c.tn, c.tn + c.fn),
    # (tp/P + tn/N)/2 over one denominator; not a proportion, so its interval is never Wilson's.
    "balanced_accuracy": lambda c: Ratio(
        c.tp * (c.tn + c.fp) + c.tn * (c.tp + c.fn), 2 * (c.tp + c.fn) * (c.tn + c.fp)
    ),
}

RATES: tuple[str, ...] = tuple(_RATES)


def rate(counts: Confusion, name: str) -> Ratio:
    """Return a rate of `RATES` as numerator and denominator of the shape of the counts."""
    return _RATES[name](counts)
