"""What must be known of a trained network before anybody relies on it: whether it beats one constant answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def constant_answer(labels: np.ndarray, classes: Sequence[str], train_labels: np.ndarray) -> dict[str, Any]:
    """Return the commonest class of training labels `train_labels`, and its share of validation labels [rows]: the base rate."""
    commonest = int(np.bincount(train_labels, minlength=len(classes)).argmax())
    return {"class": classes[commonest], "accuracy": float((labels == commonest).mean())}


def constant_baseline_warnings(
    y_pred: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    train_labels: np.ndarray,
    weights: np.ndarray | None,
) -> list[str]:
    """Return a sentence where decisions on validation rows are right no more often than one constant answer.

    Parameters
    ----------
    y_pred, labels
        Class indices of validation rows [rows].
    train_labels
        Class indices of training rows, which say what the constant answer is.
    weights
        Of each class [classes]: rows count as much as they did in training.
    """
    class_weights = np.ones(len(classes)) if weights is None else weights
    commonest = int((np.bincount(train_labels, minlength=len(classes)) * class_weights).argmax())
    rows = class_weights[labels]
    accuracy, constant = (float((rows * (d == labels)).sum() / rows.sum()) for d in (y_pred, commonest))
    return constant_baseline_warning(accuracy, constant, classes[commonest], weighted=weights is not None)


def constant_baseline_warning(
    accuracy: float, constant: float, answer: str, *, weighted: bool = False
) -> list[str]:
    """Return the sentence where an accuracy is not above that of one constant answer, as a list."""
    if accuracy > constant:
        return []
    how = ", weighted by class," if weighted else ""
    remedy = "other inputs" if weighted else "--class-weights balanced, other inputs"
    return [
        f"accuracy on validation rows{how} is {accuracy:.3f} and does not beat always predicting {answer!r} "
        f"({constant:.3f}, the base rate); an audit of these decisions says little. Try {remedy}, or more rows."
    ]
