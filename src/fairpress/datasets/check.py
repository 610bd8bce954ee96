"""What in a dataset would make an audit misleading: each a sentence with its numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fairpress.datasets.base import Dataset
from fairpress.datasets.shared import seen_before
from fairpress.datasets.warned import GIVES_AWAY, Warned, read_off

NEARLY_EQUAL = 0.95


def check(dataset: Dataset, floor: int) -> list[Warned]:
    """Return the warnings, gravest first.

    Parameters
    ----------
    floor
        Rows a group needs for any verdict (`auditing.verdict.floor_rows`).

    What is looked for: a column from which the label can be read off; an
    attribute that is nearly the label; people with many rows, equal rows, columns of one value, groups too small. Of
    images: brightness from which the label can be read off, copies, images of one colour.
    People in two parts are refused when the data are loaded, unless the split by rows was asked for by name.
    """
    if dataset.inputs.ndim == 4:
        from fairpress.datasets.check_images import check_images

        return [*_attribute_is_label(dataset), *check_images(dataset), *_tiny_groups(dataset, floor)]
    finders = (
        _people_in_two_parts,
        _giveaways,
        _attribute_is_label,
        _people_known,
        _duplicates,
        _constants,
    )
    return [w for find in finders for w in find(dataset)] + list(_tiny_groups(dataset, floor))


def _people_in_two_parts(data: Dataset) -> Iterator[Warned]:
    share = seen_before(data.subjects, data.parts).mean() if len(data.parts["test"]) else 0.0
    for sentence in data.warnings:
        yield Warned("people_in_two_parts", "subject", float(share), sentence)


def _giveaways(data: Dataset) -> Iterator[Warned]:
    """A column that alone tells the label of 98 % of unseen rows, much better than always the commonest."""
    train, test = data.parts["train"], data.parts["test"]
    y = data.labels
    commonest = float(np.bincount(y[test]).max() / len(test)) if len(test) else 1.0
    for name, values in data.features.items():
        right = read_off(values[train], y[train], values[test], y[test])
        if right >= GIVES_AWAY and right > (1 + commonest) / 2:
            yield Warned(
                "gives_away",
                name,
                right,
                f"the column {name!r} alone tells the label of {right:.1%} of the test rows: it may be known only after "
                "the fact. Leave it out, or explain it.",
            )


def _attribute_is_label(data: Dataset) -> Iterator[Warned]:
    for name, groups in data.attributes.items():
        v = _cramer(groups, data.labels)
        if v >= NEARLY_EQUAL:
            yield Warned(
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


def _people_known(data: Dataset) -> Iterator[Warned]:
    """People with many rows of one label: whoever is recognised is predicted."""
    people, counts = np.unique(data.subjects, return_counts=True)
    repeated = int((counts > 1).sum())
    if not repeated:
        return
    index = np.searchsorted(people, data.subjects)
    table = np.zeros((len(people), len(data.task.classes)))
    np.add.at(table, (index, data.labels), 1)
    several = counts > 1
    right = float(table[several].max(1).sum() / counts[several].sum())
    yield Warned(
        "repeated_people",
        "subject",
        repeated,
        f"{repeated:,} of {len(people):,} people have several rows; who knows the person knows the label of {right:.1%} of "
        f"them. {'' if data.warnings else 'Splits are by person; '}audit with --subject subject.",
    )


def _duplicates(data: Dataset) -> Iterator[Warned]:
    flat = np.ascontiguousarray(data.inputs.reshape(len(data), -1))
    keys = flat.view(np.dtype((np.void, flat.dtype.itemsize * flat.shape[1]))).reshape(-1)
    _, first, inverse, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    extra = int(len(data) - len(first))
    if not extra:
        return
    inverse = inverse.reshape(-1)
    test = data.parts["test"]
    rest = np.setdiff1d(np.arange(len(data)), test)
    across = float(np.isin(inverse[test], inverse[rest]).mean()) if len(test) else 0.0
    both = np.zeros((len(first), len(data.task.classes)), dtype=bool)
    both[inverse, data.labels] = True
    torn = int(counts[both.sum(1) > 1].sum())
    if extra / len(data) < 0.01 and across < 0.01:
        return
    yield Warned(
        "duplicates",
        "",
        extra,
        f"{extra:,} rows equal an earlier one in all inputs; {across:.1%} of the test rows have an equal among the "
        f"others, and {torn:,} rows have an equal with another label. With coarse columns that is natural; else look "
        "for copies.",
    )


def _constants(data: Dataset) -> Iterator[Warned]:
    for name, values in data.features.items():
        if len(np.unique(values)) == 1:
            yield Warned(
                "constant",
                name,
                1,
                f"the column {name!r} has one value only ({values[0]}); it tells nothing.",
            )


def _tiny_groups(data: Dataset, floor: int) -> Iterator[Warned]:
    test = data.parts["test"]
    positive = None if data.task.positive is None else data.task.classes.index(data.task.positive)
    for name, groups in data.attributes.items():
        found, counts = np.unique(groups[test], return_counts=True)
        absent = sorted(set(np.unique(groups).tolist()) - set(found.tolist()))
        small = [f"{g} ({n:,})" for g, n in zip(found.tolist(), counts.tolist(), strict=True) if n < floor]
        small += [f"{g} (0)" for g in absent]
        if small:
            yield Warned(
                "tiny_groups",
                name,
                len(small),
                f"by {name!r}, {len(small)} group(s) have fewer than {floor} test rows, so that no verdict on them is "
                f"possible at a margin of two points: {', '.join(small[:8])}. Use folds, or gather rows.",
            )
        if positive is None:
            continue
        lacking = [
            f"{g}"
            for g, n in zip(found.tolist(), counts.tolist(), strict=True)
            if n >= floor and len(np.unique(data.labels[test][groups[test] == g] == positive)) < 2
        ]
        if lacking:
            yield Warned(
                "one_class_groups",
                name,
                len(lacking),
                f"by {name!r}, {', '.join(lacking[:8])} have test rows of one class only: TPR or FPR cannot be told.",
            )
