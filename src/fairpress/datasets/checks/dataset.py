"""Properties of a dataset that would make an audit misleading, each as a sentence with its numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fairpress.datasets.checks.base_rates import groups_short_of_a_class
from fairpress.datasets.checks.columns import check_columns
from fairpress.datasets.checks.shifted_rates import check_shifted_rates
from fairpress.datasets.checks.warning import GIVEAWAY_ACCURACY, DatasetWarning, single_feature_accuracy
from fairpress.datasets.dataset import Dataset
from fairpress.datasets.split_leakage import repeated_subject_rows

NEARLY_EQUAL = 0.95
MIN_DISTINCT_SHARE = 0.9  # share of distinct rows above which an equal row is not a coincidence


def check_dataset(dataset: Dataset, floor: int) -> list[DatasetWarning]:
    """Return the warnings, gravest first.

    Parameters
    ----------
    floor
        Rows a group needs for any verdict (`auditing.verdict.floor_rows`).

    The checks: a column that determines the label; an attribute that is nearly the label; ids among the inputs, people with
    many rows, equal rows, placeholders for missing values, codes read as quantities, names that are nearly equal, columns
    of one value, groups too small or with too few rows of one class, or with other base rates in the test part. For images:
    brightness that determines the label, copies, images of one colour. For texts: words that determine the label, copies and
    near-copies in several parts, texts too long to be read, groups in another script than most. Loading refuses people in
    two parts unless the options request a split by rows. Where the label is a number, or one of several, only
    people, constant columns and tiny groups are checked.
    """
    if dataset.task.outputs != "classes":
        of_values = (
            _people_in_two_parts,
            *([_repeated_people, _constants] if dataset.kind == "table" else []),
        )
        return [w for find in of_values for w in find(dataset)] + list(_tiny_groups(dataset, floor))
    if dataset.kind == "images":
        from fairpress.datasets.checks.images import check_images

        of_images = (_people_in_two_parts, _attribute_is_label, check_images, check_columns)
        return [w for find in of_images for w in find(dataset)] + list(_groups(dataset, floor))
    if dataset.kind == "text":
        from fairpress.datasets.checks.texts import check_texts

        of_texts = (_people_in_two_parts, check_texts, _attribute_is_label, _repeated_people, check_columns)
        return [w for find in of_texts for w in find(dataset)] + list(_groups(dataset, floor))
    finders = (
        _people_in_two_parts,
        _giveaways,
        _attribute_is_label,
        _repeated_people,
        _duplicates,
        check_columns,
        _constants,
    )
    return [w for find in finders for w in find(dataset)] + list(_groups(dataset, floor))


def _groups(data: Dataset, floor: int) -> Iterator[DatasetWarning]:
    yield from check_shifted_rates(data)
    yield from _tiny_groups(data, floor)
    yield from groups_short_of_a_class(data, floor)


def _people_in_two_parts(data: Dataset) -> Iterator[DatasetWarning]:
    """The warnings above every result: people on both sides of the split, or columns that look like ids of people."""
    for sentence in data.warnings:
        if repeated_subject_rows(data.subjects, data.parts).any():
            share = float(repeated_subject_rows(data.subjects, data.parts).mean())
            yield DatasetWarning("people_in_two_parts", "subject", share, sentence)
        else:
            yield DatasetWarning("no_subject", "subject", 0.0, sentence)


def _giveaways(data: Dataset) -> Iterator[DatasetWarning]:
    """A column that alone predicts the label of 98 % of unseen rows, much better than the most common label."""
    train, test = data.parts["train"], data.parts["test"]
    y = data.labels
    commonest = float(np.bincount(y[test]).max() / len(test)) if len(test) else 1.0
    for name, values in data.features.items():
        right = single_feature_accuracy(values[train], y[train], values[test], y[test])
        if right >= GIVEAWAY_ACCURACY and right > (1 + commonest) / 2:
            yield DatasetWarning(
                "gives_away",
                name,
                right,
                f"the column {name!r} alone predicts the label of {right:.1%} of the test rows: it may be known only after "
                "the fact. Leave it out, or explain it.",
            )


def _attribute_is_label(data: Dataset) -> Iterator[DatasetWarning]:
    for name, groups in data.attributes.items():
        v = _cramer(groups, data.labels)
        if v >= NEARLY_EQUAL:
            yield DatasetWarning(
                "attribute_is_label",
                name,
                v,
                f"the sensitive attribute {name!r} is nearly the label (Cramér's V {v:.2f}): rates by group have next to "
                "no rows of the other class.",
            )


def _cramer(a: np.ndarray, b: np.ndarray) -> float:
    """Return Cramér's V of two categorical columns: 0 unrelated, 1 the same in other words."""
    (x, i), (y, j) = (np.unique(v, return_inverse=True) for v in (a, b))
    if min(len(x), len(y)) < 2:
        return 0.0
    table = np.zeros((len(x), len(y)))
    np.add.at(table, (i.reshape(-1), j.reshape(-1)), 1)
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / table.sum()
    chi = ((table - expected) ** 2 / expected).sum()
    return float(np.sqrt(chi / table.sum() / (min(table.shape) - 1)))


def _repeated_people(data: Dataset) -> Iterator[DatasetWarning]:
    """People with many rows of one label: recognizing the person predicts the label."""
    people, counts = np.unique(data.subjects, return_counts=True)
    repeated = int((counts > 1).sum())
    if not repeated:
        return
    index = np.searchsorted(people, data.subjects)
    table = np.zeros((len(people), len(data.task.classes)))
    np.add.at(table, (index, data.labels), 1)
    several = counts > 1
    one, many = ("subject", "subjects") if data.kind == "text" else ("person", "people")
    right = float(table[several].max(1).sum() / counts[several].sum())
    yield DatasetWarning(
        "repeated_people",
        "subject",
        repeated,
        f"{repeated:,} of {len(people):,} {many} have several rows; knowing the {one} gives the label of {right:.1%} of "
        f"them. {'' if data.warnings else f'Splits are by {one}; '}audit with `subject='subject'`.",
    )


def _duplicates(data: Dataset) -> Iterator[DatasetWarning]:
    """Rows that a network cannot distinguish, and among them exact copies in label and groups too."""
    input_ids = _numbered(data.inputs)
    full_rows = np.stack([input_ids, data.labels, *map(_numbered, data.attributes.values())])
    copies, copied_across = _copies(data, np.unique(full_rows, axis=1, return_inverse=True)[1].reshape(-1))
    duplicates, shared_inputs = _copies(data, input_ids)
    distinct_share = len(np.unique(input_ids)) / len(data)
    if (
        duplicates / len(data) < 0.01
        and shared_inputs < 0.01
        and not (copied_across and distinct_share > MIN_DISTINCT_SHARE)
    ):
        return
    class_present = np.zeros((int(input_ids.max()) + 1, len(data.task.classes)), dtype=bool)
    class_present[input_ids, data.labels] = True
    conflicting = int((class_present.sum(1) > 1)[input_ids].sum())
    yield DatasetWarning(
        "duplicates",
        "",
        duplicates,
        f"{duplicates:,} rows equal an earlier one in all inputs, {copies:,} of them in label and groups too; of the "
        f"test rows "
        f"{shared_inputs:.1%} have an equal in another part ({copied_across:.1%} in everything), and {conflicting:,} "
        f"rows have an "
        "equal with another "
        "label. With few and coarse columns that is natural; else look for copies and remove them.",
    )


def _numbered(values: np.ndarray) -> np.ndarray:
    """Return a number for each row, the same for equal rows."""
    if values.ndim > 1:
        flat = np.ascontiguousarray(values.reshape(len(values), -1))
        values = flat.view(np.dtype((np.void, flat.dtype.itemsize * flat.shape[1]))).reshape(-1)
    return np.unique(values, return_inverse=True)[1].reshape(-1)


def _copies(data: Dataset, number: np.ndarray) -> tuple[int, float]:
    """Return how many rows equal an earlier one, and the share of test rows with an equal row in another part."""
    test = data.parts["test"]
    rest = np.setdiff1d(np.arange(len(data)), test)
    across = float(np.isin(number[test], number[rest]).mean()) if len(test) else 0.0
    return len(data) - len(np.unique(number)), across


def _constants(data: Dataset) -> Iterator[DatasetWarning]:
    for name, values in data.features.items():
        if len(np.unique(values)) == 1:
            yield DatasetWarning(
                "constant",
                name,
                1,
                f"the column {name!r} has one value only ({data.spellings.get(name, values)[0]}); it is not informative. "
                "Leave it out.",
            )


def _tiny_groups(data: Dataset, floor: int) -> Iterator[DatasetWarning]:
    test = data.parts["test"]
    for name, groups in data.attributes.items():
        present, counts = np.unique(groups[test], return_counts=True)
        absent = sorted(set(np.unique(groups).tolist()) - set(present.tolist()))
        small = [f"{g} ({n:,})" for g, n in zip(present.tolist(), counts.tolist(), strict=True) if n < floor]
        small += [f"{g} (0)" for g in absent]
        if small:
            yield DatasetWarning(
                "tiny_groups",
                name,
                len(small),
                f"by {name!r}, {len(small)} group(s) have fewer than {floor} test rows, so that no verdict on them is "
                f"possible at a margin of two points: {', '.join(small[:8])}. Use folds, or gather rows.",
            )
