"""Weighted sums of rates where people have several rows: people, not rows, are the unit beside the seeds."""

from __future__ import annotations

import numpy as np

from fairpress.auditing.statistics.t_estimate import Floats
from fairpress.auditing.statistics.two_way_contrasts import CrossedProducts, crossed_products


def clustered_products(
    values: Floats, cells: np.ndarray, people: np.ndarray, count: int
) -> CrossedProducts | None:
    """Return the sums of values [models, seeds, rows] over people; None where somebody has rows in several cells.

    A cell's rate is Σu/Σm, u the right rows of a person and m all of them. In its place each person gets the linearised
    value z = d + (u − d·m)/m̄, d the model's rate in the cell and m̄ the mean of m (Cochran, *Sampling Techniques*, 1977,
    §11): its mean is d, and its spread over people is what the rate's is. A person counts as one row; `rows` are people.

    Parameters
    ----------
    values
        1 where a model is right, 0 where it is not.
    cells
        [rows] 0 … count − 1; −1: none.
    people
        [rows] who a row is about.
    """
    who, index = np.unique(people, return_inverse=True)
    index = index.reshape(-1)
    of = np.full(len(who), -1)
    of[index] = cells  # the cell of some row of theirs
    if (of[index] != cells).any():
        return None
    sizes = np.bincount(index, minlength=len(who)).astype(float)
    order = np.argsort(index, kind="stable")
    starts = np.searchsorted(index[order], np.arange(len(who)))
    right = np.add.reduceat(np.asarray(values, float)[:, :, order], starts, axis=-1)
    z = np.zeros_like(right)
    for cell in range(count):
        here = of == cell
        if here.any():
            m, u = sizes[here], right[:, :, here]
            d = u.mean(axis=1, keepdims=True).sum(axis=-1, keepdims=True) / m.sum()
            z[:, :, here] = d + (u - d * m) / m.mean()
    return crossed_products(z, of, count)
