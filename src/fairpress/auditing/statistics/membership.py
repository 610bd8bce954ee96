"""Which strata belong to which hypotheses: an array of −1, 0 and 1, stored as the entries that are not 0.

Most hypotheses have few strata. ``scipy.sparse`` would serve; importing it takes longer than many an audit computes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fairpress.auditing.statistics.t_estimate import Floats

_AT_ONCE = 16
"""Strata of a hypothesis that are summed at once, in little memory."""


@dataclass(frozen=True)
class Membership:
    """An array of −1, 0 and 1 [hypotheses, strata].

    Attributes
    ----------
    hypothesis, stratum, sign
        The entries that are not 0, in the order of their hypotheses [entries].
    shape
        The numbers of hypotheses and strata.
    """

    hypothesis: np.ndarray
    stratum: np.ndarray
    sign: np.ndarray
    shape: tuple[int, int]

    @classmethod
    def of(cls, array: ArrayLike | Membership) -> Membership:
        """Return an array as one; a membership is returned as it is. Raises ``ValueError`` for another number."""
        if isinstance(array, Membership):
            return array
        values = np.asarray(array, float)
        if not np.isin(values, (-1.0, 0.0, 1.0)).all():
            raise ValueError("a membership is −1, 0 or 1")
        hypothesis, stratum = np.nonzero(values)
        sign = values[hypothesis, stratum].astype(np.int64)
        return cls(hypothesis, stratum, sign, (values.shape[0], values.shape[1]))

    @classmethod
    def of_entries(
        cls, hypothesis: np.ndarray, stratum: np.ndarray, sign: np.ndarray, shape: tuple[int, int]
    ) -> Membership:
        """Return the array with these entries, in any order, none twice."""
        order = np.argsort(hypothesis, kind="stable")
        return cls(hypothesis[order], stratum[order], sign[order].astype(np.int64), shape)

    @property
    def counts(self) -> np.ndarray:
        """The number of strata of each hypothesis [hypotheses]."""
        return np.bincount(self.hypothesis, minlength=self.shape[0])

    def hypotheses(self, index: np.ndarray) -> Membership:
        """Return some of the hypotheses, in this order."""
        counts = self.counts
        chosen = counts[index]
        start = (np.cumsum(counts) - counts)[index]
        at = np.arange(chosen.sum()) + np.repeat(start - (np.cumsum(chosen) - chosen), chosen)
        new = np.repeat(np.arange(len(index)), chosen)
        return Membership(new, self.stratum[at], self.sign[at], (len(index), self.shape[1]))

    def strata(self, index: np.ndarray) -> Membership:
        """Return some of the strata, in this order."""
        new = np.full(self.shape[1], -1)
        new[index] = np.arange(len(index))
        kept = new[self.stratum] >= 0
        shape = (self.shape[0], len(index))
        return Membership(self.hypothesis[kept], new[self.stratum[kept]], self.sign[kept], shape)

    def with_unions(self, members: list[np.ndarray]) -> Membership:
        """Return the same with further hypotheses, each with all strata of some that share none."""
        parts = [self.hypotheses(index) for index in members]
        first = self.shape[0]
        return Membership(
            np.concatenate(
                [self.hypothesis, *(np.full(len(p.stratum), first + i) for i, p in enumerate(parts))]
            ),
            np.concatenate([self.stratum, *(p.stratum for p in parts)]),
            np.concatenate([self.sign, *(p.sign for p in parts)]),
            (first + len(parts), self.shape[1]),
        )

    def net(self, values: Floats) -> Floats:
        """Return the sums of values [strata] with the signs of the entries [hypotheses]."""
        return self._sum(self.sign * values[self.stratum])

    def total(self, values: Floats) -> Floats:
        """Return the sums of values [strata] without signs [hypotheses]."""
        return self._sum(values[self.stratum])

    def opposite(self, values: Floats) -> Floats:
        """Return the sums of values [strata] over entries of −1 [hypotheses]."""
        return self._sum((self.sign < 0) * values[self.stratum])

    def net_of_draws(self, draws: np.ndarray, kind: type = np.int64) -> np.ndarray:
        """Return the sums of whole numbers [strata, draws] with the signs of the entries [hypotheses, draws].

        `kind` is their type, which must hold them.
        """
        out: np.ndarray = np.zeros((self.shape[0], draws.shape[1]), dtype=kind)
        counts = self.counts
        first = np.cumsum(counts) - counts
        # Many hypotheses with few strata stratum by stratum, few with many one by one.
        for count in np.unique(counts[counts > 0]):
            rows = np.flatnonzero(counts == count)
            entries = first[rows, None] + np.arange(count)
            if len(rows) > count:
                summed = self._signed(draws, entries[:, 0], kind)
                for column in entries.T[1:]:
                    summed += self._signed(draws, column, kind)
                out[rows] = summed
            else:
                for row, at in zip(rows, entries, strict=True):
                    for start in range(0, count, _AT_ONCE):
                        some = self._signed(draws, at[start : start + _AT_ONCE], kind)
                        out[row] += np.add.reduce(some, axis=0, dtype=kind)
        return out

    def _signed(self, draws: np.ndarray, at: np.ndarray, kind: type) -> np.ndarray:
        """Return the draws of the strata of some entries, with their signs [some entries, draws]."""
        part = draws.take(self.stratum[at], axis=0).astype(kind, copy=False)
        sign = self.sign[at]
        if (sign < 0).any():
            part *= sign[:, None].astype(kind)
        return np.asarray(part)

    def _sum(self, values: Floats) -> Floats:
        return np.bincount(self.hypothesis, weights=values, minlength=self.shape[0]).astype(float)
