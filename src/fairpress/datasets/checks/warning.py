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
    x_train: np.ndarray, y_train: np.ndarray, x_test: np.ndarray, y_test: np.ndarray
) -> float:
    """Return the share of new rows right by the majority label of the value (numbers: of one of 50 ranges)."""
    if not len(x_test) or not len(x_train):
        return 0.0
    if x_train.dtype.kind in "fiu" and len(np.unique(x_train)) > MAX_VALUES:
        edges = np.unique(np.quantile(x_train, np.linspace(0, 1, MAX_VALUES + 1)[1:-1]))
        x_train, x_test = np.digitize(x_train, edges), np.digitize(x_test, edges)
    values, index = np.unique(x_train, return_inverse=True)
    counts = np.zeros((len(values), int(max(y_train.max(), y_test.max())) + 1))
    np.add.at(counts, (index, y_train), 1)
    position = np.clip(np.searchsorted(values, x_test), 0, len(values) - 1)
    y_pred = np.where(values[position] == x_test, counts.argmax(1)[position], np.bincount(y_train).argmax())
    return float((y_pred == y_test).mean())
