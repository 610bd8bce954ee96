"""A user's own table as a dataset, by a few lines of YAML and no code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fairpress.core.config import parse, read_yaml
from fairpress.core.errors import UserError, did_you_mean
from fairpress.datasets.base import PARTS, Dataset, Part, Task
from fairpress.datasets.build import build
from fairpress.datasets.columns import Column, column, read_table
from fairpress.datasets.encode import Encoder
from fairpress.datasets.groups import binned
from fairpress.datasets.table_config import Attribute, Table
from fairpress.datasets.yaml_places import place

MISSING_GROUP = "(missing)"
MOST_VALUES = 200  # of a category or a sensitive attribute; above it a column is a name or a number
MOST_CLASSES = 1000


def load_yaml(path: str, overrides: Mapping[str, Any]) -> Dataset:
    """Return the dataset that a YAML file describes; see `Table` for its keys.

    Parameters
    ----------
    path
        The YAML file.
    overrides
        Options that replace or add to those in the file, such as ``folds``.

    Raises
    ------
    UserError
        Every error of the YAML at once, with line and column; or what is wrong in the table.
    """
    document = read_yaml(path)
    if isinstance(document, dict):
        document.update(overrides)
    options = parse(Table, document, path)
    dumped = options.model_dump(mode="json")
    config = {key: dumped[key] for key in overrides}
    return _dataset(options, Path(path).parent, path, config, document)


def load_options(options: Table) -> Dataset:
    """Return the dataset of options given in Python; a relative path starts from the working directory."""
    return _dataset(options, Path(), "table", options.model_dump(mode="json"), None)


def _dataset(
    options: Table, folder: Path, name: str, config: Mapping[str, Any], document: Mapping[str, Any] | None
) -> Dataset:
    file = folder / Path(options.path).expanduser()
    table = read_table(file, options.separator)
    where = str(file)
    _refuse_unknown(options, table.column_names, document, name, where)
    label = column(table, options.label, where)
    features = [column(table, f, where) for f in options.read_as_features(table.column_names)]
    attributes = {n: (a, column(table, a.column or n, where)) for n, a in options.sensitive.items()}
    subject = column(table, options.subject, where) if options.subject else None
    split = column(table, options.split, where) if options.split else None
    keep, notes = _complete([label, *features], options, where)
    label, features = label.at(keep), [f.at(keep) for f in features]
    _raise(_unusable(features, options, where))
    groups = {n: _groups(n, a, c.at(keep), where) for n, (a, c) in attributes.items()}
    task, labels = _task(label, options, where)
    for attribute, values in groups.items():
        _refuse_label(attribute, values, labels, options.label, where)
    rows = np.char.mod("%d", keep + 1)
    return build(
        name=name,
        task=task,
        inputs=_encode(features, options),
        labels=labels,
        attributes=groups,
        subjects=rows if subject is None else _named(subject.at(keep), rows, where, "subject"),
        row_ids=rows,
        options=options,
        official=None if split is None else _official(split.at(keep), rows, where),
        notes=(f"Source: {Path(options.path).name}, {table.num_rows:,} rows.", *notes),
        config=config,
        unprinted=("path",),
    )


def _refuse_unknown(
    options: Table, names: Sequence[str], document: Mapping[str, Any] | None, yaml: str, where: str
) -> None:
    """Refuse every column that the options name and the file does not have, all at once."""
    problems = [
        f"{place(document, path, yaml)}: {where} has no column {wanted!r}." + did_you_mean(wanted, names)
        for path, wanted in _mentioned(options)
        if wanted not in names
    ]
    _raise(problems)
    if not options.read_as_features(list(names)):
        raise UserError(f"{place(document, ('all_but',), yaml)}: all_but leaves no column to learn from.")


def _mentioned(options: Table) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield where the options name a column, and which."""
    for role in ("label", "subject", "split"):
        if getattr(options, role) is not None:
            yield (role,), getattr(options, role)
    for role in ("features", "all_but", "categorical"):
        yield from (((role, i), wanted) for i, wanted in enumerate(getattr(options, role) or ()))
    for i, (name, attribute) in enumerate(options.sensitive.items()):
        yield (
            ("sensitive", name, "column") if attribute.column else ("sensitive", name, i),
            attribute.column or name,
        )


def _complete(columns: Sequence[Column], options: Table, where: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the indices of the rows to keep and a note on those left out; refuse gaps unless told to drop."""
    gaps = [c for c in columns if c.missing.any()]
    if gaps and options.missing == "refuse":
        _raise(
            f"{where}: column {c.name!r} has {int(c.missing.sum()):,} missing values, the first in row "
            f"{int(c.missing.argmax()) + 1}; fill them in, leave the column out, or say `missing: drop`."
            for c in gaps
        )
    missing = np.any([c.missing for c in columns], axis=0)
    keep = np.flatnonzero(~missing)
    if not len(keep):
        raise UserError(f"{where}: every row has a missing value; leave out the columns that are empty.")
    if not gaps:
        return keep, ()
    names = ", ".join(repr(c.name) for c in gaps)
    return keep, (f"{int(missing.sum()):,} rows are left out, where {names} is missing.",)


def _unusable(features: Sequence[Column], options: Table, where: str) -> Iterator[str]:
    """Yield a sentence for each feature that cannot be read by a network."""
    for feature in features:
        here = f"{where}: column {feature.name!r}"
        if feature.numbers is not None and feature.name not in options.categorical:
            endless = ~(np.abs(feature.numbers) <= np.finfo(np.float32).max)
            if endless.any():
                yield f"{here} has {int(endless.sum()):,} values that are infinite or beyond float32; mend them."
        elif feature.odd is not None and feature.name not in options.categorical:
            yield (
                f"{here} holds numbers and text, {feature.odd_text!r} in row {feature.odd + 1}; mend it, or list "
                "the column under `categorical`."
            )
        elif (count := len(np.unique(feature.text))) > MOST_VALUES:
            yield (
                f"{here} has {count:,} different texts, too many for a category (at most {MOST_VALUES}); leave it "
                "out by `all_but`, or make it coarser."
            )


def _encode(features: Sequence[Column], options: Table) -> Encoder:
    inputs = Encoder()
    for feature in features:
        if feature.numbers is not None and feature.name not in options.categorical:
            inputs.number(feature.name, feature.numbers)
        else:
            inputs.category(feature.name, feature.text, np.unique(feature.text).tolist())
    return inputs


def _groups(name: str, attribute: Attribute, values: Column, where: str) -> np.ndarray:
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


def _task(label: Column, options: Table, where: str) -> tuple[Task, np.ndarray]:
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


def _refuse_label(name: str, groups: np.ndarray, labels: np.ndarray, label: str, where: str) -> None:
    """Refuse an attribute that is the label under another name: each group one class, each class one group."""
    group, count = np.unique(groups, return_inverse=True)
    pairs = {(int(g), int(y)) for g, y in zip(count.reshape(-1), labels, strict=True)}
    if len(group) > 1 and len(pairs) == len(group) == len(np.unique(labels)):
        raise UserError(
            f"{where}: the sensitive attribute {name!r} says the same as the label {label!r} in every row; an audit "
            "by it says nothing. Name another attribute."
        )


def _named(values: Column, rows: np.ndarray, where: str, role: str) -> np.ndarray:
    if values.missing.any():
        raise UserError(
            f"{where}: the {role} column {values.name!r} has {int(values.missing.sum()):,} missing values, the "
            f"first in row {rows[values.missing][0]}; every row needs one."
        )
    return values.text


def _official(split: Column, rows: np.ndarray, where: str) -> dict[Part, np.ndarray]:
    text = _named(split, rows, where, "split")
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


def _raise(problems: Iterator[str] | Sequence[str]) -> None:
    sentences = list(problems)
    if sentences:
        raise UserError("\n".join(sentences))
