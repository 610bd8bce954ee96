"""Which groups are assessed. It depends on rows and labels alone, and is decided before any prediction is looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairpress.auditing.statistics.t_estimate import Floats
from fairpress.auditing.verdicts.sample_size import rows_needed

EXPECTED_FLIP_RATE = 0.01


def min_rows_for(margin: float, confidence: float) -> int:
    """Return the rows a group needs to be assessed: those that show "no harm" with 90 % power if 1 % of predictions flip.

    366 at a margin of two percentage points, counted in the metric's own denominator (positives for a TPR).
    """
    return rows_needed(EXPECTED_FLIP_RATE, margin, confidence)


@dataclass(frozen=True)
class Eligibility:
    """The groups of one attribute that are assessed in one metric, and those that are judged together.

    `assessed` [groups] is True for groups with enough rows; `pool` holds the indices of the others if together they have
    enough, else it is empty.
    """

    assessed: NDArray[np.bool_]
    pool: tuple[int, ...]

    def pooled_index(self, index: np.ndarray) -> np.ndarray:
        """Return the index of each combination [combinations] with the pool as one more group, after the last."""
        if not self.pool:
            return index
        return np.where(np.isin(index, self.pool), len(self.assessed), index)


def eligible(sizes: Floats, min_rows: float) -> Eligibility:
    """Select the groups with at least `min_rows` rows; two or more smaller ones with as many rows together form a pool.

    Parameters
    ----------
    sizes
        Rows in the metric's denominator [groups], after the effect of weights.
    """
    needed = min_rows * (1 - 1e-9)  # sums of weights and of rows over seeds are rounded
    assessed = np.asarray(sizes >= needed)
    small = np.flatnonzero(~assessed & (sizes > 0))
    pooled = len(small) > 1 and float(sizes[small].sum()) >= needed
    return Eligibility(assessed, tuple(int(i) for i in small) if pooled else ())
