"""Choose the calibration rows that set the ranges: the first, random ones, or equally many of every group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from fairpress.core.errors import UserError
from fairpress.datasets.dataset import Dataset, Part
from fairpress.datasets.grouping import Key, group_rows, keys_of_groups, parse_by

Sampling = Literal["first", "random", "balanced", "balanced-label"]
MIN_ROWS = 10  # of a group that is counted


def group_keys(dataset: Dataset, part: Part, by: str | None) -> list[Key]:
    """Return each row's group in a part: of `by`, or of all sensitive attributes together.

    Raises UserError for an unknown attribute, or if there is none.
    """
    names = tuple(dataset.attributes) if by is None else parse_by(by)
    if not names:
        raise UserError(
            f"{dataset.name!r} has no sensitive attribute to balance by; give batches (x, y, groups)."
        )
    index = dataset.index(part)
    return keys_of_groups({k: v[index] for k, v in dataset.attributes.items()}, names, repr(dataset.name))


def sample_rows(
    dataset: Dataset, rows: int, sampling: Sampling, by: str | None, seed: Sequence[int]
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return positions within the calibration part, at most `rows` of them, and facts for the card.

    ``"balanced"`` gives every group (``"balanced-label"``: every group of every label) the same number of rows, up to one;
    rows of a group with fewer rows are repeated. So every group has the same weight in the ranges, and the card records
    the number of different rows of each.
    """
    size = len(dataset.index("calibration"))
    count, rng = min(rows, size), np.random.default_rng(list(seed))
    if sampling == "first":
        return np.arange(count), {}
    if sampling == "random":
        return np.sort(rng.choice(size, count, replace=False)), {"calibration": {"how": sampling}}
    keys = group_keys(dataset, "calibration", by)
    if sampling == "balanced-label":
        labels = dataset.labels[dataset.index("calibration")]
        keys = [(*key, dataset.task.classes[label]) for key, label in zip(keys, labels.tolist(), strict=True)]
    cells = group_rows(keys)
    if len(cells) > count:
        raise UserError(
            f"{len(cells)} groups cannot share {count} calibration rows; balance by one attribute with `by=`, or raise "
            "`rows=`."
        )
    quotas = np.full(len(cells), count // len(cells))
    quotas[rng.permutation(len(cells))[: count % len(cells)]] += 1
    chosen, groups = [], {}
    for (key, rows_of_group), quota in zip(cells.items(), quotas.tolist(), strict=True):
        repeats, remainder = divmod(quota, len(rows_of_group))
        chosen += [np.tile(rows_of_group, repeats), rng.choice(rows_of_group, remainder, replace=False)]
        groups[", ".join(key)] = {"rows": quota, "different": min(quota, len(rows_of_group))}
    return np.concatenate(chosen), {"calibration": {"how": sampling, "groups": groups}}


def group_codes(keys: Sequence[Key], min_rows: int) -> tuple[np.ndarray, dict[str, int], dict[str, int]]:
    """Return each row's group [rows] int64, −1 in groups below `min_rows` rows; sizes of counted and small groups."""
    codes = np.full(len(keys), -1)
    counted: dict[str, int] = {}
    small: dict[str, int] = {}
    for key, index in group_rows(keys).items():
        if len(index) < min_rows:
            small[", ".join(key)] = len(index)
        else:
            codes[index] = len(counted)
            counted[", ".join(key)] = len(index)
    return codes, counted, small


def groups_of(
    dataset: Dataset, positions: np.ndarray, by: str | None, option: str
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the group of each chosen calibration row as `group_codes` does, and facts for the card.

    Raises UserError if fewer than two groups have `MIN_ROWS` of these rows.
    """
    keys = group_keys(dataset, "calibration", by)
    codes, counted, small = group_codes([keys[i] for i in positions.tolist()], MIN_ROWS)
    if len(counted) < 2:
        raise UserError(
            f"{option}: fewer than two groups have {MIN_ROWS} calibration rows; raise `rows=`, or take another attribute."
        )
    return codes, {"rows_of_groups": counted, **({"too_few_rows": small} if small else {})}


def validation_groups(dataset: Dataset, by: str | None, rows: int) -> np.ndarray:
    """Return the group of each of the first validation rows [rows] int64; −1 if the group has fewer than `MIN_ROWS`.

    Raises UserError if fewer than two groups have that many.
    """
    keys = group_keys(dataset, "validation", by)[:rows]
    codes, counted, _ = group_codes(keys, MIN_ROWS)
    if len(counted) < 2:
        raise UserError(
            f"error=worst: fewer than two groups have {MIN_ROWS} validation rows; take another attribute with `by=`."
        )
    return codes
