"""The one rule that turns class probabilities into decisions; whoever counts accuracy or flips decides by it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def decides_by_threshold(classes: Sequence[str], positive: str | None) -> bool:
    """Return whether a threshold decides: there are two classes, and one of them is the positive one."""
    return positive is not None and len(classes) == 2


def decide(
    probabilities: np.ndarray, classes: Sequence[str], positive: str | None, threshold: float = 0.5
) -> np.ndarray:
    """Return the index of the class that is decided for each row [rows].

    Two classes of which one is positive: the positive one where its probability is at least `threshold`. Others: the most
    probable class, the first of equal ones.

    Parameters
    ----------
    probabilities
        [rows, classes], columns in the order of `classes`.
    """
    if not decides_by_threshold(classes, positive):
        return np.asarray(probabilities.argmax(axis=1), dtype=np.int64)
    assert positive is not None
    at = list(classes).index(positive)
    return np.where(probabilities[:, at] >= threshold, at, 1 - at).astype(np.int64)
