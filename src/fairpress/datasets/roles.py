"""The columns of a user's table that say what is predicted, of whom, and which part a row is in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from fairpress.core.errors import UserError, did_you_mean
from fairpress.datasets.base import PARTS, Part, Task
from fairpress.datasets.columns import Column
from fairpress.datasets.groups import binned
from fairpress.datasets.table_config import Attribute, Described, Place
from fairpress.datasets.yaml_places import place

MISSING_GROUP = "(missing)"
MOST_VALUES = 200  # of a category or a sensitive attribute; above it a column is a name or a number
MOST_CLASSES = 1000


def refuse_unknown(
    mentioned: Iterable[tuple[tuple[str | int, ...], str]], names: Sequence[str], at: Place, where: str
) -> None:
    """Refuse every column that the options name and the file does not have, all at once."""
    raise_all(
        f"{place(at.document, path, at.name)}: {where} has no column {wanted!r}."
        + did_you_mean(wanted, names)
        for path, wanted in mentioned
        if wanted not in names
    )


def groups_of(name: str, attribute: Attribute, values: Column, where: str) -> np.ndarray:
    """Return the group of each row; a missing value is a group of its own."""
    if attribute.bins:
        if values.numbers is None:
            raise UserError(
                f"{where}: column {values.name!r} is not all numbers, so {name!r} cannot have bins."
            )
        groups = binned(values.numbers, attribute.bins, attribute.group_names())
    else:
        groups = values.text
    groups = np.where(values.missing, MISSING_GROUP, groups)
    count = len(np.unique(groups))
    if count > MOST_VALUES:
        raise UserError(
            f"{where}: the sensitive attribute {name!r} has {count:,} groups (at most {MOST_VALUES}); "
            f"give `bins`, or name a coarser column."
        )
    return groups


def task_of(label: Column, options: Described, where: str) -> tuple[Task, np.ndarray]:
    """Return the task and the labels as indices into its classes: the positive class of two comes last."""
    found = np.unique(label.text).tolist()
    if options.classes:
        other = ~np.isin(label.text, options.classes)
        if other.any():
            raise UserError(
                f"{where}: column {label.name!r} has {int(other.sum()):,} values that are not among `classes`, "
                f"such as {str(label.text[other][0])!r}; mend them, or list them."
            )
    classes = list(options.classes) or found
    if len(classes) > MOST_CLASSES:
        raise UserError(
            f"{where}: the label {label.name!r} has {len(classes):,} different values, so it is a quantity and no "
            "class; name a column of classes."
        )
    if len(found) == 1:
        raise UserError(
            f"{where}: the label {label.name!r} is {found[0]!r} in every row; two classes are needed."
        )
    if options.positive is None and len(classes) == 2:
        raise UserError(
            f"{where}: the label {label.name!r} has two classes, {classes[0]!r} and {classes[1]!r}; say which one "
            f"the rates speak of, such as `positive: {classes[1]}`."
        )
    if len(classes) == 2 and options.positive == classes[0] and not options.classes:
        classes.reverse()
    task = Task(label.name, tuple(classes), options.positive)
    at = {name: i for i, name in enumerate(classes)}
    return task, np.array([at[value] for value in label.text.tolist()], dtype=np.int64)


def refuse_label(name: str, groups: np.ndarray, labels: np.ndarray, label: str, where: str) -> None:
    """Refuse an attribute that is the label under another name: each group one class, each class one group."""
    group, count = np.unique(groups, return_inverse=True)
    pairs = {(int(g), int(y)) for g, y in zip(count.reshape(-1), labels, strict=True)}
    if len(group) > 1 and len(pairs) == len(group) == len(np.unique(labels)):
        raise UserError(
            f"{where}: the sensitive attribute {name!r} says the same as the label {label!r} in every row; an audit "
            "by it says nothing. Name another attribute."
        )


def named(values: Column, rows: np.ndarray, where: str, role: str) -> np.ndarray:
    """Return a column that must have a value in every row."""
    if values.missing.any():
        raise UserError(
            f"{where}: the {role} column {values.name!r} has {int(values.missing.sum()):,} missing values, the "
            f"first in row {rows[values.missing][0]}; every row needs one."
        )
    return values.text


def official_parts(split: Column, rows: np.ndarray, where: str) -> dict[Part, np.ndarray]:
    """Return the parts that the split column names."""
    text = named(split, rows, where, "split")
    other = ~np.isin(text, PARTS)
    if other.any():
        value = str(text[other][0])
        raise UserError(
            f"{where}: the split column {split.name!r} says {value!r} in row {rows[other][0]}, which is no part."
            + did_you_mean(value, PARTS)
        )
    if "train" not in text:
        raise UserError(f"{where}: the split column {split.name!r} has no train rows.")
    return {part: np.flatnonzero(text == part) for part in PARTS if part in text}


def raise_all(problems: Iterable[str]) -> None:
    """Raise one UserError of all sentences, where there are any."""
    sentences = list(problems)
    if sentences:
        raise UserError("\n".join(sentences))
