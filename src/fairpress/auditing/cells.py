"""Cells: how often each (group, label, ŷ of every model) occurs. Everything an audit says follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairpress.auditing.source import Columns
from fairpress.core.errors import UserError, did_you_mean

MISSING = "(missing)"
MOST_NUMBERS = 20


@dataclass(frozen=True)
class Cells:
    """Counts of combinations, coded.

    Attributes
    ----------
    attributes
        Name → group names [combinations] (str); a missing value is its own group, ``"(missing)"``.
    label, models
        1 where the label, or the model's prediction, is the positive class, else 0; [combinations].
    counts
        Rows of each combination.
    positive
        The positive class as text.
    classes
        All label values as text.
    """

    attributes: Mapping[str, np.ndarray]
    label: np.ndarray
    models: Mapping[str, np.ndarray]
    counts: np.ndarray
    positive: str
    classes: tuple[str, ...]

    def groups(self, attribute: str) -> tuple[list[dict[str, str]], np.ndarray]:
        """Return the groups of ``"sex"`` or ``"sex*race"`` in sorted order, and each combination's index."""
        names = attribute.split("*")
        stacked = np.stack([self.attributes[n] for n in names], axis=1).astype(str)
        found, index = np.unique(stacked, axis=0, return_inverse=True)
        return [dict(zip(names, map(str, row), strict=True)) for row in found], index.reshape(-1)

    def pair(self, baseline: str, compressed: str, index: np.ndarray, groups: int) -> np.ndarray:
        """Return cells [groups, label, ŷ baseline, ŷ compressed]."""
        out = np.zeros((groups, 2, 2, 2))
        np.add.at(out, (index, self.label, self.models[baseline], self.models[compressed]), self.counts)
        return out


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


def code(
    columns: Columns | Mapping[str, np.ndarray],
    *,
    label: str,
    attributes: Sequence[str],
    models: Sequence[str],
    decided: Sequence[str],
    positive: str | None,
    where: str,
) -> Cells:
    """Check and code the counted columns.

    Parameters
    ----------
    columns
        The combinations with counts, or plain rows.
    decided
        Models whose column is a decision (true/false) and not a class.

    Raises
    ------
    UserError
        Missing labels or predictions, one class, a class no label has, more than two classes without
        `positive`, a numeric attribute with many values, or an attribute that equals the label.
    """
    values = columns.values if isinstance(columns, Columns) else columns
    size = len(values[label])
    counts = columns.counts if isinstance(columns, Columns) else np.ones(size)
    labels = _texts(values[label], counts, f"the label column {label!r}", where)
    classes = tuple(sorted(set(labels)))
    if len(classes) < 2:
        raise UserError(f"{where}: the label {label!r} has one class only ({classes[0]}); rates need two.")
    chosen = _positive(classes, positive, label, where)
    predicted = {}
    for name in models:
        texts = _texts(values[name], counts, f"the predictions of {name!r}", where)
        if name in decided:
            predicted[name] = (texts == "1").astype(np.int64)
            continue
        strange = sorted(set(texts) - set(classes))
        if strange:
            raise UserError(
                f"{where}: model {name!r} predicts {strange[0]!r}, which is no label ({', '.join(classes[:5])}). "
                f"If it holds scores, call the column '{name}.score' or use --decide '{name}=column>=number'."
            )
        predicted[name] = (texts == chosen).astype(np.int64)
    coded = {}
    for name in attributes:
        column = values[name]
        numbers = {v for v in column.tolist() if isinstance(v, (int, float)) and not isinstance(v, bool)}
        if len(numbers) > MOST_NUMBERS:
            raise UserError(
                f"{where}: the sensitive attribute {name!r} is a number with {len(numbers)} values; "
                "make a column of groups from it first, such as age_group."
            )
        coded[name] = np.array(
            [MISSING if (t := text_of(v)) is None else t for v in column.tolist()], dtype=object
        )
        if np.array_equal(_codes(coded[name]), _codes(labels)):
            raise UserError(
                f"{where}: the sensitive attribute {name!r} is the label {label!r}; audit by another one."
            )
    return Cells(coded, (labels == chosen).astype(np.int64), predicted, counts, chosen, classes)


def _texts(column: np.ndarray, counts: np.ndarray, what: str, where: str) -> np.ndarray:
    texts = [text_of(v) for v in column.tolist()]
    missing = np.array([t is None for t in texts])
    if missing.any():
        raise UserError(
            f"{where}: {what} is missing in {int(counts[missing].sum()):,} of {int(counts.sum()):,} rows; "
            "drop those rows or fill them, knowing that this changes the audit."
        )
    return np.array(texts, dtype=object)


def _positive(classes: tuple[str, ...], positive: str | None, label: str, where: str) -> str:
    if positive is not None:
        wanted = text_of(positive)
        if wanted not in classes:
            raise UserError(
                f"{where}: {positive!r} is no value of {label!r}." + did_you_mean(str(positive), classes)
            )
        return str(wanted)
    if len(classes) > 2:
        raise UserError(
            f"{where}: the label {label!r} has {len(classes)} values ({', '.join(classes[:5])}); "
            "name the one to audit with --positive, the others count as not that."
        )
    known = [c for c in classes if c.lower() in ("1", "yes", "true", "positive")]
    return known[0] if known else classes[1]


def _codes(values: np.ndarray) -> np.ndarray:
    """Number values by first appearance: columns that say the same in other words get equal numbers."""
    seen: dict[str, int] = {}
    return np.array([seen.setdefault(v, len(seen)) for v in values.tolist()])
