"""Multiple choice: which answer a model chose, from the log-likelihoods of all of them.

The choice is believed only where it agrees with the accuracy that the log records for every item of every model; a flip from
one wrong answer to another is then seen, which right and wrong alone do not show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairpress.core.values import class_key, near_equal

NORMALIZED = {"acc": None, "acc_norm": "characters", "acc_bytes": "bytes"}
"""Metric → what the log-likelihood of an answer is divided by."""
MAX_NAME = 40
_DELIMITERS = (" ", "")

Ints = np.ndarray


@dataclass(frozen=True)
class Choices:
    """The chosen answers.

    Attributes
    ----------
    names
        Names of the classes: the texts of the answers, if those are the same for every item, else ``choice 1`` ….
    label, predicted
        The index of the right answer [items], and of that of each model.
    same_texts
        Whether the names are texts.
    """

    names: tuple[str, ...]
    label: Ints
    predicted: tuple[Ints, ...]
    same_texts: bool


def chosen_answers(
    likelihoods: Sequence[Any],
    choices: Any,
    target: Any,
    right: Sequence[np.ndarray],
    task: Ints,
    metric: str,
    delimiter: str | None,
) -> Choices | None:
    """Return the answers that the models chose; None where the log does not record them.

    Parameters
    ----------
    likelihoods
        For each model, lists of ``[log-likelihood, is greedy]`` as text, one per answer; None where there are none.
    choices
        Lists of the texts of the answers, as the model was given them.
    target
        The index of the right answer, or its text.
    right
        For each model, whether the log says that an item was answered rightly.
    task
        The number of the task of each item; how a target is written is one per task.
    metric
        ``acc``, ``acc_norm`` or ``acc_bytes``.
    delimiter
        What stands between question and answer, which is not part of an answer's length; None if it is not recorded.
    """
    import pyarrow.compute as pc

    if metric not in NORMALIZED or choices.null_count or target.null_count:
        return None
    sizes = pc.list_value_length(choices).to_numpy(zero_copy_only=False).astype(np.int64)
    values = [_numbers(column, sizes) for column in likelihoods]
    if not len(sizes) or sizes.min() < 2 or any(v is None for v in values):
        return None
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    texts = pc.list_flatten(choices)
    labels = _labels(target, texts, sizes, starts)
    n_tasks = int(task.max()) + 1
    for length in _lengths(texts, NORMALIZED[metric], delimiter):
        chosen = [_first_largest(v / length, sizes, starts) for v in values if v is not None]
        label = np.full(len(sizes), -1)
        for candidate in labels:
            wrong = np.zeros(len(sizes), dtype=bool)
            for of_model, is_right in zip(chosen, right, strict=True):
                wrong |= (of_model == candidate) != is_right
            wrong |= candidate < 0
            agrees = np.bincount(task, weights=wrong, minlength=n_tasks) == 0
            label = np.where((label < 0) & agrees[task], candidate, label)
        if (label >= 0).all():
            names, same = _names(texts, sizes)
            return Choices(names, label, tuple(chosen), same)
    return None


def _numbers(column: Any, sizes: Ints) -> np.ndarray | None:
    """Return the log-likelihoods of all answers, one item after another; None where they are no such lists."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.null_count:
        return None
    pairs = pc.list_flatten(column)
    if not np.array_equal(pc.list_value_length(column).to_numpy(zero_copy_only=False), sizes):
        return None
    if pairs.null_count or len(pairs) == 0 or pc.min(pc.list_value_length(pairs)).as_py() != 2:
        return None
    try:
        numbers = pc.list_element(pairs, 0).cast(pa.float64())
    except pa.ArrowException:
        return None
    if numbers.null_count:
        return None
    return np.asarray(numbers.to_numpy(zero_copy_only=False), dtype=float)


def _labels(target: Any, texts: Any, sizes: Ints, starts: Ints) -> list[Ints]:
    """Return the index of the right answer, if targets are indices, and if they are texts; −1 where they are not."""
    import pyarrow as pa
    import pyarrow.compute as pc

    plain = pc.utf8_trim_whitespace(target)
    is_index = pc.match_substring_regex(plain, r"^\d{1,4}$")
    digits = pc.if_else(is_index, plain, pa.scalar(None, pa.string())).cast(pa.int64())
    index = digits.fill_null(-1).to_numpy(zero_copy_only=False)
    by_index = np.where(index < sizes, index, -1)
    rows = np.repeat(np.arange(len(sizes)), sizes)
    same = pc.equal(pc.utf8_trim_whitespace(texts), plain.take(pa.array(rows))).fill_null(False)
    hits = np.flatnonzero(same.to_numpy(zero_copy_only=False))
    by_text = np.full(len(sizes), -1)
    first_rows, first = np.unique(rows[hits], return_index=True)
    by_text[first_rows] = hits[first] - starts[first_rows]
    return [by_index, by_text]


def _lengths(texts: Any, unit: str | None, delimiter: str | None) -> list[np.ndarray | float]:
    """Return by what log-likelihoods may be divided: the lengths of the answers, without the delimiter before them."""
    import pyarrow.compute as pc

    if unit is None:
        return [1.0]
    count = pc.utf8_length if unit == "characters" else pc.binary_length
    length = count(texts).to_numpy(zero_copy_only=False).astype(float)
    lengths = []
    for before in _DELIMITERS if delimiter is None else (delimiter,):
        size = len(before) if unit == "characters" else len(before.encode())
        lengths.append(np.maximum(length - size, 1e-300))
    return lengths


def _first_largest(values: np.ndarray, sizes: Ints, starts: Ints) -> Ints:
    """Return the index of the largest value of each item, the first of equal ones; NaN counts as the largest."""
    ranked = np.where(np.isnan(values), np.inf, values)
    largest = np.maximum.reduceat(ranked, starts)
    hits = np.flatnonzero(ranked == np.repeat(largest, sizes))
    rows = np.repeat(np.arange(len(sizes)), sizes)[hits]
    _, first = np.unique(rows, return_index=True)
    return np.asarray(hits[first] - starts)


def _names(texts: Any, sizes: Ints) -> tuple[tuple[str, ...], bool]:
    """Return the names of the classes, and whether they are the texts of the answers."""
    import pyarrow.compute as pc

    positions = tuple(f"choice {i + 1}" for i in range(int(sizes.max())))
    if sizes.min() != sizes.max() or len(sizes) < 2:
        return positions, False
    names = []
    for i in range(int(sizes[0])):
        unique = pc.unique(texts.take(np.arange(i, len(texts), sizes[0])))
        if len(unique) > 1:
            return positions, False
        names.append(unique[0].as_py().strip())
    distinct = len({class_key(n) for n in names}) == len(names) and not near_equal(names)
    short = all(0 < len(n) <= MAX_NAME and "\n" not in n for n in names)
    return (tuple(names), True) if distinct and short else (positions, False)
