"""Rates of a classifier from pair counts, as (numerator, denominator), and the flips behind each change."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fairpress.auditing.statistics.t_estimate import Floats

BASELINE, COMPRESSED = 0, 1

LOSS_SIGN: dict[str, float] = {"accuracy": -1.0, "tpr": -1.0, "fpr": 1.0}
"""Judged rates: loss = sign × change (compressed − baseline), so that a positive loss is worse."""


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


class Flipped(NamedTuple):
    """Rows whose indicator went 0→1 (`up`) or 1→0 (`down`), of `n`; the change is (up − down)/n."""

    up: Floats
    down: Floats
    n: Floats


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
PROPORTIONS: tuple[str, ...] = tuple(name for name in RATES if name != "balanced_accuracy")
"""Rates that are one count over another, for which Wilson's interval holds."""
FIXED_DENOMINATOR: tuple[str, ...] = ("accuracy", "selection_rate", "tpr", "fpr", "tnr", "fnr")
"""Rates whose denominator does not depend on the model, so that their change is Bonett–Price's."""


def rate(counts: Confusion, name: str) -> Ratio:
    """Return a rate of `RATES` as numerator and denominator of the shape of the counts."""
    return _RATES[name](counts)


def flipped(cells: ArrayLike, name: str) -> Flipped:
    """Return the flips behind the change of a rate of `FIXED_DENOMINATOR`.

    `cells` has shape [..., 2, 2, 2]; the results have the leading shape. For accuracy, `down` counts
    right→wrong and `up` wrong→right; for the TPR only rows with a positive label count, and so on.
    """
    n = np.asarray(cells, float)
    to_positive, to_negative = n[..., 0, 1], n[..., 1, 0]  # [..., label]
    size = n.sum(axis=(-1, -2))
    match name:
        case "accuracy":
            return Flipped(
                to_positive[..., 1] + to_negative[..., 0],
                to_negative[..., 1] + to_positive[..., 0],
                size.sum(-1),
            )
        case "selection_rate":
            return Flipped(to_positive.sum(-1), to_negative.sum(-1), size.sum(-1))
        case "tpr":
            return Flipped(to_positive[..., 1], to_negative[..., 1], size[..., 1])
        case "fnr":
            return Flipped(to_negative[..., 1], to_positive[..., 1], size[..., 1])
        case "fpr":
            return Flipped(to_positive[..., 0], to_negative[..., 0], size[..., 0])
        case "tnr":
            return Flipped(to_negative[..., 0], to_positive[..., 0], size[..., 0])
    raise ValueError(f"{name} has no fixed denominator; its change is bootstrapped")


def flipped_correct(correct: ArrayLike) -> Flipped:
    """Return the flips of accuracy of multi-class models.

    `correct` has shape [..., 2, 2]: is the baseline correct, is the compressed model correct.
    """
    n = np.asarray(correct, float)
    return Flipped(n[..., 0, 1], n[..., 1, 0], n.sum(axis=(-1, -2)))


def accuracy_of(correct: ArrayLike, model: int) -> Ratio:
    """Return the accuracy of one model from `correct` [..., 2, 2] (multi-class)."""
    n = np.asarray(correct, float)
    right = n[..., 1, :].sum(-1) if model == BASELINE else n[..., :, 1].sum(-1)
    return Ratio(right, n.sum(axis=(-1, -2)))


def degenerate(counts: Confusion) -> np.ndarray:
    """Return True where a model predicts one class only (and there are rows), of the shape of the counts."""
    positive, negative = counts.tp + counts.fp, counts.tn + counts.fn
    return np.asarray((positive + negative > 0) & ((positive == 0) | (negative == 0)))
