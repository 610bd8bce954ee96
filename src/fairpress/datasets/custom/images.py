"""A user's own images as a dataset: any folder and a table with a row for each, by a few lines of YAML."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fairpress.core.errors import UserError
from fairpress.datasets.assemble import assemble
from fairpress.datasets.custom.column_roles import (
    alike_notes,
    groups_of,
    named,
    official_parts,
    refuse_label,
    refuse_unknown,
    task_of,
)
from fairpress.datasets.custom.columns import Column, Missing, column, read_table
from fairpress.datasets.custom.images_config import Images
from fairpress.datasets.custom.messages import missing_notes
from fairpress.datasets.custom.table_config import ConfigLocation
from fairpress.datasets.dataset import Dataset
from fairpress.datasets.download.sources import Say
from fairpress.datasets.images.cache import decode_all
from fairpress.datasets.images.messages import left_out_note, prepared_note, refuse_unreadable


def load(options: Images, at: ConfigLocation, say: Say) -> Dataset:
    """Return the dataset of images; raises UserError saying what is wrong in the table or the files."""
    file = at.folder / Path(options.path).expanduser()
    folder = file.parent if options.folder is None else at.folder / Path(options.folder).expanduser()
    missing = Missing(options.missing_spellings, options.not_missing)
    table = read_table(file, options.separator, missing)
    where = str(file)
    refuse_unknown(_mentioned(options), table.column_names, at, where)
    if not folder.is_dir():
        raise UserError(
            f"{at.name}: there is no folder {folder}; name the one that holds the images under `folder`."
        )

    def read(name: str) -> Column:
        return column(table, name, where, missing)

    label, attributes = read(options.label), {n: read(a.column or n) for n, a in options.sensitive.items()}
    numbers = np.char.mod("%d", np.arange(1, table.num_rows + 1))
    paths = named(read(options.image), numbers, where, "image")
    _refuse_repeated(paths, where)
    labelled, notes = _labelled(label, options, where)
    pixels = decode_all(folder, paths[labelled].tolist(), options.size, say)
    if options.refuses_missing:
        refuse_unreadable(where, pixels.unreadable, len(labelled), f"or say {_remedy(options)}")
    elif pixels.unreadable:
        notes.append(left_out_note(pixels.unreadable, len(labelled), "cannot be read"))
    keep = labelled[pixels.rows]
    if not len(keep):
        raise UserError(
            f"{where}: not one of its images can be read in {folder}; name their folder under `folder`."
        )
    task, labels, more = task_of(label.at(keep), options, where)
    groups = {}
    for name, attribute in options.sensitive.items():
        groups[name] = groups_of(name, attribute, attributes[name].at(keep), where)
        refuse_label(name, groups[name], labels, options.label, where)

    subject, split = (
        None if name is None else read(name).at(keep) for name in (options.subject, options.split)
    )
    return assemble(
        name=at.name,
        task=task,
        inputs=pixels,
        labels=labels,
        attributes=groups,
        subjects=pixels.digests if subject is None else named(subject, numbers[keep], where, "subject"),
        row_ids=paths[keep],
        options=options,
        official=None if split is None else official_parts(split, numbers[keep], where),
        notes=(
            f"Source: {Path(options.path).name}, {table.num_rows:,} images.",
            prepared_note(options.size),
            *notes,
            *missing_notes(file, options.separator, [label, *attributes.values()], missing),
            *more,
            *alike_notes(groups),
        ),
        config=at.config,
        unprinted=("path", "folder"),
    )


def _remedy(options: Images) -> str:
    return "`missing_rows: skip`" if options.missing_rows else "`missing: skip`"


def _mentioned(options: Images) -> Iterator[tuple[tuple[str | int, ...], str]]:
    yield from options.mentioned()
    yield ("image",), options.image


def _refuse_repeated(paths: np.ndarray, where: str) -> None:
    names, first, counts = np.unique(paths, return_index=True, return_counts=True)
    if len(names) < len(paths):
        again = int(counts.argmax())
        raise UserError(
            f"{where}: the image {names[again]!r} stands in {counts[again]} rows, first in row {first[again] + 1}; each "
            "image needs a row of its own."
        )


def _labelled(label: Column, options: Images, where: str) -> tuple[np.ndarray, list[str]]:
    """Return the indices of the rows that have a label, and a note on the others."""
    count = int(label.missing.sum())
    if count and options.refuses_missing:
        raise UserError(
            f"{where}: column {label.name!r} has {count:,} missing values, the first in row "
            f"{int(label.missing.argmax()) + 1}; fill them in, or say {_remedy(options)}."
        )
    notes = [f"{count:,} images are left out because they have no {label.name!r}."] if count else []
    return np.flatnonzero(~label.missing), notes
