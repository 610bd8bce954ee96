"""What the models of a log are judged by: the class that each predicted, right or wrong, or a number per item."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fairpress.auditing.cells.encoding import RIGHT, WRONG
from fairpress.core.errors import UserError, listed
from fairpress.core.values import named_positive

_EXAMPLES = 3
_SEPARATORS = re.compile(r"[,=/*\n]")
"""Characters that have a meaning in ``outcome=`` and ``by=``."""


@dataclass(frozen=True)
class ItemOutcome:
    """The columns by which models are judged.

    Attributes
    ----------
    columns
        ``label``, where there are classes, and one column per model; an entry per row.
    classes, positive
        The classes, and the positive one, as `TableDescription` has them.
    outcome
        The outcome as text, or None for classes.
    notes
        Sentences on how values became an outcome.
    right
        For each model, whether each row was answered rightly; None where values are not 0 and 1.
    rows
        The item of each row, where an item has several values; None where rows are items.
    """

    columns: Mapping[str, Any]
    classes: tuple[str, ...] = ()
    positive: str | None = None
    outcome: str | None = None
    notes: tuple[str, ...] = ()
    right: tuple[np.ndarray, ...] | None = None
    rows: np.ndarray | None = field(default=None, repr=False)

    def with_note(self, note: str) -> ItemOutcome:
        """Return the outcome with a further note."""
        return replace(self, notes=(*self.notes, note))


def class_outcome(
    models: Sequence[str],
    names: Sequence[str],
    label: np.ndarray,
    predicted: Sequence[np.ndarray],
    note: str,
) -> ItemOutcome:
    """Return the outcome of predicted classes, given as indices of `names`; one called yes or true is positive."""
    columns = {"label": _named(label, names)}
    columns |= {m: _named(codes, names) for m, codes in zip(models, predicted, strict=True)}
    return ItemOutcome(columns, tuple(names), named_positive(names), None, (note,))


def right_or_wrong(models: Sequence[str], right: Sequence[np.ndarray]) -> ItemOutcome:
    """Return the outcome of answers of which only is known whether they were right."""
    names = (RIGHT, WRONG)
    columns = {"label": _named(np.zeros(len(right[0]), dtype=np.int64), names)}
    columns |= {m: _named(1 - r.astype(np.int64), names) for m, r in zip(models, right, strict=True)}
    return ItemOutcome(columns, names, right=tuple(right))


def number_outcome(
    models: Sequence[str], values: Sequence[np.ndarray], name: str, *, higher: bool
) -> ItemOutcome:
    """Return the outcome of a number per row, in the columns ``M.name``."""
    import pyarrow as pa

    plain = " ".join(_SEPARATORS.sub(" ", name).split()) or "value"
    columns = {f"{m}.{plain}": pa.array(v) for m, v in zip(models, values, strict=True)}
    return ItemOutcome(columns, outcome=f"score={plain},better={'higher' if higher else 'lower'}")


def recorded_values(
    models: Sequence[str], values: Sequence[Any], items: Any, metric: str, *, higher: bool
) -> ItemOutcome:
    """Return the outcome of the values that logs record: right or wrong if all are 0 and 1, else numbers.

    Parameters
    ----------
    values
        For each model, the value of each item as text: a number, true or false; or a list of those in brackets, where items
        were answered several times.
    items
        The names of the items, for messages.

    Raises
    ------
    UserError
        A value is missing or no finite number, or models answered an item a different number of times.
    """
    rows, texts = _one_per_row(models, values, items, metric)
    numbers = [
        _numbers(m, v, items if rows is None else items.take(rows), metric)
        for m, v in zip(models, texts, strict=True)
    ]
    if all(np.isin(v, (0.0, 1.0)).all() for v in numbers):
        outcome = right_or_wrong(models, [(v == 1.0) == higher for v in numbers])
    else:
        outcome = number_outcome(models, numbers, metric, higher=higher)
    return replace(outcome, rows=rows)


def log_likelihoods(
    models: Sequence[str], values: Sequence[Any], items: Any, metric: str, unit: str
) -> ItemOutcome:
    """Return the outcome of a perplexity: the negative log-likelihood in nats, per word or byte where a log counts them.

    Values are log-likelihoods, or ``[log-likelihood, number of words or bytes]``; the number becomes a column named `unit`.
    The perplexity is the exponential of Σ nats / Σ words.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = [pc.split_pattern(pc.utf8_trim(v, "[]"), ",") for v in values]
    first = [pc.utf8_trim_whitespace(pc.list_element(p, 0)) for p in parts]
    numbers = [-_numbers(m, v, items, metric) for m, v in zip(models, first, strict=True)]
    outcome = number_outcome(models, numbers, "nats", higher=False)
    about = f"{metric} is computed over all items; audited is the negative log-likelihood in nats"
    if not unit or any(pc.min(pc.list_value_length(p)).as_py() < 2 for p in parts):
        return outcome.with_note(f"{about}, averaged over items.")
    second = [pc.utf8_trim_whitespace(pc.list_element(p, 1)) for p in parts]
    counts = [_numbers(m, v, items, metric) for m, v in zip(models, second, strict=True)]
    if any((c != counts[0]).any() for c in counts):
        raise UserError(
            f"the models' numbers of {unit} differ, although their targets are the same; were they counted in the same way?"
        )
    ratio = replace(
        outcome,
        columns={**outcome.columns, unit: pa.array(counts[0])},
        outcome=f"ratio=nats/{unit},better=lower",
    )
    return ratio.with_note(f"{about}, the sum over items divided by that of their {unit}.")


def _one_per_row(
    models: Sequence[str], values: Sequence[Any], items: Any, metric: str
) -> tuple[np.ndarray | None, Sequence[Any]]:
    """Return the item of each row, and the values of each row; None and the values where an item has one each."""
    import pyarrow.compute as pc

    lists = [pc.starts_with(v, "[").fill_null(False) for v in values]
    if not any(pc.any(is_list).as_py() for is_list in lists):
        return None, values
    sizes, flat = [], []
    for value in values:
        parts = pc.split_pattern(pc.utf8_trim(value, "[]"), ",")
        sizes.append(pc.list_value_length(parts).fill_null(1).to_numpy(zero_copy_only=False))
        flat.append(pc.utf8_trim_whitespace(pc.list_flatten(parts)))
    for model, size in zip(models[1:], sizes[1:], strict=True):
        if (size != sizes[0]).any():
            first = items[int(np.argmax(size != sizes[0]))].as_py()
            raise UserError(
                f"{metric} has another number of values per item for {model} than for {models[0]}, first in {first}; "
                "evaluate both with the same number of repeats."
            )
    return np.repeat(np.arange(len(items)), sizes[0]), flat


def _numbers(model: str, values: Any, items: Any, metric: str) -> np.ndarray:
    """Return texts as numbers; true is 1. Raises UserError for a missing one, NaN, infinity and other texts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    chunk = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    lowered = pc.utf8_lower(chunk.cast(pa.string()))
    ones = pc.if_else(pc.equal(lowered, "true"), "1", pc.if_else(pc.equal(lowered, "false"), "0", lowered))
    is_number = pc.match_substring_regex(ones, r"^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$")
    cleaned = pc.if_else(is_number, ones, pa.scalar(None, pa.string()))
    try:
        numbers = np.asarray(
            cleaned.cast(pa.float64()).fill_null(float("nan")).to_numpy(zero_copy_only=False)
        )
    except pa.ArrowException:
        numbers = np.full(len(chunk), np.nan)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        names = listed([str(items[int(i)].as_py()) for i in bad[:_EXAMPLES]], _EXAMPLES)
        content = chunk[int(bad[0])].as_py()
        what = "no value" if content is None else f"{content[:40]!r}"
        raise UserError(
            f"{model}: {metric} is not a number in {len(bad):,} of {len(numbers):,} rows, first {what} in {names}; evaluate "
            "these items again."
        )
    return numbers


def _named(codes: np.ndarray, names: Sequence[str]) -> Any:
    """Return a column of classes."""
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(names, pa.string()))
