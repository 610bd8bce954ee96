"""Joined predictions as arrays, with the correctness, group and label of every row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fairpress.auditing.statistics.clustered_contrasts import clustered_products
from fairpress.auditing.statistics.two_way_contrasts import CrossedProducts, crossed_products

if TYPE_CHECKING:
    import pyarrow as pa

MIN_ROWS = 30


class PredictionArrays:
    """Predictions of several models, with all seeds on the same rows.

    Attributes
    ----------
    seeds
        The seeds.
    predicted
        The predicted labels [models, stacked rows].
    correct
        1 where a prediction equals the label, else 0 [models, seeds, rows].
    positive
        Whether the label is the positive class [rows].
    """

    def __init__(self, table: pa.Table, models: Sequence[str], positive: str, repeated: bool) -> None:
        """Take a table of stacked seeds; with `repeated`, people have several rows and are the clusters of intervals."""
        self._table = table
        self.seeds = np.unique(table["seed"].to_numpy())
        self._order = np.lexsort((np.array(table["row_id"].to_pylist()), table["seed"].to_numpy()))
        self._shape = (len(self.seeds), -1)
        label = self.column("label")
        self.predicted = np.stack([self.column(m) for m in models])
        self.correct = (self.predicted == label).astype(float).reshape(len(models), *self._shape)
        self.positive = (label == positive).reshape(self._shape)[0]
        self._subjects = self.column("subject").reshape(self._shape)[0] if repeated else None

    @property
    def rows(self) -> int:
        """Return the number of rows per seed."""
        return int(self.correct.shape[-1])

    def column(self, name: str) -> np.ndarray:
        """Return a column, sorted by seed and row."""
        return np.array(self._table[name].to_pylist())[self._order]

    def groups(self, attribute: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the names of an attribute's groups and the group of each row; ``sex*race`` is an intersection."""
        columns = [self.column(a).reshape(self._shape)[0] for a in attribute.split("*")]
        joined = np.array([", ".join(map(str, v)) for v in zip(*columns, strict=True)])
        names, index = np.unique(joined, return_inverse=True)
        return names, index.reshape(-1)

    def compared_groups(self, attribute: str, requested: Sequence[str] | None = None) -> list[str]:
        """Return the groups to compare: those requested, or all with at least 30 rows of each label."""
        names, index = self.groups(attribute)
        sizes = np.stack(
            [np.bincount(index[self.positive == y], minlength=len(names)) for y in (True, False)]
        )
        return [
            str(name)
            for i, name in enumerate(names)
            if (requested is None and sizes[:, i].min() >= MIN_ROWS)
            or (requested is not None and name in requested)
        ]

    def overall_products(self) -> tuple[CrossedProducts, bool]:
        """Return the sums of correct predictions over all rows, and whether intervals are valid; see `bias_products`."""
        return self._products(np.zeros(self.rows, int), 1)

    def bias_products(self, attribute: str, compared: Sequence[str]) -> tuple[CrossedProducts, bool]:
        """Return the sums for `bias_change` over groups, and whether its intervals are valid.

        They are not if people have rows with different labels or in different groups: the rows are then treated as
        independent, which is valid for the values only.
        """
        names, index = self.groups(attribute)
        position = np.full(len(names), -1)
        for i, name in enumerate(compared):
            position[names == name] = i
        cell = np.where(position[index] < 0, -1, position[index] + np.where(self.positive, 0, len(compared)))
        return self._products(cell, 2 * len(compared))

    def _products(self, cell: np.ndarray, count: int) -> tuple[CrossedProducts, bool]:
        if self._subjects is None:
            return crossed_products(self.correct, cell, count), True
        products = clustered_products(self.correct, cell, self._subjects, count)
        return (
            (products, True) if products is not None else (crossed_products(self.correct, cell, count), False)
        )
