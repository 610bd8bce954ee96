"""The rule that turns class probabilities into predicted classes, used for accuracy and flips everywhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def decides_by_threshold(classes: Sequence[str], positive: str | None) -> bool:
    """Return whether a threshold decides: there are two classes, and one of them is positive."""
    return positive is not None and len(classes) == 2


def decide(
    probabilities: np.ndarray, classes: Sequence[str], positive: str | None, threshold: float = 0.5
) -> np.ndarray:
    """Return the index of the predicted class of each row [rows].

    With two classes, one of them positive: the positive class if its probability is at least `threshold`. Otherwise the most
    probable class, the first one in case of ties.

    Parameters
    ----------
    probabilities
        [rows, classes], columns in the order of `classes`.
    """
    if not decides_by_threshold(classes, positive):
        return np.asarray(probabilities.argmax(axis=1), dtype=np.int64)
    assert positive is not None
    positive_index = list(classes).index(positive)
    return np.where(probabilities[:, positive_index] >= threshold, positive_index, 1 - positive_index).astype(
        np.int64
    )


def ties(
    probabilities: np.ndarray, classes: Sequence[str], positive: str | None, threshold: float = 0.5
) -> int:
    """Return how many rows `decide` decides by its rule for ties alone.

    With two classes, one of them positive, their probability is exactly the threshold; otherwise two classes are equally
    probable, and none more so.
    """
    if decides_by_threshold(classes, positive):
        assert positive is not None
        return int((probabilities[:, list(classes).index(positive)] == threshold).sum())
    largest = probabilities.max(axis=1, keepdims=True)
    return int(((probabilities == largest).sum(axis=1) > 1).sum())


def labels_present(probabilities: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """Return whether each of several labels is present [rows, labels] bool: its probability is at least its threshold."""
    return np.asarray(probabilities >= np.asarray(thresholds, dtype=np.float32))


def label_probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the probability of each of several labels [rows, labels] float32: the sigmoid of its logit."""
    exponential = np.exp(-np.abs(np.asarray(logits, dtype=np.float64)))
    positive = np.where(logits >= 0, 1 / (1 + exponential), exponential / (1 + exponential))
    return np.asarray(positive, dtype=np.float32)
