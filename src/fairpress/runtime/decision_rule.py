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
