"""Compare a trained network with the constant baseline that always predicts the most common class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

LEAST_KEPT = 0.1
"""Share of the baseline's gain over a constant prediction below which a compressed file has lost what was learned."""


def constant_answer(labels: np.ndarray, classes: Sequence[str], train_labels: np.ndarray) -> dict[str, Any]:
    """Return the most common class of `train_labels`, and its share of validation labels [rows]: the base rate."""
    commonest = int(np.bincount(train_labels, minlength=len(classes)).argmax())
    return {"class": classes[commonest], "accuracy": float((labels == commonest).mean())}


def constant_baseline_warnings(
    y_pred: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    train_labels: np.ndarray,
    weights: np.ndarray | None,
) -> list[str]:
    """Return a warning if predictions on validation rows are no more accurate than a constant prediction.

    Parameters
    ----------
    y_pred, labels
        Class indices of validation rows [rows].
    train_labels
        Class indices of training rows, which determine the constant prediction.
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
    """Return a warning, as a list, if an accuracy is not above that of a constant prediction."""
    if accuracy > constant:
        return []
    how = ", weighted by class," if weighted else ""
    remedy = "other inputs" if weighted else "`class_weights='balanced'`, other inputs"
    return [
        f"accuracy on validation rows{how} is {accuracy:.3f} and does not beat always predicting {answer!r} "
        f"({constant:.3f}, the base rate); an audit of these predictions is hardly informative. Try {remedy}, or more rows."
    ]


def constant_symptom(
    predicted: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    train_labels: np.ndarray,
    weights: np.ndarray | None = None,
    baseline: float | None = None,
) -> str | None:
    """Return how predictions on validation rows are no better than a constant one, as the rest of a sentence; else None.

    They are of one class, or not more accurate than the most common class of training rows, or by less than a tenth
    (`LEAST_KEPT`) of what the baseline is, whose accuracy is `baseline`. Labels of a single class tell nothing. The other
    parameters are those of `constant_baseline_warnings`.
    """
    if len(np.unique(labels)) < 2:
        return None
    class_weights = np.ones(len(classes)) if weights is None else weights
    commonest = int((np.bincount(train_labels, minlength=len(classes)) * class_weights).argmax())
    rows = class_weights[labels]
    accuracy, constant = (float((rows * (d == labels)).sum() / rows.sum()) for d in (predicted, commonest))
    answers = np.unique(predicted)
    if len(answers) == 1:
        return f"answers {classes[answers[0]]!r} for all {len(predicted):,} validation rows"
    how = "" if weights is None else ", weighted by class,"
    symptom = f"has an accuracy on validation rows{how} of {accuracy:.3f}, and always answering {classes[commonest]!r} "
    if accuracy <= constant:
        return f"{symptom}has {constant:.3f}"
    if weights is None and baseline is not None and accuracy - constant < LEAST_KEPT * (baseline - constant):
        return f"{symptom}has {constant:.3f}, its baseline {baseline:.3f}"
    return None


def collapse_warnings(symptom: str | None, *, trained: bool, baseline_warned: bool) -> list[str]:
    """Return a warning, as a list, for a compressed file with a `constant_symptom`.

    Parameters
    ----------
    trained
        Whether the recipe fine-tuned the network.
    baseline_warned
        Whether the baseline was no better itself.
    """
    if symptom is None:
        return []
    if baseline_warned:
        return [
            f"the compressed file {symptom}; nor did its baseline learn more. Train a better baseline first."
        ]
    seed = ", or train with another seed or a smaller learning_rate" if trained else ""
    return [
        f"the compressed file {symptom}: it has lost what its baseline had learned. Compress less (more bits, less sparsity)"
        f"{seed}."
    ]
