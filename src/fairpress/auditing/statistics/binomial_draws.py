"""Binomial draws whose numbers of trials vary within a narrow range, by inversion of tabulated distributions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairpress.auditing.statistics.t_estimate import Floats

Integers = NDArray[np.int64]

_MOST_EXPECTED = 16.0
"""Largest expected count that is tabulated: (1 − p)ⁿ is far from underflow, and 64 or more have a chance below 10⁻¹⁷."""
_LONGEST = 64
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
        fewest, most = self.trials.min(axis=1), self.trials.max(axis=1)
        entries = (most - fewest + 1) * _LONGEST
        tabulated = (most * p <= _MOST_EXPECTED) & (entries <= _ENTRIES_PER_DRAW * self.trials.shape[1])
        if tabulated.all():
            return _inverted(self.trials, p, self.uniform)
        out = np.empty_like(self.trials)
        out[tabulated] = _inverted(self.trials[tabulated], p[tabulated], self.uniform[tabulated])
        rng = np.random.default_rng(self.seed)
        out[~tabulated] = rng.binomial(self.trials[~tabulated], p[~tabulated, None])
        return out


def _inverted(trials: Integers, p: Floats, uniform: Floats) -> Integers:
    """Return the smallest k [rows, draws] whose distribution function reaches the uniform number."""
    if not trials.size:
        return np.zeros(trials.shape, dtype=np.int64)
    fewest = trials.min(axis=1)
    width = int((trials.max(axis=1) - fewest).max()) + 1
    reached = _distribution(fewest[:, None] + np.arange(width), p[:, None], float(uniform.max()))
    length = reached.shape[-1]
    start = np.arange(len(trials))[:, None] * width - fewest[:, None]
    first = (trials + start) * length
    table, at = reached.reshape(-1), first.copy()
    step = length // 2
    while step:  # binary search among `length` entries
        at += (table.take(at + (step - 1)) < uniform) * np.int64(step)
        step //= 2
    return np.asarray(at - first)


def _distribution(trials: Integers, p: Floats, highest: float) -> Floats:
    """Return P(Bin(trials, p) ≤ k) [..., k] up to the k at which all reach `highest`, padded to a power of two."""
    term = (1 - p) ** trials
    odds = p / (1 - p)
    reached = [term]
    while len(reached) < _LONGEST - 1 and reached[-1].min() < highest:
        k = len(reached)
        term = term * ((trials - (k - 1)) * odds / k)
        reached.append(reached[-1] + term)
    length = 1 << len(reached).bit_length()
    return np.stack([*reached, *[np.ones(term.shape)] * (length - len(reached))], axis=-1)
