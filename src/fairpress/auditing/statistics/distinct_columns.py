"""The distinct columns of an array of whole numbers, found as numbers where they fit into one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_LARGEST = 2**62


class DistinctColumns(NamedTuple):
    """`columns` [rows, distinct] in lexicographic order, the index of each column in them, and how often each occurs."""

    columns: np.ndarray
    inverse: np.ndarray
    counts: np.ndarray


def distinct_columns(array: np.ndarray) -> DistinctColumns:
    """Return what ``np.unique(array, axis=1)`` does with whole numbers [rows, columns], in a fraction of its time."""
    if array.size:
        low = array.min(axis=1).astype(np.int64)
        sizes = [int(high) - int(least) + 1 for high, least in zip(array.max(axis=1), low, strict=True)]
        if np.prod([float(size) for size in sizes]) < _LARGEST:
            number = np.zeros(array.shape[1], dtype=np.int64)
            for row, least, size in zip(
                array, low, sizes, strict=True
            ):  # NumPy's own has at most 32 or 64 digits
                number = number * size + (row.astype(np.int64) - least)
            _, first, inverse, counts = np.unique(
                number, return_index=True, return_inverse=True, return_counts=True
            )
            return DistinctColumns(array[:, first], inverse.reshape(-1), counts)
    columns, inverse, counts = np.unique(array, axis=1, return_inverse=True, return_counts=True)
    return DistinctColumns(columns, inverse.reshape(-1), counts)
