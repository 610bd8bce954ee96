"""The label of a user's table: one of several classes, a number, or several labels of a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fairpress.core.errors import UserError
from fairpress.core.values import class_key
from fairpress.datasets.custom.column_roles import raise_all, refuse_label_as_attribute, task_of
from fairpress.datasets.custom.columns import Column
from fairpress.datasets.custom.table_config import TabularConfig
from fairpress.datasets.dataset import Task

# Spellings of the two values of one of several labels, as `core.values.class_key` normalizes them.
PRESENT, ABSENT = (
    {class_key(text) for text in texts} for texts in (("1", "true", "yes"), ("0", "false", "no", "-1"))
)


def task_and_labels(
    columns: Sequence[Column], options: TabularConfig, source_name: str
) -> tuple[Task, np.ndarray, list[str]]:
    """Return the task, the labels as a `Dataset` has them, and notes.

    Parameters
    ----------
    columns
        The label, and the further labels of ``more_labels``; none of them has missing values.

    Raises
    ------
    UserError
        The values are not those of the kind of label that the options name.
    """
    label = columns[0]
    if options.label_is == "number":
        return _number(label, source_name)
    if options.more_labels:
        return _several(columns, source_name)
    return task_of(label, options, source_name)


def refuse_labels_as_attributes(
    groups: Mapping[str, np.ndarray], labels: np.ndarray, names: Sequence[str], source_name: str
) -> None:
    """Refuse attributes that are equivalent to the label, or to one of several; a number is equivalent to none."""
    for attribute, values in groups.items():
        for i, label in enumerate(names if labels.dtype.kind == "i" else ()):
            column = labels if labels.ndim == 1 else labels[:, i]
            refuse_label_as_attribute(attribute, values, column, label, source_name)


def _number(label: Column, source_name: str) -> tuple[Task, np.ndarray, list[str]]:
    numbers = label.numbers
    if numbers is None or not np.isfinite(numbers).all():
        invalid = label.text[0] if numbers is None else label.text[~np.isfinite(numbers)][0]
        raise UserError(
            f"{source_name}: the label {label.name!r} is to be a number (`label_is: number`), and it holds {invalid!r}; "
            "correct the column, or leave `label_is` out for classes."
        )
    values = np.unique(numbers)
    if len(values) < 2:
        raise UserError(f"{source_name}: the label {label.name!r} is {values[0]:g} in every row.")
    note = f"The label {label.name!r} is a number, from {values[0]:g} to {values[-1]:g}."
    return Task(label.name, (), None, outputs="number"), numbers.astype(np.float64), [note]


def _several(columns: Sequence[Column], source_name: str) -> tuple[Task, np.ndarray, list[str]]:
    names = tuple(c.name for c in columns)
    raise_all(_not_binary(columns, source_name))
    labels = np.stack([[class_key(text) in PRESENT for text in c.text] for c in columns], 1).astype(np.int64)
    shares = ", ".join(f"{name} {share:.1%}" for name, share in zip(names, labels.mean(0), strict=True))
    return (
        Task(", ".join(names), (), None, outputs="labels", label_names=names),
        labels,
        [f"Labels: {shares}."],
    )


def _not_binary(columns: Sequence[Column], source_name: str) -> list[str]:
    sentences = []
    for label in columns:
        odd = [text for text in np.unique(label.text).tolist() if class_key(text) not in PRESENT | ABSENT]
        if odd:
            sentences.append(
                f"{source_name}: the label {label.name!r} holds {odd[0]!r}; several labels are each 1 or 0 (true or false, "
                "yes or no) in every row."
            )
    return sentences


def label_strata(labels: np.ndarray, task: Task) -> np.ndarray:
    """Return the stratum of each row [rows] int64, by which the parts are drawn alike.

    Of classes the class, of a number its tenth of the rows, of several labels their combination.
    """
    if task.outputs == "number":
        edges = np.quantile(labels, np.linspace(0.1, 0.9, 9))
        return np.asarray(np.searchsorted(edges, labels, side="right"), dtype=np.int64)
    if task.outputs == "labels":
        return np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return labels
