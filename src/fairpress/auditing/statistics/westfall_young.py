"""Westfall and Young's step-down min-p adjustment of one-sided exact McNemar tests.

Many overlapping groups are tested for the same thing: that losses (right → wrong) do not outnumber gains (wrong → right).
Flips are counted in disjoint strata, and a hypothesis is about the sum of some strata. Under the null hypothesis each
flip of a stratum is a loss or a gain with equal chance, so that dealing all flips again by fair coins gives the joint
distribution of all p-values, whatever the overlap and however coarse the distribution of the small ones. The adjusted
p-value of the j-th smallest p is the chance that dealing yields a p as small in any of the hypotheses from the j-th on
(Westfall and Young, *Resampling-Based Multiple Testing*, 1993, algorithm 2.8).

What is controlled, at every configuration of true and false hypotheses (family-wise error, strong sense):

* exactly, where flips are even in every stratum of the true hypotheses;
* approximately, where only the net loss of a true hypothesis is 0 or less: the p-value of each is still valid, and the
  number of flips that two hypotheses share, which is their covariance, does not depend on how a stratum's flips divide
  (``benchmarks/simulated/family.py`` has the simulation).

Adjusted p-values are (1 + hits)/(draws + 1), the observed table being one of the draws, so that their level holds for
any number of draws (Phipson and Smyth 2010). A draw whose p equals the observed one counts as a hit, and "below .05" is
strict: with 9,999 draws 498 hits reject and 499, an adjusted p of exactly .05, do not. The Monte-Carlo standard error is
.0022 at .05.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse, special

from fairpress.auditing.statistics.t_estimate import Floats

DRAWS = 9_999
_CHUNK_NUMBERS = 4_000_000
"""Numbers in the largest arrays of a chunk of draws: 32 MB each."""
_WORD = 16
_POPCOUNT = (
    np.unpackbits(np.arange(2**_WORD, dtype=np.uint16).view(np.uint8))
    .reshape(-1, _WORD)
    .sum(axis=1, dtype=np.uint8)
)
_MOST_COINS = 16 * _WORD
"""More flips than these are drawn from the binomial distribution, which is faster then."""
_TIE = 1 + 1e-9
"""Equal p-values of different hypotheses differ by rounding."""


def mcnemar_loss(lost: ArrayLike, gained: ArrayLike) -> Floats:
    """Return the one-sided exact McNemar p-value that losses outnumber gains: P(Bin(lost + gained, ½) ≥ lost).

    Counts of any shapes that broadcast; 1 without flips. McNemar, Psychometrika 12 (1947).
    """
    b, c = np.broadcast_arrays(np.asarray(lost, float), np.asarray(gained, float))
    # P(Bin(n, ½) ≥ b) = I_½(b, n − b + 1) for b ≥ 1.
    return np.asarray(np.where(b > 0, special.betainc(np.maximum(b, 1), c + 1, 0.5), 1.0))


def step_down_min_p(
    lost: ArrayLike,
    gained: ArrayLike,
    membership: Any,
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> Floats:
    """Return the adjusted p-values [hypotheses] of "losses do not outnumber gains".

    Below 1/(draws + 1), which draws cannot resolve, Holm's bound of the same exact p-values stands: the Westfall–Young
    p-value that infinitely many draws would give is never larger.

    Parameters
    ----------
    lost, gained
        Flips of each stratum [strata], whole numbers.
    membership
        Array or sparse array [hypotheses, strata] of 0 and 1; −1 where a loss of the stratum is a gain for the hypothesis.
    rng
        Source of the coins; the same state gives the same p-values.

    Raises ``ValueError`` where shapes do not fit or entries are not −1, 0 or 1.
    """
    b, c = np.asarray(lost, float), np.asarray(gained, float)
    matrix = sparse.csr_array(membership, dtype=float)
    if b.ndim != 1 or b.shape != c.shape or matrix.shape[1] != len(b):
        raise ValueError(
            f"flips of shapes {b.shape} and {c.shape} do not fit a membership of shape {matrix.shape}"
        )
    if not np.isin(matrix.data, (-1.0, 0.0, 1.0)).all():
        raise ValueError("a membership is −1, 0 or 1")
    flips = b + c
    total = abs(matrix) @ flips
    # A loss of the stratum counts for the hypothesis where membership is 1, a gain where it is −1.
    offset = matrix.minimum(0) @ -flips
    observed = matrix @ b + offset
    p = mcnemar_loss(observed, total - observed)
    tested = np.flatnonzero(total > 0)
    # The largest p first, so that minima over the remaining hypotheses accumulate downwards.
    order = tested[np.argsort(-p[tested], kind="stable")]
    adjusted = np.ones(len(p))
    if not len(order):
        return adjusted
    used = np.flatnonzero(flips > 0)
    hits = _hits(
        flips[used].astype(np.int64),
        matrix[order][:, used],
        offset[order],
        total[order],
        p[order],
        rng,
        draws,
    )
    # From the smallest p on.
    stepwise = np.maximum.accumulate((1 + hits[::-1]) / (draws + 1))
    remaining = np.arange(len(order), 0, -1)
    holm = np.maximum.accumulate(p[order][::-1] * remaining)
    adjusted[order[::-1]] = np.where(holm < 1 / (draws + 1), holm, stepwise)
    return adjusted


def _hits(
    flips: np.ndarray,
    matrix: Any,
    offset: Floats,
    total: Floats,
    p: Floats,
    rng: np.random.Generator,
    draws: int,
) -> np.ndarray:
    """Count, for each hypothesis, draws whose smallest p among it and those before it is as small as its own."""
    hits = np.zeros(len(p), dtype=np.int64)
    words = int(np.where(flips <= _MOST_COINS, -(-flips // _WORD), 1).sum())
    chunk = max(1, _CHUNK_NUMBERS // max(len(p), words))
    for start in range(0, draws, chunk):
        size = min(chunk, draws - start)
        losses = _deal(flips, size, rng)
        dealt = (matrix @ losses + offset[:, None]).astype(np.int64)
        smallest = np.minimum.accumulate(_tabulated(dealt, total), axis=0)
        hits += (smallest <= p[:, None] * _TIE).sum(axis=1)
    return hits


def _deal(flips: np.ndarray, size: int, rng: np.random.Generator) -> Floats:
    """Return draws [strata, size] of Bin(flips, ½), few flips as the number of ones among so many random bits."""
    out = np.empty((len(flips), size))
    few, many = np.flatnonzero(flips <= _MOST_COINS), np.flatnonzero(flips > _MOST_COINS)
    out[many] = rng.binomial(flips[many, None], 0.5, size=(len(many), size))
    if len(few):
        words = -(-flips[few] // _WORD)
        first = np.cumsum(words) - words
        coins = np.full(words.sum(), _WORD)
        coins[first] = flips[few] - _WORD * (words - 1)
        bits = rng.integers(2**_WORD, size=(len(coins), size), dtype=np.uint16)
        bits &= (2**coins - 1).astype(np.uint16)[:, None]
        out[few] = np.add.reduceat(_POPCOUNT[bits], first, axis=0, dtype=np.int64)
    return out


def _tabulated(lost: np.ndarray, total: Floats) -> Floats:
    """Return the p-values of losses [hypotheses, draws]; each count that occurs is computed once per hypothesis."""
    low, high = lost.min(axis=1), lost.max(axis=1)
    width = high - low + 1
    first = np.cumsum(width) - width
    hypothesis = np.repeat(np.arange(len(low)), width)
    count = np.arange(width.sum()) - (first - low)[hypothesis]
    table = mcnemar_loss(count, total[hypothesis] - count)
    return np.asarray(table[lost + (first - low)[:, None]])
