"""Binomial draws whose numbers of trials vary within a narrow range, by inversion of tabulated distributions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fairpress.auditing.statistics.t_estimate import Floats

Integers = NDArray[np.int64]

_MOST_EXPECTED = 16.0
"""Largest expected count that is tabulated: (1 − p)ⁿ is far from underflow, and 64 or more have a chance below 10⁻¹⁷."""
_LONGEST = 64
_LINE = 8
_AT_ONCE = 2**15
_ENTRIES_PER_DRAW = 8
"""Entries of a table for each draw up to which it takes less time than NumPy's generator."""


@dataclass(frozen=True)
class BinomialDraws:
    """Uniform numbers that become draws from Bin(trials, p) for any p: the same numbers, whatever else is drawn.

    Inversion is exact: a draw is the smallest k with P(Bin(trials, p) ≤ k) ≥ u. Where a table would be large (many trials,
    many expected), NumPy's generator draws instead, from `seed`.

    Attributes
    ----------
    trials
        Numbers of trials [rows, draws]; each row has its own p.
    uniform
        Independent uniform numbers on [0, 1) [rows, draws].
    seed
        Of the generator for rows without a table.
    """

    trials: Integers
    uniform: Floats
    seed: int

    @classmethod
    def of(cls, trials: Integers, rng: np.random.Generator) -> BinomialDraws:
        """Return draws from these numbers of trials [rows, draws]."""
        return cls(trials, rng.random(trials.shape), int(rng.integers(2**63)))

    def of_chance(self, p: Floats) -> Integers:
        """Return draws [rows, draws] with the chances p [rows]."""
        entries = (self._most - self._fewest + 1) * _LONGEST
        tabulated = (self._most * p <= _MOST_EXPECTED) & (entries <= _ENTRIES_PER_DRAW * self.trials.shape[1])
        out = np.empty_like(self.trials)
        if tabulated.all():
            for rows, part in self._parts:
                out[rows] = part._inverted(p[rows])
            return out
        some = BinomialDraws(self.trials[tabulated], self.uniform[tabulated], self.seed)
        out[tabulated] = some._inverted(p[tabulated])
        rng = np.random.default_rng(self.seed)
        out[~tabulated] = rng.binomial(self.trials[~tabulated], p[~tabulated, None])
        return out

    @cached_property
    def _parts(self) -> list[tuple[slice, BinomialDraws]]:
        """Some rows at a time, whose arrays stay in the processor's cache."""
        step = max(1, _AT_ONCE // max(self.trials.shape[1], 1))
        parts = [slice(start, start + step) for start in range(0, len(self.trials), step)]
        return [(rows, BinomialDraws(self.trials[rows], self.uniform[rows], self.seed)) for rows in parts]

    @cached_property
    def _fewest(self) -> Integers:
        return np.asarray(self.trials.min(axis=1))

    @cached_property
    def _most(self) -> Integers:
        return np.asarray(self.trials.max(axis=1))

    @cached_property
    def _width(self) -> int:
        """Numbers of trials for which each row has a distribution."""
        return int((self._most - self._fewest).max()) + 1

    @cached_property
    def _distribution_of(self) -> Integers:
        """The index of the distribution of each draw, of all rows [rows, draws]."""
        return self.trials + (np.arange(len(self.trials)) * self._width - self._fewest)[:, None]

    @cached_property
    def _highest(self) -> float:
        return float(self.uniform.max())

    def _inverted(self, p: Floats) -> Integers:
        """Return the smallest k [rows, draws] whose distribution function reaches the uniform number."""
        if not self.trials.size:
            return np.zeros(self.trials.shape, dtype=np.int64)
        trials = self._fewest[:, None] + np.arange(self._width)
        reached = _distributions(trials, p[:, None], self._highest)
        levels, plane = reached.shape
        table, at = reached.reshape(-1), self._distribution_of.copy()
        step = levels // 2
        while step:  # binary search among the levels
            beyond = table[(step - 1) * plane :].take(at) < self.uniform
            at += beyond * np.int64(step * plane)
            step //= 2
        at //= plane
        return at


def _distributions(trials: Integers, p: Floats, highest: float) -> Floats:
    """Return P(Bin(trials, p) ≤ k) [k, distributions] up to the k at which all reach `highest`.

    Trials and p broadcast. The axis of k is padded with ones to a power of two.
    """
    term = (1 - p) ** trials
    odds = p / (1 - p)
    # An odd number of cache lines apart, or all k of a distribution would share the same few places of the cache.
    out = np.empty((_LONGEST, (-(-term.size // _LINE) | 1) * _LINE))
    levels = out[:, : term.size].reshape(_LONGEST, *term.shape)
    levels[0] = term
    k = 1
    while k < _LONGEST - 1 and levels[k - 1].min() < highest:
        term *= (trials - (k - 1)) * odds / k
        np.add(levels[k - 1], term, out=levels[k])
        k += 1
    length = 1 << k.bit_length()
    levels[k:length] = 1.0
    return out[:length]
