"""Which class each column of a model's scores is, and whether the labels that the model gives itself agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairpress.core.errors import UserError
from fairpress.core.values import class_key, resolve
from fairpress.datasets.dataset import Task
from fairpress.runtime.external.config import ExternalModelConfig
from fairpress.runtime.external.onnx_model import (
    FLOATS,
    LABELS,
    ExternalOnnxFile,
    OutputCandidates,
    n_columns,
)
from fairpress.runtime.external.outputs import PASSING, Output, holds_labels, label_indices

# Operators of classifiers and maps, which may name the classes of their columns.
_ATTRIBUTES = ("classlabels_strings", "classlabels_int64s", "classlabels_ints")


@dataclass(frozen=True)
class ModelLabels:
    """The labels that a file gives itself: the output that holds them, and what the sample says of their order.

    `order` is the class of each column that the labels give away; None where they do not. `counted` are the classes that
    labels mean which only count: 0, 1, …; or, in the same order, are spelled as `names`.
    """

    output: str
    order: tuple[str, ...] | None
    counted: tuple[str, ...]
    names: tuple[str, ...] | None = None

    def indices(self, found: OutputCandidates, classes: tuple[str, ...]) -> np.ndarray:
        """Return the labels of some rows [rows] as indices into `classes`."""
        own = label_indices(found.values[self.output], self.names or self.counted)
        if own is None:
            values = np.unique(np.asarray(found.values[self.output]).astype(str)).tolist()
            raise UserError(
                f"the output {self.output!r} names {', '.join(values[:5])}, which are not all classes "
                f"({', '.join(classes)}); export a model of this label."
            )
        places: np.ndarray = np.array([classes.index(c) for c in self.counted])
        return np.asarray(places[own])


def choose_classes(
    file: ExternalOnnxFile,
    said: ExternalModelConfig,
    found: OutputCandidates,
    output: Output,
    flat: np.ndarray | None,
    named: tuple[str, ...] | None,
    task: Task,
    where: str,
    guessed: list[str],
) -> tuple[str, ...]:
    """Return the class of each column of the output; of two classes also where it has one column, that of the second.

    Parameters
    ----------
    flat
        The scores [rows, columns]; None where the output holds labels.
    named
        What the output's maps call their columns.

    Raises
    ------
    UserError
        The classes are other ones than the dataset's, their order has several answers, or what is said contradicts the
        file.
    """
    own = named or _attributes(file, output) or _names_of_outputs(output, task)
    if own is not None and flat is not None and len(own) != max(flat.shape[1], 2):
        own = None  # classes of another layer
    by_file = _matched(own, task) if own is not None else None
    if said.classes is not None:
        given = _matched(said.classes, task)
        if given is None:
            raise UserError(
                f"{where}: the model's classes are {', '.join(said.classes)}, those of {task.target!r} "
                f"{', '.join(task.classes)}; list these under `classes`, in the order of the output."
            )
        if by_file is not None and by_file != given:
            raise UserError(
                f"{where}: `classes` are {', '.join(given)}, but the file itself names its columns "
                f"{', '.join(own or ())}, in this order; leave `classes` out."
            )
        return given
    if by_file is not None:
        return by_file
    if own is not None and not _positions(own, task):
        raise UserError(
            f"the model's classes are {', '.join(own)}, those of {task.target!r} {', '.join(task.classes)}; say under "
            f"`classes` in {where} how they are called there, in the order of the output."
        )
    guessed.append("classes")
    labels = None if flat is None else model_labels(file, found, output, flat, task.classes, task)
    if labels is not None and _resolved(found.values[labels.output], task):
        if labels.order is not None:
            return labels.order
        assert flat is not None
        if flat.shape[1] > 2:
            raise UserError(
                f"the file's own labels, {labels.output!r}, do not tell which class each column of {output!r} is; say under "
                f"`classes` in {where}, in the order of the output."
            )
    usual = tuple(sorted(task.classes, key=_in_order))
    counted = flat is None and not _resolved(found.values[str(output)], task)
    if usual != task.classes and (counted or (flat is not None and flat.shape[1] > 1)):
        raise UserError(
            f"the file does not say which class each {'label' if flat is None else 'column'} of {output!r} is, and "
            "there are "
            f"two usual orders, {', '.join(usual)} and {', '.join(task.classes)}; say under `classes` in {where} which "
            "it is."
        )
    return task.classes


def model_labels(
    file: ExternalOnnxFile,
    found: OutputCandidates,
    output: Output,
    flat: np.ndarray,
    classes: tuple[str, ...],
    task: Task,
) -> ModelLabels | None:
    """Return the output of labels beside the scores, and the order of classes that it gives away; None without one.

    The labels of a class are given where its own column is high, also where a threshold decides that is not a half.
    """
    outputs = {output} if isinstance(output, str) else set(output)
    called = _called(file, found, output, task, len(classes))
    names = [
        n
        for n, v in found.values.items()
        if n not in outputs
        and file.outputs[n] in (*LABELS, *FLOATS)
        and (holds_labels(file, n, v, task) or called is not None)
        and label_indices(v, called or classes) is not None
    ]
    if not names:
        return None
    likely = [n for n in names if any(part in n.lower() for part in ("label", "class", "pred"))]
    name = (likely or names)[0]
    indices = label_indices(found.values[name], called or classes)
    assert indices is not None
    order = _given_away(flat, indices, classes)
    if called is not None:
        return ModelLabels(name, order, classes, called)
    if isinstance(output, str) or _resolved(found.values[name], task):
        return ModelLabels(name, order, classes)
    # Outputs in an order that somebody wrote down: what numbers count, only the rows can tell.
    if order is None:
        return None
    return ModelLabels(name, classes, tuple(classes[order.index(c)] for c in classes))


def external_labels(
    file: ExternalOnnxFile, found: OutputCandidates, output: Output, task: Task
) -> str | None:
    """Return a sentence on labels of the file that are none of the dataset's classes; None where there are no such."""
    outputs = {output} if isinstance(output, str) else set(output)
    for name, values in found.values.items():
        if name in outputs or isinstance(values, list) or n_columns(values) != 1:
            continue
        if file.outputs[name] not in LABELS and not _whole(values):
            continue
        names = np.unique(values.astype(str)).tolist()
        if 1 < len(names) <= len(task.classes) and label_indices(values, task.classes) is None:
            return (
                f"its own output {name!r} names {', '.join(names)}, and the classes of {task.target!r} are "
                f"{', '.join(task.classes)}; whether its labels agree with what is decided cannot be checked"
            )
    return None


def _whole(values: np.ndarray) -> bool:
    return values.dtype.kind == "f" and bool((np.isfinite(values) & (values == np.floor(values))).all())


def refuse_reversed(
    labels: ModelLabels, found: OutputCandidates, decided: np.ndarray, classes: tuple[str, ...], where: str
) -> None:
    """Raise UserError where the file's own labels show that the columns are the classes in another order.

    `decided` [rows] are indices into `classes`, as are the labels.
    """
    if labels.order is None or labels.order == classes:
        return
    differ = int((labels.indices(found, classes) != decided).sum())
    if 2 * differ > len(decided):
        raise UserError(
            f"{where}: by the order of `classes`, {', '.join(classes)}, the model's scores decide otherwise than its "
            f"own output {labels.output!r} in {differ:,} of {len(decided):,} rows; its labels say that the order is "
            f"{', '.join(labels.order)}."
        )


def disagreement(
    labels: np.ndarray,
    decided: np.ndarray,
    score: np.ndarray | None,
    threshold: float,
    output: str,
    task: Task,
    where: str,
) -> str | None:
    """Return a sentence on the rows where the file's own labels are not what is decided; None where they are.

    Parameters
    ----------
    labels, decided
        [rows], indices into the classes of the task.
    score
        The probability of the positive class [rows], where a threshold decides: rows on it are ties.
    """
    other = labels != decided
    if score is not None:
        other &= np.abs(score - threshold) > 1e-6
    if not other.any():
        return None
    rule = "by the most probable class"
    remedy = f"`output: {output}` in {where} takes its labels as decisions"
    if score is not None and task.positive is not None:
        rule = f"at p({task.positive}) >= {threshold:g}"
        own = labels == task.classes.index(task.positive)
        low = float(score[~own].max(initial=0.0))
        high = float(score[own].min(initial=1.0))
        if low < high:
            remedy = f"`threshold: {_between(low, high):g}` in {where} decides as its labels do, and {remedy}"
    return (
        f"its own output {output!r} names another class in {int(other.sum()):,} of {len(decided):,} rows than is decided "
        f"{rule}; {remedy}"
    )


def _between(low: float, high: float) -> float:
    """Return the shortest number above `low` and at most `high`."""
    for digits in range(1, 17):
        middle = round((low + high) / 2, digits)
        if low < middle <= high:
            return middle
    return high


def _attributes(file: ExternalOnnxFile, output: Output) -> tuple[str, ...] | None:
    """Return the classes that the operator behind the scores names, in the order of its columns."""
    if isinstance(output, tuple):
        return None
    for node in file.origin(output):
        for attribute in node.attribute:
            if attribute.name in _ATTRIBUTES:
                values = [s.decode("utf-8", "replace") for s in attribute.strings] or list(attribute.ints)
                if values:
                    return tuple(str(v) for v in values)
        if node.op_type not in (*PASSING, "Softmax", "Sigmoid"):
            return None
    return None


def _called(
    file: ExternalOnnxFile, found: OutputCandidates, output: Output, task: Task, count: int
) -> tuple[str, ...] | None:
    """Return what the file calls its columns where these are other names than the task's classes; else None.

    Its labels are spelled so too: classes 1 and 0 of a file whose columns somebody says are yes and no.
    """
    if isinstance(output, tuple):
        return None
    values = found.values[output]
    own = tuple(map(str, values[0])) if isinstance(values, list) else _attributes(file, output)
    return own if own is not None and len(own) == count and _matched(own, task) is None else None


def _names_of_outputs(output: Output, task: Task) -> tuple[str, ...] | None:
    """Return the classes in the names of outputs that hold one each: yes, or syes and i1 as sklearn-onnx writes them."""
    if isinstance(output, str):
        return None
    for names in (output, tuple(n[1:] for n in output if n[:1] in "is")):
        if len(names) == len(output) and _matched(names, task) is not None:
            return tuple(names)
    return None


def _matched(names: Sequence[str], task: Task) -> tuple[str, ...] | None:
    """Return the task's classes in the order of these names of theirs; None unless each names one of them."""
    found = tuple(resolve(n, task.classes) or "" for n in names)
    return found if sorted(found) == sorted(task.classes) else None


def _positions(names: Sequence[str], task: Task) -> bool:
    """Return whether names only count the classes: 0, 1, … none of which is a class itself."""
    counted = [class_key(n) for n in names] == [float(i) for i in range(len(task.classes))]
    return counted and not any(resolve(n, task.classes) in task.classes for n in names)


def _resolved(values: Any, task: Task) -> bool:
    """Return whether labels are spelled as classes, and do not only count them."""
    return all(resolve(v, task.classes) in task.classes for v in np.unique(values.astype(str)).tolist())


def _in_order(name: str) -> tuple[float, str]:
    """Order classes as sorting programs do: numbers by size, then text."""
    key = class_key(name)
    return (key, "") if isinstance(key, float) else (float("inf"), name)


def _given_away(flat: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the class of each column that labels [rows], indices into `classes`, give away; None where they do not."""
    both = np.concatenate([-flat, flat], axis=1) if flat.shape[1] == 1 else flat
    if both.shape[1] != len(classes) or not np.isfinite(both).all():
        return None
    return _by_largest(both, labels, classes) or _by_lift(both, labels, classes)


def _by_largest(flat: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the order where every row has the label of its largest column; the only class left is the only column left."""
    top = flat.argmax(axis=1)
    each = [np.unique(labels[top == i]).tolist() for i in range(len(classes))]
    known = [e[0] for e in each if len(e) == 1]
    if any(len(e) > 1 for e in each) or len(set(known)) < len(known) or len(known) < len(classes) - 1:
        return None
    (left,) = set(range(len(classes))) - set(known) or {-1}
    return tuple(classes[e[0] if e else left] for e in each)


def _by_lift(flat: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the order in which every column is higher in the rows of its class than in the others, most of all columns."""
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
