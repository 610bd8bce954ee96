"""Predictors without a network, as references for the accuracy of a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from fairpress.datasets.dataset import Dataset


def majority(data: Dataset) -> np.ndarray:
    """Predict the most frequent label of the other parts for every test row; class indices [test rows]."""
    labels = data.labels[_development_rows(data)]
    predicted: np.ndarray = np.full(len(data.parts["test"]), np.bincount(labels).argmax(), dtype=np.int64)
    return predicted


def person_lookup(data: Dataset) -> np.ndarray:
    """Predict the most frequent label of the same person in other parts for every test row; class indices [test rows].

    The label of a person is looked up in the training, calibration and validation rows; in a tie the first class is
    taken. For other people the most frequent label is predicted, with each person counted once. On a split by person
    nobody can be looked up, so all predictions are that label.
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
