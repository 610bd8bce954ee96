"""A warning about a dataset, and how well a value alone tells the label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

GIVEAWAY_ACCURACY = 0.98
MAX_VALUES = 50


@dataclass(frozen=True)
class DatasetWarning:
    """A warning: its kind, the column or attribute, the number it is about, and the sentence."""

    kind: str
    column: str
    number: float
    sentence: str


def single_feature_accuracy(
    seen: np.ndarray, y_seen: np.ndarray, new: np.ndarray, y_new: np.ndarray
) -> float:
    """Return the share of new rows right by the majority label of the value (numbers: of one of 50 ranges)."""
    if not len(new) or not len(seen):
        return 0.0
    if seen.dtype.kind in "fiu" and len(np.unique(seen)) > MAX_VALUES:
        edges = np.unique(np.quantile(seen, np.linspace(0, 1, MAX_VALUES + 1)[1:-1]))
        seen, new = np.digitize(seen, edges), np.digitize(new, edges)
    values, index = np.unique(seen, return_inverse=True)
    counts = np.zeros((len(values), int(max(y_seen.max(), y_new.max())) + 1))
    np.add.at(counts, (index, y_seen), 1)
    at = np.clip(np.searchsorted(values, new), 0, len(values) - 1)
    guess = np.where(values[at] == new, counts.argmax(1)[at], np.bincount(y_seen).argmax())
    return float((guess == y_new).mean())
