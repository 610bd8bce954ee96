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
any number of draws (Phipson and Smyth 2010): a draw whose p equals the observed one counts as a hit, and
P(adjusted p ≤ α) ≤ α, equality included, so that a comparison with α may be strict or not. With 9,999 draws the
Monte-Carlo standard error is .0022 at .05.

Not for subjects with several rows, weights or seeds: coins for whole subjects are exact where each subject's gains and
losses are exchangeable, but not where few subjects gain much and many lose little (simulated false findings of .36 to
.60 at a net loss of 0).
"""

from __future__ import annotations

from itertools import accumulate

import numpy as np
from numpy.typing import ArrayLike

from fairpress.auditing.statistics import special
from fairpress.auditing.statistics.dealt_flips import DealtFlips, tabulated
from fairpress.auditing.statistics.membership import Membership
from fairpress.auditing.statistics.t_estimate import Floats

DRAWS = 9_999
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
    membership: ArrayLike | Membership,
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> Floats:
    """Return the adjusted p-values [hypotheses] of "losses do not outnumber gains".

    `lost`, `gained` [strata] and `membership` [hypotheses, strata] as in `DealtFlips.of`; the same state of `rng` gives the
    same p-values. Below 1/(draws + 1), which draws cannot resolve, Holm's bound of the same exact p-values stands: the
    Westfall–Young p-value that infinitely many draws would give is never larger.
    """
    dealt_flips = DealtFlips.of(lost, gained, membership)
    p = mcnemar_loss(dealt_flips.lost, dealt_flips.total - dealt_flips.lost)
    tested = np.flatnonzero(dealt_flips.total > 0)
    adjusted = np.ones(len(p))
    if not len(tested):
        return adjusted
    # The largest p first, so that minima over the remaining hypotheses accumulate downwards.
    order = tested[np.argsort(-p[tested], kind="stable")]
    ordered, total = p[order], dealt_flips.total[order]
    hits = np.zeros(len(order), dtype=np.int64)
    # Draws are compared by the number of observed p-values below theirs, which needs a quarter of the memory of p-values.
    ascending = ordered[::-1] * _TIE
    rank = np.uint16 if len(order) < 2**16 else np.int64

    def p_rank(count: np.ndarray, h: np.ndarray) -> np.ndarray:
        return np.searchsorted(ascending, mcnemar_loss(count, total[h] - count)).astype(rank)

    for chunk in dealt_flips.select(order).deal(rng, draws):
        ranks = accumulate(tabulated(chunk, p_rank), np.minimum)
        for h, smallest in enumerate(ranks):
            hits[h] += np.count_nonzero(smallest <= rank(len(order) - 1 - h))
    # From the smallest p on.
    stepwise = np.maximum.accumulate((1 + hits[::-1]) / (draws + 1))
    holm = np.maximum.accumulate(ordered[::-1] * np.arange(len(order), 0, -1))
    adjusted[order[::-1]] = np.where(holm < 1 / (draws + 1), holm, stepwise)
    return adjusted
