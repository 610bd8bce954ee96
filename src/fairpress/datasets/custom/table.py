"""A user's own table as a dataset, by a few lines of YAML and no code."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from fairpress.core.errors import UserError
from fairpress.datasets.assemble import assemble
from fairpress.datasets.custom.categories import encode_features
from fairpress.datasets.custom.column_roles import (
    groups_of,
    official_parts,
    raise_all,
    refuse_unknown,
    require_values,
    similar_group_notes,
)
from fairpress.datasets.custom.columns import Column, Missing, Spellings, column
from fairpress.datasets.custom.label_columns import label_strata, refuse_labels_as_attributes, task_and_labels
from fairpress.datasets.custom.messages import is_placeholder, missing_notes, name_notes
from fairpress.datasets.custom.person_ids import undeclared_people
from fairpress.datasets.custom.table_config import ConfigLocation, Table
from fairpress.datasets.custom.table_file import read_table
from fairpress.datasets.dataset import Dataset
from fairpress.datasets.splits import split


def load(options: Table, location: ConfigLocation) -> Dataset:
    """Return the dataset of a table; raises UserError if it is invalid."""
    file = location.folder / Path(options.path).expanduser()
    missing = Missing(options.missing_spellings, options.not_missing)
    table = read_table(file, options.separator, missing)
    source_name = str(file)
    refuse_unknown(_mentioned(options), table.column_names, location, source_name)
    feature_names = list(dict.fromkeys(options.read_as_features(table.column_names)))
    if not feature_names:
        raise UserError(f"{location.of(('all_but',))}: all_but leaves no column to learn from.")

    def read(name: str) -> Column:
        return column(table, name, source_name, missing)

    labels_read, features = [read(name) for name in options.labels], [read(name) for name in feature_names]
    attributes = {n: (a, read(a.column or n)) for n, a in options.sensitive.items()}
    subject = read(options.subject) if options.subject else None
    split_column = read(options.split) if options.split else None
    used = [
        *labels_read,
        *features,
        *(c for _, c in attributes.values()),
        *([] if subject is None else [subject]),
    ]
    keep, notes = _complete([*labels_read, *features], options, source_name)
    notes += missing_notes(file, options.separator, used, missing)
    notes += name_notes(table.column_names, [c.name for c in used])
    labels_read, features = [c.take(keep) for c in labels_read], [f.take(keep) for f in features]
    raise_all(_unusable(features, options, source_name))
    groups = {n: groups_of(n, a, c.take(keep), source_name) for n, (a, c) in attributes.items()}
    task, labels, more = task_and_labels(labels_read, options, source_name)
    refuse_labels_as_attributes(groups, labels, options.labels, source_name)
    rows = np.char.mod("%d", keep + 1)
    subjects = rows if subject is None else require_values(subject.take(keep), rows, source_name, "subject")
    official = None if split_column is None else official_parts(split_column.take(keep), rows, source_name)
    parts = split(label_strata(labels, task), groups, subjects, options, official)
    inputs, pooled = encode_features(features, options.categorical, parts, source_name)
    return assemble(
        name=location.name,
        task=task,
        inputs=inputs,
        labels=labels,
        attributes=groups,
        subjects=subjects,
        row_ids=rows,
        options=options,
        parts=parts,
        notes=(
            f"Source: {Path(options.path).name}, {table.num_rows:,} rows.",
            *notes,
            *more,
            *similar_group_notes(groups),
            *pooled,
        ),
        config=location.config,
        unprinted=("path",),
        spellings=Spellings(features),
        warnings=() if subject else undeclared_people(table, options, keep, groups, options.categorical),
    )


def _mentioned(options: Table) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield the path of each option that names a column, and the column."""
    yield from options.mentioned()
    for role in ("features", "all_but", "categorical"):
        yield from (((role, i), column_name) for i, column_name in enumerate(getattr(options, role) or ()))


def _complete(columns: Sequence[Column], options: Table, source_name: str) -> tuple[np.ndarray, list[str]]:
    """Return the indices of the rows to keep and a note on those left out; refuse gaps unless they are to be dropped."""
    gaps = [c for c in columns if c.missing.any()]
    if gaps and options.refuses_missing:
        remedy = "`missing_rows: drop`" if options.missing_rows else "`missing: drop`"
        raise_all(
            f"{source_name}: column {c.name!r} has {int(c.missing.sum()):,} missing values, the first in row "
            f"{int(c.missing.argmax()) + 1}; fill them in, leave the column out, or set {remedy}."
            for c in gaps
        )
    missing = np.any([c.missing for c in columns], axis=0)
    keep = np.flatnonzero(~missing)
    if not len(keep):
        raise UserError(
            f"{source_name}: every row has a missing value; leave out the columns that are empty."
        )
    if not gaps:
        return keep, []
    names = ", ".join(f"{c.name!r} ({int(c.missing.sum()):,})" for c in gaps)
    return keep, [f"{int(missing.sum()):,} rows are left out, where a value is missing in {names}."]


def _unusable(features: Sequence[Column], options: Table, source_name: str) -> Iterator[str]:
    """Yield a sentence for each feature that cannot be read by a network."""
    for feature in features:
        subject = f"{source_name}: column {feature.name!r}"
        if feature.name in options.categorical:
            continue
        if feature.numbers is not None:
            endless = ~(np.abs(feature.numbers) <= np.finfo(np.float32).max)
            if endless.any():
                yield (
                    f"{subject} has {int(endless.sum()):,} values that are infinite or beyond float32; "
                    "correct them, or leave the column out."
                )
        elif feature.kind is not None:
            yield (
                f"{subject} holds {feature.kind}, neither numbers nor text; convert it, such as to a number of days, or "
                "leave it out."
            )
        elif feature.odd is not None:
            odd = json.dumps(feature.odd_text.strip(), ensure_ascii=False)
            remedy = (
                f"if it means that the value is missing, write `missing: [{odd}]`; else correct it, or list the "
                "column under "
                "`categorical`."
                if is_placeholder(feature.odd_text)
                else "correct it, or list the column under `categorical`."
            )
            yield f"{subject} holds numbers and text, {feature.odd_text!r} in row {feature.odd + 1}; {remedy}"
