"""The columns of a user's table for label, sensitive attributes, subject and part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.values import class_key, near_equal, resolve
from fairpress.datasets.binning import binned
from fairpress.datasets.custom.columns import Column
from fairpress.datasets.custom.messages import similar_names_note
from fairpress.datasets.custom.table_config import AttributeConfig, ConfigLocation, TabularConfig
from fairpress.datasets.dataset import PARTS, Part, Task

MISSING_GROUP = "(missing)"
MAX_GROUPS = 200  # of a sensitive attribute; above it a column is a name or a number
MAX_CLASSES = 1000


def refuse_unknown(
    mentioned: Iterable[tuple[tuple[str | int, ...], str]],
    names: Sequence[str],
    location: ConfigLocation,
    source_name: str,
) -> None:
    """Refuse every column that the options name and the file does not have, all at once."""
    raise_all(
        f"{location.of(path)}: {source_name} has no column {column_name!r}."
        + did_you_mean(column_name, names)
        for path, column_name in mentioned
        if column_name not in names
    )


def groups_of(name: str, attribute: AttributeConfig, values: Column, source_name: str) -> np.ndarray:
    """Return the group of each row; a missing value is a group of its own."""
    if attribute.bins:
        if values.numbers is None:
            raise UserError(
                f"{source_name}: column {values.name!r} is not all numbers, so {name!r} cannot have bins."
            )
        groups = binned(values.numbers, attribute.bins, attribute.group_names())
    else:
        groups = values.text
    groups = np.where(values.missing, MISSING_GROUP, groups)
    count = len(np.unique(groups))
    if count > MAX_GROUPS:
        raise UserError(
            f"{source_name}: the sensitive attribute {name!r} has {count:,} groups (at most {MAX_GROUPS}); "
            f"give `bins`, or name a coarser column."
        )
    return groups


def refuse_similar_classes(label: Column, options: TabularConfig, source_name: str) -> None:
    """Refuse classes that differ only in case, blanks or a trailing dot, unless `classes` lists them all."""
    spellings = np.unique(label.text[~label.missing]).tolist()
    for alike in near_equal(spellings):
        if len({class_key(name) for name in alike}) > 1 and not set(alike) <= set(options.classes):
            names = " and ".join(repr(name) for name in alike)
            raise UserError(
                f"{source_name}: the label {label.name!r} has the classes {names}, which differ in case, blanks or a "
                f"trailing dot "
                "only; write them the same way in the table, or list them under `classes` if they are different."
            )


def task_of(label: Column, options: TabularConfig, source_name: str) -> tuple[Task, np.ndarray, list[str]]:
    """Return the task, the labels as indices into its classes, and notes: the positive class of two comes last."""
    spellings, index, counts = np.unique(label.text, return_inverse=True, return_counts=True)
    if len(spellings) > MAX_CLASSES:
        raise UserError(
            f"{source_name}: the label {label.name!r} has {len(spellings):,} different values, so it is a quantity and not "
            "a class; name a column of classes."
        )
    refuse_similar_classes(label, options, source_name)
    names, notes = _names(
        label.name, dict(zip(spellings.tolist(), counts.tolist(), strict=True)), options, source_name
    )
    classes = [names.get(c, c) for c in options.classes] or sorted(set(names.values()))
    if len(set(names.values())) == 1:
        raise UserError(
            f"{source_name}: the label {label.name!r} is {str(spellings[0])!r} in every row; two classes are needed."
        )
    positive: str | None
    if options.positive_is:
        classes, names, positive = _against_the_rest(label.name, classes, names, options, source_name)
        notes.append(f"The positive class of {label.name!r} is {positive!r}; the rest is {classes[0]!r}.")
    else:
        positive = _positive(label.name, classes, options.positive, source_name)
        if len(classes) == 2 and positive == classes[0] and not options.classes:
            classes.reverse()
    task = Task(label.name, tuple(classes), positive)
    class_index = {name: i for i, name in enumerate(classes)}
    numbers = np.array([class_index[names[value]] for value in spellings.tolist()], dtype=np.int64)
    return task, numbers[index.reshape(-1)], notes


def _names(
    label: str, spelling_counts: Mapping[str, int], options: TabularConfig, source_name: str
) -> tuple[dict[str, str], list[str]]:
    """Return the class of each spelling in the table and in `classes`, and notes on spellings that are one class."""
    if options.classes:
        other = [text for text in spelling_counts if resolve(text, options.classes) is None]
        if other:
            raise UserError(
                f"{source_name}: column {label!r} has {sum(spelling_counts[t] for t in other):,} values that are not "
                f"among `classes`, "
                "such as "
                f"{other[0]!r}; correct them, or list them there."
            )
    names: dict[str, str] = {}
    spellings_of: dict[str | float | None, list[str]] = {}
    for text in sorted(spelling_counts, key=lambda text: -spelling_counts[text]):
        key = resolve(text, options.classes) if options.classes else class_key(text)
        spellings_of.setdefault(key, []).append(text)
    notes = []
    for key, texts in spellings_of.items():
        # The spelling of the table is the class's name: the one that `classes` lists if it occurs, else the commonest.
        name = str(key) if options.classes and key in texts else texts[0]
        names |= dict.fromkeys(texts, name)
        if options.classes:
            names[str(key)] = name
        others = [repr(text) for text in texts if text != name]
        if others:
            notes.append(
                f"The label {label!r} is spelled {name!r} and {', '.join(others)}, which are one class."
            )
    return names, notes


def _positive(label: str, classes: Sequence[str], requested: str | None, source_name: str) -> str | None:
    if requested is None:
        if len(classes) == 2:
            raise UserError(
                f"{source_name}: the label {label!r} has two classes, {classes[0]!r} and {classes[1]!r}; choose "
                f"the positive class, such as `positive: {classes[1]}`."
            )
        return None
    return _class(label, classes, requested)


def _class(label: str, classes: Sequence[str], requested: str) -> str:
    matched = resolve(requested, classes)
    if matched is None:
        raise UserError(f"{requested!r} is not a class of {label!r}." + did_you_mean(requested, classes))
    return matched


def _against_the_rest(
    label: str, classes: Sequence[str], names: Mapping[str, str], options: TabularConfig, source_name: str
) -> tuple[list[str], dict[str, str], str]:
    """Return the two classes of `positive_is`, the class of each spelling, and the positive class."""
    positive_names = list(dict.fromkeys(_class(label, classes, name) for name in options.positive_is))
    rest = [name for name in classes if name not in positive_names]
    if not rest:
        raise UserError(f"{source_name}: `positive_is` lists every class of {label!r}; leave one out.")
    positive = " or ".join(positive_names)
    other = rest[0] if len(rest) == 1 else "other"
    if other == positive or (len(rest) > 1 and other in classes):
        other = f"not {positive}"
    return (
        [other, positive],
        {t: positive if n in positive_names else other for t, n in names.items()},
        positive,
    )


def similar_group_notes(groups: Mapping[str, np.ndarray]) -> list[str]:
    """Return a note for each set of groups whose names differ in case, blanks or a trailing dot only."""
    return [
        similar_names_note(name, alike, "groups")
        for name, values in groups.items()
        for alike in near_equal(np.unique(values).tolist())
    ]


def refuse_label_as_attribute(
    name: str, groups: np.ndarray, labels: np.ndarray, label: str, source_name: str
) -> None:
    """Refuse an attribute that is equivalent to the label: each group one class, each class one group."""
    group, count = np.unique(groups, return_inverse=True)
    pairs = {(int(g), int(y)) for g, y in zip(count.reshape(-1), labels, strict=True)}
    if len(group) > 1 and len(pairs) == len(group) == len(np.unique(labels)):
        raise UserError(
            f"{source_name}: the sensitive attribute {name!r} is equivalent to the label {label!r} in every row, so "
            f"an audit "
            "by it is meaningless; name another attribute."
        )


def require_values(values: Column, rows: np.ndarray, source_name: str, role: str) -> np.ndarray:
    """Return a column that must have a value in every row."""
    if values.missing.any():
        raise UserError(
            f"{source_name}: the {role} column {values.name!r} has {int(values.missing.sum()):,} missing values, the "
            f"first in row {rows[values.missing][0]}; every row needs one."
        )
    return values.text


def official_parts(split: Column, rows: np.ndarray, source_name: str) -> dict[Part, np.ndarray]:
    """Return the parts that the split column names."""
    text = require_values(split, rows, source_name, "split")
    other = ~np.isin(text, PARTS)
    if other.any():
        value = str(text[other][0])
        raise UserError(
            f"{source_name}: the split column {split.name!r} is {value!r} in row {rows[other][0]}, which is not a part."
            + did_you_mean(value, PARTS)
        )
    if "train" not in text:
        raise UserError(f"{source_name}: the split column {split.name!r} has no train rows.")
    return {part: np.flatnonzero(text == part) for part in PARTS if part in text}


def raise_all(problems: Iterable[str]) -> None:
    """Raise one UserError with all sentences, if there are any."""
    sentences = list(problems)
    if sentences:
        raise UserError("\n".join(sentences))
