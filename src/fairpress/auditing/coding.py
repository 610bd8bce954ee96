"""From counted columns to cells: values become classes and groups, and what cannot be audited is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fairpress.auditing.cells import Cells, Coded
from fairpress.auditing.source import Counted, Encoded
from fairpress.auditing.studentized import Floats
from fairpress.core.errors import UserError, did_you_mean

MISSING = "(missing)"
MOST_NUMBERS = 20
MOST_GROUPS = 1000


def text_of(value: Any) -> str | None:
    """Return a class or group value as text, so that 1, 1.0, "1" and True are one class; None if missing."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, (bool, np.bool_)):
        return "1" if value else "0"
    text = str(value)
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else text


def build(
    counted: Counted,
    *,
    label: str,
    attributes: Sequence[str],
    decided: Sequence[str],
    positive: str | None,
    keys: Mapping[str, str],
    missing: str,
    where: str,
) -> Cells:
    """Check and code the counted columns.

    Parameters
    ----------
    decided
        Models whose column is a decision (true/false) and not a class.
    keys
        Role (``"subject"``, ``"seed"``, ``"row"``) → column.
    missing
        ``"group"``: a missing attribute value is a group; ``"refuse"``: an error.

    Raises
    ------
    UserError
        Missing labels, predictions or keys, one class, a class no label has, scores instead of classes, a numeric
        attribute with many values, too many groups, or an attribute that equals the label.
    """
    rows = counted.rows
    labels = _complete(counted.columns[label], rows, f"the label column {label!r}", where)
    if len(labels.names) < 2:
        raise UserError(
            f"{where}: the label {label!r} has one class only ({labels.names[0]}); rates need two."
        )
    raw = {
        m: _complete(column, rows, f"the column of model {m!r}", where)
        for m, column in counted.models.items()
    }
    classes = _classes(labels, {m: c for m, c in raw.items() if m not in decided}, where)
    chosen = _positive(labels.names, positive, label, where)
    if decided and len(classes) > 2:
        raise UserError(
            f"{where}: the label {label!r} has {len(classes)} classes, and a threshold decides between two; bring "
            f"columns of classes instead of {decided[0]!r}."
        )
    if len(classes) > 2 and chosen is None:
        _refuse_stray(labels.names, raw, label, where)
    at = {name: i for i, name in enumerate(classes)}
    predicted = {}
    for name, column in raw.items():
        if name in decided:
            # Decisions are true and false: true is the positive class.
            hit = np.array([n == "1" for n in column.names])[column.codes]
            yes = at[str(chosen)]
            predicted[name] = np.where(hit, yes, 1 - yes)
        else:
            predicted[name] = np.array([at[n] for n in column.names], dtype=np.int64)[column.codes]
    coded = {n: _attribute(counted.columns[n], rows, n, missing, where) for n in attributes}
    for name, column in coded.items():
        if _same(column.codes, labels.codes):
            raise UserError(
                f"{where}: the sensitive attribute {name!r} is the label {label!r}; audit by another one."
            )
    scale = rows.sum() / counted.weight.sum()
    return Cells(
        coded,
        np.array([at[n] for n in labels.names], dtype=np.int64)[labels.codes],
        predicted,
        rows,
        counted.weight * scale,
        counted.weight_squares * scale**2,
        classes,
        chosen,
        {
            role: _complete(counted.columns[c], rows, f"the {role} column {c!r}", where).codes
            for role, c in keys.items()
        },
        float(scale),
    )


def code_like(
    cells: Cells,
    attributes: Mapping[str, Encoded],
    label: Encoded,
    keys: Mapping[str, Encoded],
    rows: Floats,
    weight: Floats,
    weight_squares: Floats,
) -> Cells:
    """Return other combinations of the same table, numbered by the names of `cells`; without predictions.

    Keys are numbered by their sorted texts, as `build` numbers them.
    """

    def codes(column: Encoded, names: Sequence[str]) -> np.ndarray:
        at = {name: i for i, name in enumerate(names)}
        lookup = [at[MISSING if (t := text_of(v)) is None else t] for v in column.values]
        return np.asarray(np.array(lookup, dtype=np.int64)[column.codes])

    return replace(
        cells,
        attributes={
            n: Coded(cells.attributes[n].names, codes(c, cells.attributes[n].names))
            for n, c in attributes.items()
        },
        label=codes(label, cells.classes),
        predicted={},
        rows=rows,
        weight=weight,
        weight_squares=weight_squares,
        keys={role: _coded(column).codes for role, column in keys.items()},
    )


def _coded(column: Encoded) -> Coded:
    """Name the values as text; values that are the same as text become one."""
    texts = [text_of(v) for v in column.values]
    names = sorted({t for t in texts if t is not None})
    at = {name: i for i, name in enumerate(names)}
    lookup = np.array([-1 if t is None else at[t] for t in texts], dtype=np.int64)
    return Coded(tuple(names), lookup[column.codes])


def _complete(column: Encoded, rows: Floats, what: str, where: str) -> Coded:
    coded = _coded(column)
    absent = coded.codes < 0
    if absent.any():
        raise UserError(
            f"{where}: {what} is missing in {int(rows[absent].sum()):,} of {int(rows.sum()):,} rows; "
            "drop those rows or fill them, knowing that this changes the audit."
        )
    return coded


def _classes(labels: Coded, models: Mapping[str, Coded], where: str) -> tuple[str, ...]:
    """Return all classes. Of more than two a model may predict one that no row of the table has."""
    known = set(labels.names)
    for name, column in models.items():
        strange = [n for n in column.names if n not in known]
        if strange and (len(known) == 2 or len(strange) > len(known)):
            hint = did_you_mean(strange[0], labels.names)
            if _is_number(strange[0]):
                scores = f"'{name}.score' or use --decide '{name}=column>=number'"
                hint = f" If it holds scores, call the column {scores}."
            elif "Did you mean" not in hint:
                hint = " Give model and label the same names of classes."
            raise UserError(
                f"{where}: model {name!r} predicts {strange[0]!r}, which is no label ({', '.join(labels.names[:5])}).{hint}"
            )
    found = known.union(*(c.names for c in models.values())) if len(known) > 2 else known
    return tuple(sorted(found))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _refuse_stray(labels: Sequence[str], models: Mapping[str, Coded], label: str, where: str) -> None:
    """Refuse a third label that no model ever predicts: a stray value, and no task of three classes."""
    predicted = set().union(*(c.names for c in models.values()))
    if len(predicted) <= 2:
        strange = sorted(set(labels) - predicted)
        raise UserError(
            f"{where}: the label {label!r} has {len(labels)} values ({', '.join(labels[:5])}), of which no model "
            f"predicts {strange[0]!r}; mend those rows, or name the class to hold against the rest with --positive."
        )


def _attribute(column: Encoded, rows: Floats, name: str, missing: str, where: str) -> Coded:
    numbers = sum(isinstance(v, (int, float)) and not isinstance(v, bool) for v in column.values)
    if numbers > MOST_NUMBERS:
        raise UserError(
            f"{where}: the sensitive attribute {name!r} is a number with {numbers:,} values; cut it into groups "
            f"with --bins '{name}=25,45'."
        )
    coded = _coded(column)
    if len(coded.names) > MOST_GROUPS:
        raise UserError(
            f"{where}: the sensitive attribute {name!r} has {len(coded.names):,} groups (at most {MOST_GROUPS:,}); "
            "name a coarser column."
        )
    absent = coded.codes < 0
    if not absent.any():
        return coded
    if missing == "refuse":
        raise UserError(
            f"{where}: the sensitive attribute {name!r} is missing in {int(rows[absent].sum()):,} of "
            f"{int(rows.sum()):,} rows; fill it in, or leave --missing refuse out to see them as a group of their own."
        )
    names = tuple(sorted({*coded.names, MISSING}))
    lookup = np.array([names.index(n) for n in coded.names] + [names.index(MISSING)], dtype=np.int64)
    return Coded(names, lookup[coded.codes])  # −1 is the last entry


def _positive(classes: tuple[str, ...], positive: str | None, label: str, where: str) -> str | None:
    if positive is not None:
        wanted = text_of(positive)
        if wanted not in classes:
            raise UserError(
                f"{where}: {positive!r} is no value of {label!r}." + did_you_mean(str(positive), classes)
            )
        return wanted
    if len(classes) > 2:
        return None
    known = [c for c in classes if c.lower() in ("1", "yes", "true", "positive")]
    return known[0] if known else classes[1]


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two columns say the same in other words."""
    pairs = np.unique(np.stack([a, b]), axis=1).shape[1]
    return bool(pairs == len(np.unique(a)) == len(np.unique(b)))
