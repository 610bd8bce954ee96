"""Weighted sums of rates where people have several rows, with people and seeds as the random units."""

from __future__ import annotations

import numpy as np

from fairpress.auditing.statistics.t_estimate import Floats
from fairpress.auditing.statistics.two_way_contrasts import CrossedProducts, crossed_products


def clustered_products(
    values: Floats, cells: np.ndarray, people: np.ndarray, count: int
) -> CrossedProducts | None:
    """Return the sums of values [models, seeds, rows] over people; None if a person has rows in several cells.

    A cell's rate is Σu/Σm, where u counts the correct rows of a person and m all of them. Instead, each person gets
    the linearized value z = d + (u − d·m)/m̄, d the model's rate in the cell and m̄ the mean of m (Cochran, *Sampling
    Techniques*, 1977, §11): its mean is d, and its spread over people is what the rate's is. A person counts as one
    row; `rows` are people.

    Parameters
    ----------
    values
        1 where a model is right, 0 where it is not.
    cells
        [rows] 0 … count − 1; −1 for rows in no cell.
    people
        [rows] the person of each row.
    """
    unique_people, index = np.unique(people, return_inverse=True)
    index = index.reshape(-1)
    cell_of_person = np.full(len(unique_people), -1)
    cell_of_person[index] = cells  # the cell of one of the person's rows
    if (cell_of_person[index] != cells).any():
        return None
    sizes = np.bincount(index, minlength=len(unique_people)).astype(float)
    order = np.argsort(index, kind="stable")
    starts = np.searchsorted(index[order], np.arange(len(unique_people)))
    right = np.add.reduceat(np.asarray(values, float)[:, :, order], starts, axis=-1)
    z = np.zeros_like(right)
    for cell in range(count):
        in_cell = cell_of_person == cell
        if in_cell.any():
            m, u = sizes[in_cell], right[:, :, in_cell]
            d = u.mean(axis=1, keepdims=True).sum(axis=-1, keepdims=True) / m.sum()
            z[:, :, in_cell] = d + (u - d * m) / m.mean()
    return crossed_products(z, cell_of_person, count)
