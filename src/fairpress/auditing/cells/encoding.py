"""Encode counted columns as cells: values become classes and groups; values that cannot be audited are refused."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fairpress.auditing.cells.cells import Cells, EncodedTable
from fairpress.auditing.cells.duckdb_source import CellCounts
from fairpress.auditing.cells.positive_class import RecordedTask, choose_positive, refuse_doubtful_positive
from fairpress.auditing.cells.query_result import DictionaryColumn
from fairpress.auditing.statistics.t_estimate import Floats
from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.values import class_key, near_equal, resolve, spelling, told_apart

MISSING = "(missing)"
_PLAIN_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_LEADING_ZERO = re.compile(r"0\d")
MAX_NUMERIC_VALUES = 20
MIN_CODE_DIGITS = 3
MAX_GROUPS = 1000
RIGHT, WRONG = "correct", "wrong"
"""A label that is `RIGHT` in every row, with predictions of these two classes: whether each answer was right."""


def build(
    cell_counts: CellCounts,
    *,
    label: str,
    attributes: Sequence[str],
    decision_columns: Mapping[str, str],
    positive: Any,
    recorded: RecordedTask | None,
    keys: Mapping[str, str],
    missing: str,
    source_name: str,
    require_explicit_positive: bool = True,
) -> Cells:
    """Check and encode the counted columns.

    Parameters
    ----------
    decision_columns
        Model → thresholded column, for models whose values are decisions (true/false) instead of classes.
    positive, recorded
        The positive class that the user named, and what the table's metadata records; each may be None.
    keys
        Role (``"subject"``, ``"seed"``, ``"row"``) → column.
    missing
        ``"group"``: a missing attribute value is a group; ``"refuse"``: an error.
    require_explicit_positive
        Refuse thresholded scores if the positive class was chosen by convention only.

    Raises
    ------
    UserError
        Missing labels, predictions or keys, a single class, an unknown class, scores instead of classes, a numeric
        attribute with many values, too many groups, or an attribute that equals the label.
    """
    rows = cell_counts.rows
    label_values = _encode_complete(
        cell_counts.columns[label], rows, f"the label column {label!r}", source_name
    )
    raw = {
        m: _encode_complete(column, rows, f"the column of model {m!r}", source_name)
        for m, column in cell_counts.models.items()
    }
    label_classes = class_names(label_values.names)
    _refuse_near_duplicates(
        [*label_classes, *(n for m, c in raw.items() if m not in decision_columns for n in c.names)],
        label,
        source_name,
    )
    labels = _rename_values(label_values, [resolve(n, label_classes) or n for n in label_values.names])
    answers = is_right_or_wrong(labels.names, [n for c in raw.values() for n in c.names])
    if len(labels.names) < 2 and not answers:
        raise UserError(
            f"{source_name}: the label {label!r} has only one class ({labels.names[0]}), but rates need two; is the "
            "table filtered?"
        )
    models = {
        m: c
        if m in decision_columns
        else _rename_values(c, [resolve(n, label_classes) or n for n in c.names])
        for m, c in raw.items()
    }
    choices = recorded is not None and recorded.no_positive
    predictions = {m: c for m, c in models.items() if m not in decision_columns}
    if answers:
        classes: tuple[str, ...] = (RIGHT, WRONG)
    elif choices:
        classes = class_names({*labels.names, *(n for c in predictions.values() for n in c.names)})
    else:
        classes = _classes(labels, predictions, source_name)
    chosen = choose_positive(labels.names, positive, recorded, label, source_name)
    if decision_columns and len(classes) > 2:
        raise UserError(
            f"{source_name}: the label {label!r} has {len(classes)} classes, but a threshold separates only two; "
            f"provide columns of classes instead of {next(iter(decision_columns))!r}."
        )
    if decision_columns and require_explicit_positive:
        refuse_doubtful_positive(chosen, classes, decision_columns.values(), source_name)
    if len(classes) > 2 and chosen.name is None and not choices:
        _refuse_stray(labels.names, models, label, source_name)
    class_index = {name: i for i, name in enumerate(classes)}
    predicted = {}
    for name, column in models.items():
        if name in decision_columns:
            # True means the positive class.
            is_positive = np.array([n == "True" for n in column.names])[column.codes]
            positive_index = class_index[str(chosen.name)]
            predicted[name] = np.where(is_positive, positive_index, 1 - positive_index)
        else:
            codes = [class_index[str(resolve(n, classes))] for n in column.names]
            predicted[name] = np.array(codes, dtype=np.int64)[column.codes]
    coded = {n: encode_attribute(cell_counts.columns[n], rows, n, missing, source_name) for n in attributes}
    for name, column in coded.items():
        if _same_partition(column, labels):
            raise UserError(
                f"{source_name}: the sensitive attribute {name!r} equals the label {label!r}; choose another attribute."
            )
    scale = rows.sum() / cell_counts.weight.sum()
    cells = Cells(
        coded,
        np.array([class_index[n] for n in labels.names], dtype=np.int64)[labels.codes],
        predicted,
        rows,
        cell_counts.weight if scale == 1 else cell_counts.weight * scale,
        cell_counts.weight_squares if scale == 1 else cell_counts.weight_squares * scale**2,
        classes,
        chosen.name,
        {
            role: _encode_key(cell_counts.columns[c], rows, f"the {role} column {c!r}", source_name)
            for role, c in keys.items()
        },
        float(scale),
        chosen.origin,
    )
    return _by_run(cells) if {"seed", "row"} <= cells.keys.keys() else cells


def _by_run(cells: Cells) -> Cells:
    """Return the combinations in the order of seeds and rows, so that values by seed are views of those of all."""
    seed, row = cells.keys["seed"], cells.keys["row"]
    return cells.select(np.argsort(seed * (row.max() + 1) + row, kind="stable"))


def code_like(
    cells: Cells,
    attributes: Mapping[str, DictionaryColumn],
    label: DictionaryColumn,
    keys: Mapping[str, DictionaryColumn],
    rows: Floats,
    weight: Floats,
    weight_squares: Floats,
) -> Cells:
    """Encode other combinations of the same table with the names of `cells`, without predictions.

    Keys are numbered in the order of their sorted texts, as in `build`.
    """

    def codes(column: DictionaryColumn, names: Sequence[str]) -> np.ndarray:
        index = {name: i for i, name in enumerate(names)}
        lookup = [index[MISSING if (t := spelling(v)) is None else t] for v in column.values]
        return np.asarray(np.array(lookup, dtype=np.int64)[column.codes])

    def classes(column: DictionaryColumn) -> np.ndarray:
        index = {name: i for i, name in enumerate(cells.classes)}
        lookup = [index[str(resolve(v, cells.classes))] for v in column.values]
        return np.asarray(np.array(lookup, dtype=np.int64)[column.codes])

    return replace(
        cells,
        attributes={
            n: EncodedTable(cells.attributes[n].names, codes(c, cells.attributes[n].names))
            for n, c in attributes.items()
        },
        label=classes(label),
        predicted={},
        rows=rows,
        weight=weight,
        weight_squares=weight_squares,
        keys={role: _encode_text(column).codes for role, column in keys.items()},
    )


def class_names(names: Collection[str]) -> tuple[str, ...]:
    """Return the sorted distinct classes; 1 and 1.0 are one class, under its shortest spelling."""
    spellings: dict[str | float, str] = {}
    for name in sorted(names, key=lambda n: (len(n), n)):
        spellings.setdefault(class_key(name), name)
    return tuple(sorted(spellings.values()))


def is_right_or_wrong(labels: Sequence[str], predicted: Sequence[str]) -> bool:
    """Return whether predictions say only whether each answer was right: every label is `RIGHT`."""
    return tuple(labels) == (RIGHT,) and set(predicted) <= {RIGHT, WRONG}


def _rename_values(column: EncodedTable, names: Sequence[str]) -> EncodedTable:
    """Rename the values of a column; values with equal names are merged."""
    unique = sorted(set(names))
    index = {name: i for i, name in enumerate(unique)}
    lookup = np.array([index[n] for n in names], dtype=np.int64)
    return EncodedTable(tuple(unique), lookup[column.codes])


def _refuse_near_duplicates(names: Sequence[str], label: str, source_name: str) -> None:
    """Refuse classes that differ only in case, blanks or a trailing dot: one of them is probably a typing error."""
    near_duplicates = near_equal(class_names(names))
    if near_duplicates:
        a, b, *_ = told_apart(near_duplicates[0])
        raise UserError(
            f"{source_name}: the classes {a} and {b} of the label {label!r} or of a model's predictions differ "
            "only in capitalization, blanks, a dot or characters that cannot be seen; spell the class the same way "
            "everywhere."
        )


def _encode_key(column: DictionaryColumn, rows: Floats, description: str, source_name: str) -> np.ndarray:
    """Number the values of a column that identifies people, seeds or rows."""
    refuse_merged(column, description, source_name)
    return _encode_complete(column, rows, description, source_name).codes


def refuse_merged(column: DictionaryColumn, description: str, source_name: str) -> None:
    """Refuse floats so large that neighboring integers have the same value."""
    if set(map(type, column.values)) <= {int, str, bool, type(None)}:
        return
    large = [v for v in column.values if isinstance(v, float) and 2**53 <= abs(v) < np.inf]
    if large or any(isinstance(v, np.float32) and abs(v) >= 2**24 for v in column.values):
        raise UserError(
            f"{source_name}: {description} holds integers as floats so large that neighboring integers are equal; "
            "store it as text or integers."
        )


def _encode_text(column: DictionaryColumn) -> EncodedTable:
    """Encode the values as sorted texts; −1 is missing."""
    if set(map(type, column.values)) == {int}:  # such as the ids of a million rows
        texts: list[str | None] = list(map(str, column.values))
    else:
        texts = [spelling(v) for v in column.values]
    names = sorted({t for t in texts if t is not None})
    index: dict[str | None, int] = {name: i for i, name in enumerate(names)} | {None: -1}
    lookup = np.fromiter(map(index.__getitem__, texts), np.int64, len(texts))
    return EncodedTable(tuple(names), lookup[column.codes])


def _encode_complete(
    column: DictionaryColumn, rows: Floats, description: str, source_name: str
) -> EncodedTable:
    coded = _encode_text(column)
    absent = coded.codes < 0
    if absent.any():
        raise UserError(
            f"{source_name}: {description} is missing in {int(rows[absent].sum()):,} of {int(rows.sum()):,} rows; "
            "drop those rows or fill in the values, knowing that this changes the audit."
        )
    return coded


def _classes(labels: EncodedTable, models: Mapping[str, EncodedTable], source_name: str) -> tuple[str, ...]:
    """Return all classes. If there are more than two, a model may predict a class that no label has."""
    label_classes = set(labels.names)
    for name, column in models.items():
        unknown = [n for n in column.names if n not in label_classes]
        if unknown and (len(label_classes) == 2 or len(unknown) > len(label_classes)):
            hint = did_you_mean(unknown[0], labels.names)
            if _is_number(unknown[0]):
                scores = f"'{name}.score' or set a threshold with `decide={{{name!r}: 'column>=0.5'}}`"
                hint = f" If it holds scores, rename the column to {scores}."
            elif "Did you mean" not in hint:
                hint = " Use the same class names for the model and the label."
            raise UserError(
                f"{source_name}: model {name!r} predicts {unknown[0]!r}, which is not a label "
                f"({', '.join(labels.names[:5])}).{hint}"
            )
    classes = (
        label_classes.union(*(c.names for c in models.values())) if len(label_classes) > 2 else label_classes
    )
    return class_names(sorted(classes))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _refuse_stray(
    labels: Sequence[str], models: Mapping[str, EncodedTable], label: str, source_name: str
) -> None:
    """Refuse a third label that no model predicts: it is probably a stray value rather than a third class."""
    predicted = set().union(*(c.names for c in models.values()))
    if len(predicted) <= 2:
        never_predicted = sorted(set(labels) - predicted)
        raise UserError(
            f"{source_name}: the label {label!r} has {len(labels)} values ({', '.join(labels[:5])}), but no model ever "
            f"predicts {never_predicted[0]!r}; correct those rows, or name the positive class for one-vs-rest rates "
            "with `positive=`."
        )


def encode_attribute(
    column: DictionaryColumn, rows: Floats, name: str, missing: str, source_name: str
) -> EncodedTable:
    refuse_merged(column, f"the sensitive attribute {name!r}", source_name)
    numbers = _count_numbers(column.values)
    if numbers > MAX_NUMERIC_VALUES:
        raise UserError(
            f"{source_name}: the sensitive attribute {name!r} is numeric with {numbers:,} values; cut it into groups "
            f"with `bins={{{name!r}: [25, 45]}}`, or write codes with a letter (r1, r2, …)."
        )
    coded = _encode_text(column)
    if len(coded.names) > MAX_GROUPS:
        raise UserError(
            f"{source_name}: the sensitive attribute {name!r} has {len(coded.names):,} groups (at most "
            f"{MAX_GROUPS:,}); choose a coarser column."
        )
    absent = coded.codes < 0
    if not absent.any():
        return coded
    if missing == "refuse":
        raise UserError(
            f"{source_name}: the sensitive attribute {name!r} is missing in {int(rows[absent].sum()):,} of "
            f"{int(rows.sum()):,} rows; fill in the values, or use `missing='group'` to audit these rows as a "
            "separate group."
        )
    names = tuple(sorted({*coded.names, MISSING}))
    lookup = np.array([names.index(n) for n in coded.names] + [names.index(MISSING)], dtype=np.int64)
    return EncodedTable(names, lookup[coded.codes])  # −1 is the last entry


def _count_numbers(values: Sequence[Any]) -> int:
    """Return how many values are numbers; 0 where they look like codes (a leading zero, or all of one length ≥ 3)."""
    texts = [t for v in values if not isinstance(v, bool) and (t := spelling(v)) is not None]
    numbers = [t for t in texts if _PLAIN_NUMBER.fullmatch(t)]
    lengths = {len(t) for t in numbers}
    codes = len(lengths) == 1 and min(lengths) >= MIN_CODE_DIGITS and all(map(str.isdecimal, numbers))
    return 0 if codes or any(_LEADING_ZERO.match(t) for t in numbers) else len(numbers)


def _same_partition(a: EncodedTable, b: EncodedTable) -> bool:
    """Return whether two columns, each of whose names occurs, partition the rows in the same way."""
    if len(a.names) != len(b.names):
        return False
    pairs = np.unique(a.codes * len(b.names) + b.codes)
    return len(pairs) == len(a.names)
