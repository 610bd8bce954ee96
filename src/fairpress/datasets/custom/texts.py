"""A user's own texts as a dataset: a table with a column of texts, by a few lines of YAML."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fairpress.core.errors import UserError
from fairpress.datasets.assemble import assemble
from fairpress.datasets.custom.column_roles import (
    groups_of,
    official_parts,
    raise_all,
    refuse_label_as_attribute,
    refuse_unknown,
    require_values,
    similar_group_notes,
    task_of,
)
from fairpress.datasets.custom.columns import Column, Missing, column
from fairpress.datasets.custom.messages import missing_notes, name_notes
from fairpress.datasets.custom.person_ids import undeclared_people
from fairpress.datasets.custom.quotation_marks import lines_like_rows, quotes_are_characters
from fairpress.datasets.custom.table_config import ConfigLocation
from fairpress.datasets.custom.table_file import TEXT_FILES, read_table, separator_of
from fairpress.datasets.custom.texts_config import TextTable
from fairpress.datasets.dataset import Dataset, Part
from fairpress.datasets.texts.inputs import Texts
from fairpress.datasets.texts.repeated import text_numbers


def load(options: TextTable, location: ConfigLocation) -> Dataset:
    """Return the dataset of a table of texts; raises UserError if it is invalid."""
    file = location.folder / Path(options.path).expanduser()
    missing = Missing(options.missing_spellings, options.not_missing)
    quoted = not (_has_tabs(file, options.separator) and quotes_are_characters(file))
    table = read_table(file, options.separator, missing, quoted=quoted)
    source_name = str(file)
    refuse_unknown(options.mentioned(), table.column_names, location, source_name)

    def read(name: str) -> Column:
        return column(table, name, source_name, missing)

    columns = [column(table, name, source_name, missing, max_length=None) for name in options.text]
    label, attributes = read(options.label), {n: read(a.column or n) for n, a in options.sensitive.items()}
    raise_all(_unusable(columns, source_name))
    texts = _joined(columns)
    keep, left_out = _complete(texts, label, options, source_name)
    kept = [texts[i] for i in keep.tolist()]
    task, labels, more = task_of(label.take(keep), options, source_name)
    groups = {}
    for name, attribute in options.sensitive.items():
        groups[name] = groups_of(name, attribute, attributes[name].take(keep), source_name)
        refuse_label_as_attribute(name, groups[name], labels, options.label, source_name)
    rows = np.char.mod("%d", keep + 1)
    subject, split = (
        None if name is None else read(name).take(keep) for name in (options.subject, options.split)
    )
    official = None if split is None else official_parts(split, rows, source_name)
    if subject is None:
        subjects, equal_note = _equal_texts(kept, rows, official)
    else:
        subjects, equal_note = require_values(subject, rows, source_name, "subject"), []
    used = [*columns, label, *attributes.values(), *([] if subject is None else [subject])]
    return assemble(
        name=location.name,
        task=task,
        inputs=Texts(kept),
        labels=labels,
        attributes=groups,
        subjects=subjects,
        row_ids=rows,
        options=options,
        official=official,
        notes=(
            f"Source: {file.name}, {table.num_rows:,} rows.",
            *_reading_notes(options, quoted),
            *_swallowed_rows(kept, rows, table.column_names, label, options, file),
            *left_out,
            *missing_notes(file, options.separator, used, missing, quoted=quoted),
            *name_notes(table.column_names, [c.name for c in used]),
            *more,
            *similar_group_notes(groups),
            *equal_note,
        ),
        config=location.config,
        unprinted=("path",),
        warnings=() if subject else undeclared_people(table, options, keep, groups, options.text),
    )


def _has_tabs(file: Path, separator: str) -> bool:
    return file.suffix.lower() in TEXT_FILES and separator_of(file, separator) == "\t" and file.is_file()


def _unusable(columns: Sequence[Column], source_name: str) -> list[str]:
    """Return a sentence for each column that does not hold texts."""
    import pyarrow as pa

    sentences = []
    for one in columns:
        subject = f"{source_name}: column {one.name!r}"
        if one.missing.all():
            sentences.append(f"{subject} is empty in every row; name the column that holds the texts.")
        elif one.numbers is not None:
            sentences.append(
                f"{subject} holds numbers, not texts; name a column of texts, or describe a table of numbers by "
                "`features` in place of `text`."
            )
        elif not (pa.types.is_string(one.values.type) or pa.types.is_large_string(one.values.type)):
            sentences.append(f"{subject} holds {one.values.type}, not texts; name a column of texts.")
    return sentences


def _joined(columns: Sequence[Column]) -> list[str]:
    """Return the text of each row: those of its columns that are not blank, joined by line breaks."""
    values = [one.values.to_pylist() for one in columns]
    return ["\n".join(v for v in row if v is not None and v.strip()) for row in zip(*values, strict=True)]


def _complete(
    texts: Sequence[str], label: Column, options: TextTable, source_name: str
) -> tuple[np.ndarray, list[str]]:
    """Return the indices of the rows with text and label, and notes on the others, which are refused unless dropped."""
    blank = np.array([not text for text in texts], dtype=bool)
    names = " and ".join(repr(name) for name in options.text)
    what = f"column {names}" if len(options.text) == 1 else f"columns {names}, all of them,"
    gaps = [
        (f"{what} are blank" if len(options.text) > 1 else f"{what} is blank", blank),
        (f"column {label.name!r} is missing", label.missing),
    ]
    gaps = [(sentence, where) for sentence, where in gaps if where.any()]
    if options.refuses_missing:
        remedy = "`missing_rows: drop`" if options.missing_rows else "`missing: drop`"
        raise_all(
            f"{source_name}: {sentence} in {int(where.sum()):,} of {len(where):,} rows, the first in row "
            f"{int(where.argmax()) + 1}; fill them in, or set {remedy}."
            for sentence, where in gaps
        )
    keep = np.flatnonzero(~(blank | label.missing))
    if not len(keep):
        raise UserError(
            f"{source_name}: no row has both a text and a label; name the columns that hold them."
        )
    return keep, [f"{int(where.sum()):,} rows are left out, in which {sentence}." for sentence, where in gaps]


def _reading_notes(options: TextTable, quoted: bool) -> list[str]:
    notes = []
    if len(options.text) > 1:
        names = " and ".join(repr(name) for name in options.text)
        notes.append(
            f"The text of a row is that of {names}, joined by a line break; blank ones are left out."
        )
    if not quoted:
        notes.append(
            "Quotation marks are read as characters: every line has as many tabs as the header, and the marks do not "
            "enclose whole values."
        )
    if not options.sensitive:
        notes.append("No sensitive attribute is named, so that nothing can be audited by group.")
    return notes


def _swallowed_rows(
    texts: Sequence[str],
    rows: np.ndarray,
    names: Sequence[str],
    label: Column,
    options: TextTable,
    file: Path,
) -> list[str]:
    """Return a note if texts hold lines that look like rows of the table, as where a quotation mark is not closed."""
    if file.suffix.lower() not in TEXT_FILES:
        return []
    separator, classes = separator_of(file, options.separator), set(np.unique(label.text).tolist())
    alike = lines_like_rows(texts, separator, len(names), list(names).index(options.label), classes)
    if not len(alike):
        return []
    return [
        f"{len(alike):,} texts hold lines that look like rows of the table, the first in row {rows[alike[0]]}: if a "
        "quotation mark is not closed there, the rows after it have become part of the text; correct the file."
    ]


def _equal_texts(
    texts: Sequence[str], rows: np.ndarray, official: dict[Part, np.ndarray] | None
) -> tuple[np.ndarray, list[str]]:
    """Return the subject of each row, which rows with equal texts share within an official part, and a note on them."""
    same = text_numbers(texts)
    _, first = np.unique(same, return_index=True)
    subjects, repeated = rows[first][same], len(texts) - len(first)
    if official is not None:
        part_of = np.empty(len(texts), dtype=object)
        for part, index in official.items():
            part_of[index] = part
        subjects = np.array([f"{part} {name}" for part, name in zip(part_of, subjects, strict=True)])
    if not repeated:
        return subjects, []
    where = "are one subject" if official is not None else "are one subject and in one part"
    return subjects, [f"{repeated:,} rows repeat the text of an earlier row; rows with equal texts {where}."]
