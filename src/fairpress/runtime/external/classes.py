"""Match the columns of a model's scores with classes, and compare with the labels that the model itself outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairpress.core.errors import UserError, listed
from fairpress.core.values import class_key, resolve
from fairpress.datasets.dataset import Task
from fairpress.runtime.external.config import ExternalModelConfig
from fairpress.runtime.external.external_file import (
    FLOATS,
    LABELS,
    ExternalFile,
    OutputCandidates,
    n_columns,
)
from fairpress.runtime.external.outputs import PASS_THROUGH, Output, holds_labels, label_indices

# Attributes of classifiers and maps that may name the classes of their columns.
_CLASS_ATTRIBUTES = ("classlabels_strings", "classlabels_int64s", "classlabels_ints")


@dataclass(frozen=True)
class ModelLabels:
    """The labels that a file itself outputs: the name of the output, and the class order that a sample implies.

    `order` is the class of each column as implied by the labels; None if they do not imply one. `counted` are the classes
    that the integer labels 0, 1, … mean, or the labels spelled as `names`, in the same order.
    """

    output: str
    order: tuple[str, ...] | None
    counted: tuple[str, ...]
    names: tuple[str, ...] | None = None

    def indices(self, candidates: OutputCandidates, classes: tuple[str, ...]) -> np.ndarray:
        """Return the labels of some rows [rows] as indices into `classes`."""
        indices = label_indices(candidates.values[self.output], self.names or self.counted)
        if indices is None:
            values = np.unique(np.asarray(candidates.values[self.output]).astype(str)).tolist()
            raise UserError(
                f"the output {self.output!r} contains {', '.join(values[:5])}, which are not all classes "
                f"({', '.join(classes)}); export a model of this label."
            )
        order: np.ndarray = np.array([classes.index(c) for c in self.counted])
        return np.asarray(order[indices])


def choose_classes(
    file: ExternalFile,
    config: ExternalModelConfig,
    candidates: OutputCandidates,
    output: Output,
    flat: np.ndarray | None,
    named: tuple[str, ...] | None,
    task: Task,
    source_name: str,
    guessed: list[str],
) -> tuple[str, ...]:
    """Return the class of each column of the output; both classes if a binary model has one column, that of the second.

    Parameters
    ----------
    flat
        The scores [rows, columns]; None if the output contains labels.
    named
        Column names in the output's maps.

    Raises
    ------
    UserError
        The classes differ from the dataset's, their order is ambiguous, or the configuration contradicts the file.
    """
    file_names = named or _class_attributes(file, output) or _classes_in_output_names(output, task)
    if file_names is not None and flat is not None and len(file_names) != max(flat.shape[1], 2):
        file_names = None  # classes of another layer
    file_order = _task_order(file_names, task) if file_names is not None else None
    if config.classes is not None:
        configured_order = _task_order(config.classes, task)
        if configured_order is None:
            raise UserError(
                f"{source_name}: the model's classes are {', '.join(config.classes)}, those of {task.target!r} "
                f"{', '.join(task.classes)}; list these under `classes`, in the order of the output."
            )
        if file_order is not None and file_order != configured_order:
            raise UserError(
                f"{source_name}: `classes` are {', '.join(configured_order)}, but the file itself names its columns "
                f"{', '.join(file_names or ())}, in this order; leave `classes` out."
            )
        return configured_order
    if file_order is not None:
        return file_order
    if file_names is not None and not _are_indices(file_names, task):
        raise UserError(
            f"the model's classes are {', '.join(file_names)}, those of {task.target!r} {', '.join(task.classes)}; "
            "list their "
            f"names in the dataset under `classes` in {source_name}, in the order of the output."
        )
    guessed.append("classes")
    labels = None if flat is None else model_labels(file, candidates, output, flat, task.classes, task)
    if labels is not None and _name_classes(candidates.values[labels.output], task):
        if labels.order is not None:
            return labels.order
        assert flat is not None
        if flat.shape[1] > 2:
            raise UserError(
                f"the file's own labels, {labels.output!r}, do not determine the class of each column of {output!r}; list "
                f"the classes under `classes` in {source_name}, in the order of the output."
            )
    sorted_classes = tuple(sorted(task.classes, key=_sort_key))
    labels_are_indices = flat is None and not _name_classes(candidates.values[str(output)], task)
    if sorted_classes != task.classes and (labels_are_indices or (flat is not None and flat.shape[1] > 1)):
        raise UserError(
            f"the file does not name the class of each {'label' if flat is None else 'column'} of {output!r}, and "
            f"two orders are common, {', '.join(sorted_classes)} and {', '.join(task.classes)}; list the classes in "
            "the right "
            f"order under `classes` in {source_name}."
        )
    return task.classes


def model_labels(
    file: ExternalFile,
    candidates: OutputCandidates,
    output: Output,
    flat: np.ndarray,
    classes: tuple[str, ...],
    task: Task,
) -> ModelLabels | None:
    """Return the output of labels next to the scores, with the class order that it implies; None without such an output.

    A class is the label of rows in which its column is high, even if the threshold is not one half.
    """
    outputs = {output} if isinstance(output, str) else set(output)
    column_names = _column_names(file, candidates, output, task, len(classes))
    names = [
        n
        for n, v in candidates.values.items()
        if n not in outputs
        and file.outputs[n] in (*LABELS, *FLOATS)
        and (holds_labels(file, n, v, task) or column_names is not None)
        and label_indices(v, column_names or classes) is not None
    ]
    if not names:
        return None
    likely = [n for n in names if any(part in n.lower() for part in ("label", "class", "pred"))]
    name = (likely or names)[0]
    indices = label_indices(candidates.values[name], column_names or classes)
    assert indices is not None
    order = _implied_order(flat, indices, classes)
    if column_names is not None:
        return ModelLabels(name, order, classes, column_names)
    if isinstance(output, str) or _name_classes(candidates.values[name], task):
        return ModelLabels(name, order, classes)
    # The user configured the order of outputs: only the rows can show what integer labels mean.
    if order is None:
        return None
    return ModelLabels(name, classes, tuple(classes[order.index(c)] for c in classes))


def external_labels(
    file: ExternalFile, candidates: OutputCandidates, output: Output, task: Task
) -> str | None:
    """Return a note on labels of the file that are not classes of the dataset; None if there are none."""
    outputs = {output} if isinstance(output, str) else set(output)
    for name, values in candidates.values.items():
        if name in outputs or isinstance(values, list) or n_columns(values) != 1:
            continue
        if file.outputs[name] not in LABELS and not _is_integral(values):
            continue
        names = np.unique(values.astype(str)).tolist()
        if 1 < len(names) <= len(task.classes) and label_indices(values, task.classes) is None:
            return (
                f"its own output {name!r} contains {', '.join(names)}, and the classes of {task.target!r} are "
                f"{', '.join(task.classes)}; its labels cannot be compared with the predictions"
            )
    return None


def _is_integral(values: np.ndarray) -> bool:
    return values.dtype.kind == "f" and bool((np.isfinite(values) & (values == np.floor(values))).all())


def check_class_order(
    labels: ModelLabels,
    candidates: OutputCandidates,
    decided: np.ndarray,
    classes: tuple[str, ...],
    source_name: str,
) -> None:
    """Raise UserError if the file's own labels show that the columns are in another class order.

    `decided` [rows] are indices into `classes`, as are the labels.
    """
    if labels.order is None or labels.order == classes:
        return
    n_different = int((labels.indices(candidates, classes) != decided).sum())
    if 2 * n_different > len(decided):
        raise UserError(
            f"{source_name}: with `classes` in the order {', '.join(classes)}, the model's scores disagree with its own "
            f"output {labels.output!r} in {n_different:,} of {len(decided):,} rows; list the classes in the order of its "
            f"labels, {', '.join(labels.order)}."
        )


def disagreement(
    labels: np.ndarray,
    decided: np.ndarray,
    score: np.ndarray | None,
    threshold: float,
    output: str,
    task: Task,
    source_name: str,
) -> str | None:
    """Return a note on rows whose own label in the file differs from the prediction; None if there are none.

    Parameters
    ----------
    labels, decided
        [rows], indices into the classes of the task.
    score
        The probability of the positive class [rows] if a threshold decides; rows at the threshold are ties.
    """
    different = labels != decided
    if score is not None:
        different &= np.abs(score - threshold) > 1e-6
    if not different.any():
        return None
    rule = "by the most probable class"
    remedy = f"`output: {output}` in {source_name} uses its labels as predictions"
    if score is not None and task.positive is not None:
        rule = f"at p({task.positive}) >= {threshold:g}"
        labeled_positive = labels == task.classes.index(task.positive)
        low = float(score[~labeled_positive].max(initial=0.0))
        high = float(score[labeled_positive].min(initial=1.0))
        if low < high:
            cut = _short_number_between(low, high)
            remedy = f"`threshold: {cut:g}` in {source_name} reproduces its labels, and {remedy}"
    return (
        f"its own output {output!r} differs in {int(different.sum()):,} of {len(decided):,} rows from the prediction "
        f"{rule}; {remedy}"
    )


def _short_number_between(low: float, high: float) -> float:
    """Return the shortest number above `low` and at most `high`."""
    for digits in range(1, 17):
        middle = round((low + high) / 2, digits)
        if low < middle <= high:
            return middle
    return high


def _class_attributes(file: ExternalFile, output: Output) -> tuple[str, ...] | None:
    """Return the classes named by the operator that computes the scores, in the order of its columns."""
    if isinstance(output, tuple):
        return None
    for node in file.origin(output):
        for attribute in node.attribute:
            if attribute.name in _CLASS_ATTRIBUTES:
                values = [s.decode("utf-8", "replace") for s in attribute.strings] or list(attribute.ints)
                if values:
                    return tuple(str(v) for v in values)
        if node.op_type not in (*PASS_THROUGH, "Softmax", "Sigmoid"):
            return None
    return None


def _column_names(
    file: ExternalFile, candidates: OutputCandidates, output: Output, task: Task, count: int
) -> tuple[str, ...] | None:
    """Return the file's names for its columns if they differ from the task's classes; else None.

    Its labels use the same names: for example 1 and 0 for columns that the configuration calls yes and no.
    """
    if isinstance(output, tuple):
        return None
    values = candidates.values[output]
    names = tuple(map(str, values[0])) if isinstance(values, list) else _class_attributes(file, output)
    return names if names is not None and len(names) == count and _task_order(names, task) is None else None


def _classes_in_output_names(output: Output, task: Task) -> tuple[str, ...] | None:
    """Return the classes in the names of per-class outputs: yes, or syes and i1 as written by sklearn-onnx."""
    if isinstance(output, str):
        return None
    for names in (output, tuple(n[1:] for n in output if n[:1] in "is")):
        if len(names) == len(output) and _task_order(names, task) is not None:
            return tuple(names)
    return None


def _task_order(names: Sequence[str], task: Task) -> tuple[str, ...] | None:
    """Return the task's classes in the order of these names; None unless each name matches one class."""
    matches = tuple(resolve(n, task.classes) or "" for n in names)
    return matches if sorted(matches) == sorted(task.classes) else None


def classes_of_config(names: tuple[str, ...], task: Task, source_name: str) -> tuple[str, ...]:
    """Return the task's classes in the order of the outputs that config.json names, in any case of letters.

    Raises UserError for other names.
    """
    by_lower = {c.strip().casefold(): c for c in task.classes}
    lower = [by_lower.get(name.strip().casefold(), name) for name in names]
    order = _task_order(lower if len(by_lower) == len(task.classes) else names, task)
    if order is None:
        raise UserError(
            f"config.json next to the model names the outputs {listed(names)} (id2label), and the classes of "
            f"{task.target!r} are {listed(task.classes)}; list these under `classes` in {source_name}, in the order of the "
            "outputs, or use a model of this label."
        )
    return order


def _are_indices(names: Sequence[str], task: Task) -> bool:
    """Return whether names are only indices 0, 1, … and none of them is itself a class."""
    counted = [class_key(n) for n in names] == [float(i) for i in range(len(task.classes))]
    return counted and not any(resolve(n, task.classes) in task.classes for n in names)


def _name_classes(values: Any, task: Task) -> bool:
    """Return whether labels are names of classes, and not only indices."""
    return all(resolve(v, task.classes) in task.classes for v in np.unique(values.astype(str)).tolist())


def _sort_key(name: str) -> tuple[float, str]:
    """Sort key of a class: numbers by size, then text."""
    key = class_key(name)
    return (key, "") if isinstance(key, float) else (float("inf"), name)


def _implied_order(flat: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the class of each column as implied by labels [rows], indices into `classes`; None if ambiguous."""
    both = np.concatenate([-flat, flat], axis=1) if flat.shape[1] == 1 else flat
    if both.shape[1] != len(classes) or not np.isfinite(both).all():
        return None
    return _order_by_largest(both, labels, classes) or _order_by_lift(both, labels, classes)


def _order_by_largest(
    flat: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]
) -> tuple[str, ...] | None:
    """Return the order in which each row's label is its largest column; a single remaining class gets the last column."""
    top = flat.argmax(axis=1)
    labels_by_column = [np.unique(labels[top == i]).tolist() for i in range(len(classes))]
    identified = [column_labels[0] for column_labels in labels_by_column if len(column_labels) == 1]
    if (
        any(len(column_labels) > 1 for column_labels in labels_by_column)
        or len(set(identified)) < len(identified)
        or len(identified) < len(classes) - 1
    ):
        return None
    (remaining,) = set(range(len(classes))) - set(identified) or {-1}
    return tuple(
        classes[column_labels[0] if column_labels else remaining] for column_labels in labels_by_column
    )


def _order_by_lift(flat: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the order in which each class has the largest lift in its own column: mean in its rows minus mean elsewhere."""
    if len(np.unique(labels)) < len(classes):
        return None
    lift = np.array([flat[labels == c].mean(0) - flat[labels != c].mean(0) for c in range(len(classes))])
    best = lift.argmax(axis=1)
    if len(set(best.tolist())) < len(classes) or (lift.max(axis=1) <= 0).any():
        return None
    order = [""] * len(classes)
    for c, column in enumerate(best.tolist()):
        order[column] = classes[c]
    return tuple(order)
