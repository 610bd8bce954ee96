"""A user's own table as a dataset, by a few lines of YAML and no code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from fairpress.core.errors import UserError
from fairpress.datasets.base import Dataset
from fairpress.datasets.build import build
from fairpress.datasets.columns import Column, column, read_table
from fairpress.datasets.encode import Encoder
from fairpress.datasets.roles import (
    MOST_VALUES,
    groups_of,
    named,
    official_parts,
    raise_all,
    refuse_label,
    refuse_unknown,
    task_of,
)
from fairpress.datasets.table_config import Place, Table
from fairpress.datasets.yaml_places import place


def load(options: Table, at: Place) -> Dataset:
    """Return the dataset of a table; raises UserError saying what is wrong in it."""
    file = at.folder / Path(options.path).expanduser()
    table = read_table(file, options.separator)
    where = str(file)
    refuse_unknown(_mentioned(options), table.column_names, at, where)
    if not options.read_as_features(table.column_names):
        raise UserError(
            f"{place(at.document, ('all_but',), at.name)}: all_but leaves no column to learn from."
        )
    label = column(table, options.label, where)
    features = [column(table, f, where) for f in options.read_as_features(table.column_names)]
    attributes = {n: (a, column(table, a.column or n, where)) for n, a in options.sensitive.items()}
    subject = column(table, options.subject, where) if options.subject else None
    split = column(table, options.split, where) if options.split else None
    keep, notes = _complete([label, *features], options, where)
    label, features = label.at(keep), [f.at(keep) for f in features]
    raise_all(_unusable(features, options, where))
    groups = {n: groups_of(n, a, c.at(keep), where) for n, (a, c) in attributes.items()}
    task, labels = task_of(label, options, where)
    for attribute, values in groups.items():
        refuse_label(attribute, values, labels, options.label, where)
    rows = np.char.mod("%d", keep + 1)
    return build(
        name=at.name,
        task=task,
        inputs=_encode(features, options),
        labels=labels,
        attributes=groups,
        subjects=rows if subject is None else named(subject.at(keep), rows, where, "subject"),
        row_ids=rows,
        options=options,
        official=None if split is None else official_parts(split.at(keep), rows, where),
        notes=(f"Source: {Path(options.path).name}, {table.num_rows:,} rows.", *notes),
        config=at.config,
        unprinted=("path",),
    )


def _mentioned(options: Table) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield where the options name a column, and which."""
    yield from options.mentioned()
    for role in ("features", "all_but", "categorical"):
        yield from (((role, i), wanted) for i, wanted in enumerate(getattr(options, role) or ()))


def _complete(columns: Sequence[Column], options: Table, where: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the indices of the rows to keep and a note on those left out; refuse gaps unless told to drop."""
    gaps = [c for c in columns if c.missing.any()]
    if gaps and options.missing == "refuse":
        raise_all(
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
