"""A user's own images as a dataset: any folder and a table with a row for each, by a few lines of YAML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from fairpress.core.errors import UserError
from fairpress.core.progress import OnMessage
from fairpress.datasets.assemble import assemble
from fairpress.datasets.custom.column_roles import (
    groups_of,
    official_parts,
    refuse_unknown,
    require_values,
    similar_group_notes,
)
from fairpress.datasets.custom.columns import Column, Missing, column
from fairpress.datasets.custom.images_config import Images
from fairpress.datasets.custom.label_columns import label_strata, refuse_labels_as_attributes, task_and_labels
from fairpress.datasets.custom.messages import missing_notes
from fairpress.datasets.custom.table_config import ConfigLocation
from fairpress.datasets.custom.table_file import read_table
from fairpress.datasets.dataset import Dataset
from fairpress.datasets.images.cache import decode_all
from fairpress.datasets.images.messages import left_out_note, prepared_note, refuse_unreadable


def load(options: Images, location: ConfigLocation, on_message: OnMessage) -> Dataset:
    """Return the dataset of images; raises UserError if the table or the files are invalid."""
    file = location.folder / Path(options.path).expanduser()
    folder = file.parent if options.folder is None else location.folder / Path(options.folder).expanduser()
    missing = Missing(options.missing_spellings, options.not_missing)
    table = read_table(file, options.separator, missing)
    source_name = str(file)
    refuse_unknown(_mentioned(options), table.column_names, location, source_name)
    if not folder.is_dir():
        raise UserError(
            f"{location.name}: {folder} is not a folder; set `folder` to the one that contains the images."
        )

    def read(name: str) -> Column:
        return column(table, name, source_name, missing)

    labels_read = [read(name) for name in options.labels]
    attributes = {n: read(a.column or n) for n, a in options.sensitive.items()}
    numbers = np.char.mod("%d", np.arange(1, table.num_rows + 1))
    paths = require_values(read(options.image), numbers, source_name, "image")
    _refuse_repeated(paths, source_name)
    labelled, notes = _labelled(labels_read, options, source_name)
    pixels = decode_all(folder, paths[labelled].tolist(), options.size, on_message)
    if options.refuses_missing:
        refuse_unreadable(source_name, pixels.unreadable, len(labelled), f"or set {_remedy(options)}")
    elif pixels.unreadable:
        notes.append(left_out_note(pixels.unreadable, len(labelled), "cannot be read"))
    keep = labelled[pixels.rows]
    if not len(keep):
        raise UserError(
            f"{source_name}: none of its images can be read in {folder}; set `folder` to their folder."
        )
    task, labels, more = task_and_labels([c.take(keep) for c in labels_read], options, source_name)
    groups = {n: groups_of(n, a, attributes[n].take(keep), source_name) for n, a in options.sensitive.items()}
    refuse_labels_as_attributes(groups, labels, options.labels, source_name)

    subject, split = (
        None if name is None else read(name).take(keep) for name in (options.subject, options.split)
    )
    return assemble(
        name=location.name,
        task=task,
        inputs=pixels,
        labels=labels,
        strata=label_strata(labels, task),
        attributes=groups,
        subjects=pixels.digests
        if subject is None
        else require_values(subject, numbers[keep], source_name, "subject"),
        row_ids=paths[keep],
        options=options,
        official=None if split is None else official_parts(split, numbers[keep], source_name),
        notes=(
            f"Source: {Path(options.path).name}, {table.num_rows:,} images.",
            prepared_note(options.size),
            *notes,
            *missing_notes(file, options.separator, [*labels_read, *attributes.values()], missing),
            *more,
            *similar_group_notes(groups),
        ),
        config=location.config,
        unprinted=("path", "folder"),
    )


def _remedy(options: Images) -> str:
    return "`missing_rows: skip`" if options.missing_rows else "`missing: skip`"


def _mentioned(options: Images) -> Iterator[tuple[tuple[str | int, ...], str]]:
    yield from options.mentioned()
    yield ("image",), options.image


def _refuse_repeated(paths: np.ndarray, source_name: str) -> None:
    names, first, counts = np.unique(paths, return_index=True, return_counts=True)
    if len(names) < len(paths):
        index = int(counts.argmax())
        raise UserError(
            f"{source_name}: the image {names[index]!r} is in {counts[index]} rows, first in row {first[index] + 1}; "
            "each image needs its own row."
        )


def _labelled(labels: Sequence[Column], options: Images, source_name: str) -> tuple[np.ndarray, list[str]]:
    """Return the indices of the rows that have all labels, and notes on the others."""
    notes = []
    for label in labels:
        count = int(label.missing.sum())
        if count and options.refuses_missing:
            raise UserError(
                f"{source_name}: column {label.name!r} has {count:,} missing values, the first in row "
                f"{int(label.missing.argmax()) + 1}; fill them in, or set {_remedy(options)}."
            )
        notes += [f"{count:,} images are left out because they have no {label.name!r}."] if count else []
    return np.flatnonzero(~np.any([label.missing for label in labels], axis=0)), notes
