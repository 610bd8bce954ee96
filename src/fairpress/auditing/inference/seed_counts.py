"""Counts of rows by the decisions of two models under every two seeds; every rate over seeds is a function of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.cells.grouping import Grouping
from fairpress.auditing.statistics.t_estimate import Floats
from fairpress.auditing.statistics.two_way import CrossedSums

MOST_COUNTS = 2**20
"""Counts of two models that are kept for the groups of one attribute, of 8 bytes each …"""

HELD_COUNTS = 2**23
"""… and for all models and attributes."""

EXACT_ROWS = 2**23
"""Rows that are counted at once in single precision, which has every integer up to twice this number."""


class Affine(NamedTuple):
    """Values of rows, z = offset + Σ slope·(the model predicts the positive class), for all or for one of the labels.

    `labels`: the labels of the rows that have a value, 0 for negative and 1 for positive. `offset` and the slope of each
    model broadcast to [groups, labels, seeds].
    """

    labels: tuple[int, ...]
    offset: Floats
    slopes: Sequence[tuple[str, Floats]]


class SeedCounts:
    """Counts of complete runs of two classes, by group and label.

    Parameters
    ----------
    cells
        Combinations with a positive class, in the order of seeds and rows, each of one row without weights.
    seeds
        Number of seeds S.
    """

    def __init__(self, cells: Cells, seeds: int) -> None:
        self._cells, self.seeds = cells, seeds
        self._rows = len(cells.label) // seeds
        self._label = cells.binary(cells.label[: self._rows])
        self._order: dict[Grouping, tuple[np.ndarray, np.ndarray]] = {}
        self._pairs: dict[tuple[str, str, Grouping], Floats] = {}

    def suits(self, grouping: Grouping) -> bool:
        """Return whether the counts of these groups are few."""
        return 2 * grouping.size * self.seeds**2 <= MOST_COUNTS

    def rows(self, grouping: Grouping) -> Floats:
        """Return the number of rows [groups, label]."""
        return self._ordered(grouping)[1].astype(float).reshape(grouping.size, 2)

    def positive(self, model: str, grouping: Grouping) -> Floats:
        """Return the rows that a model predicts as positive under each seed [groups, label, seeds]."""
        return np.diagonal(self.both(model, model, grouping), axis1=2, axis2=3)

    def both(self, first: str, second: str, grouping: Grouping) -> Floats:
        """Return the rows that one model predicts as positive under seed s and another under t [groups, label, s, t]."""
        key = (first, second, grouping)
        if key not in self._pairs:
            size = 2 * grouping.size * self.seeds**2
            if sum(x.size for x in self._pairs.values()) + size > HELD_COUNTS:
                self._pairs.clear()
            self._pairs[key] = self._count(first, second, grouping)
        return self._pairs[key]

    def sums(self, values: Affine, grouping: Grouping) -> CrossedSums:
        """Return the crossed sums of values [groups]."""
        labels, seeds = list(values.labels), self.seeds
        n = self.rows(grouping)[:, labels]
        shape = (*n.shape, seeds)
        offset = np.broadcast_to(values.offset, shape)
        slopes = [(model, np.broadcast_to(slope, shape)) for model, slope in values.slopes]
        linear = sum(
            (slope * self.positive(model, grouping)[:, labels] for model, slope in slopes), np.zeros(shape)
        )
        of_rows, of_values = np.zeros(n.shape), np.zeros(shape)
        for i, (model, slope) in enumerate(slopes):
            for j, (other, other_slope) in enumerate(slopes[i:]):
                both = self.both(model, other, grouping)[:, labels]
                twice = 2 if j else 1
                of_rows += twice * (slope * (both @ other_slope[..., None])[..., 0]).sum(axis=-1)
                of_values += twice * slope * other_slope * both.diagonal(axis1=2, axis2=3)
        constant = offset.sum(axis=-1)
        row_squares = constant**2 * n + 2 * constant * linear.sum(axis=-1) + of_rows
        squares = offset**2 * n[..., None] + 2 * offset * linear + of_values
        seed_sums = (offset * n[..., None] + linear).sum(axis=1)
        rows = n.sum(axis=1)
        return CrossedSums(
            seed_sums=seed_sums,
            seed_counts=np.repeat(rows[:, None], seeds, axis=1),
            rows=rows,
            row_squares=row_squares.sum(axis=1),
            row_cross=seeds * seed_sums.sum(axis=-1),
            row_count_squares=seeds**2 * rows,
            total_squares=squares.sum(axis=(1, 2)),
        )

    def _ordered(self, grouping: Grouping) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows in the order of groups and labels, and the number of each."""
        if grouping not in self._order:
            stratum = 2 * grouping.index[: self._rows] + self._label
            if 2 * grouping.size < 2**15:
                stratum = stratum.astype(np.int16)  # sorted without comparisons
            order = np.argsort(stratum, kind="stable")
            self._order[grouping] = order, np.bincount(stratum, minlength=2 * grouping.size)
        return self._order[grouping]

    def _count(self, first: str, second: str, grouping: Grouping) -> Floats:
        order, sizes = self._ordered(grouping)
        a = self._decisions(first)[:, order]
        b = a if second == first else self._decisions(second)[:, order]
        out, start = np.zeros((len(sizes), self.seeds, self.seeds)), 0
        for stratum, end in enumerate(np.cumsum(sizes)):
            for at in range(start, end, EXACT_ROWS):
                lines = slice(at, min(end, at + EXACT_ROWS))
                out[stratum] += a[:, lines] @ b[:, lines].T
            start = end
        return out.reshape(grouping.size, 2, self.seeds, self.seeds)

    def _decisions(self, model: str) -> np.ndarray:
        positive = self._cells.classes.index(str(self._cells.positive))
        decisions = self._cells.predicted[model].reshape(self.seeds, -1) == positive
        return np.asarray(decisions, dtype=np.float32)
