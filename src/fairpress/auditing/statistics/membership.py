"""Which strata belong to which hypotheses: an array of −1, 0 and 1, sparse where it is large."""

from __future__ import annotations

from typing import Any

import numpy as np

DENSE = 10_000
"""Entries up to which an array is dense: multiplying it takes less than importing ``scipy.sparse``."""


def membership(values: np.ndarray, hypotheses: np.ndarray, strata: np.ndarray, shape: tuple[int, int]) -> Any:
    """Return an array [hypotheses, strata] with these entries, sparse beyond `DENSE`; all others are 0."""
    if shape[0] * shape[1] <= DENSE:
        array = np.zeros(shape)
        array[hypotheses, strata] = values
        return array
    from scipy import sparse

    return sparse.csr_array((values, (hypotheses, strata)), shape=shape, dtype=float)


def as_membership(array: Any) -> Any:
    """Return an array or sparse array as float numbers, sparse beyond `DENSE`."""
    if not hasattr(array, "tocsr"):
        array = np.asarray(array, float)
        if array.size <= DENSE:
            return array
    from scipy import sparse

    return sparse.csr_array(array, dtype=float)


def with_rows(array: Any, rows: np.ndarray) -> Any:
    """Return an array with further rows [rows, strata] below it."""
    if isinstance(array, np.ndarray):
        return np.vstack([array, rows])
    from scipy import sparse

    return sparse.vstack([array, sparse.csr_array(rows)], format="csr")


def negative_part(array: Any) -> Any:
    """Return the entries below 0; 0 elsewhere."""
    return np.minimum(array, 0) if isinstance(array, np.ndarray) else array.minimum(0)


def entries(array: Any) -> np.ndarray:
    """Return the entries of an array; of a sparse one those that are stored."""
    return np.asarray(array if isinstance(array, np.ndarray) else array.data)
