"""Predictors that need no network: what an accuracy must be held against."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from fairpress.datasets.dataset import Dataset


def majority(data: Dataset) -> np.ndarray:
    """Predict for every test row the commonest label of the other rows; class indices [test rows]."""
    labels = data.labels[_development_rows(data)]
    predicted: np.ndarray = np.full(len(data.parts["test"]), np.bincount(labels).argmax(), dtype=np.int64)
    return predicted


def person_lookup(data: Dataset) -> np.ndarray:
    """Predict for every test row what the other rows about the same person say; class indices [test rows].

    Rows that a network trains, calibrates or validates on are looked up: a person's commonest label there, the
    first class of a tie. Of somebody who is not there, the commonest label among people is guessed, each counted once. On
    a split by person nobody is there, so that this is the commonest label.
    """
    subjects, index = np.unique(data.subjects, return_inverse=True)
    index = index.reshape(-1)
    development = _development_rows(data)
    counts = np.zeros((len(subjects), len(data.task.classes)), dtype=np.int64)
    np.add.at(counts, (index[development], data.labels[development]), 1)
    has_label = counts.any(1)
    class_of_subject = counts.argmax(1)
    class_of_subject[~has_label] = np.bincount(class_of_subject[has_label]).argmax()
    predicted: np.ndarray = class_of_subject[index[data.parts["test"]]]
    return predicted


def _development_rows(data: Dataset) -> np.ndarray:
    return np.concatenate([rows for part, rows in data.parts.items() if part != "test"])


PREDICTORS: Mapping[str, Callable[[Dataset], np.ndarray]] = {
    "majority": majority,
    "lookup-by-person": person_lookup,
}
