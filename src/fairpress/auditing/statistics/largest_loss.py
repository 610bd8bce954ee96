"""A lower bound of the largest loss over groups: "with 95 % confidence some group loses at least Y".

Y is the largest simultaneous lower bound, centre − c·se of Bonett and Price over the groups. That H: "no group loses
more than y" is rejected for every y < Y takes one step; stepping down adds nothing to the largest. Two critical values:

* Bonferroni's quantile at 1 − α/groups, for any estimate (weights, subjects, seeds);
* for counts of rows, the 1 − α quantile of the largest studentized net loss when all flips are dealt by fair coins
  (`dealt_flips`), which knows how groups overlap and that small ones cannot reach far. It has exactly this level where
  nobody loses; elsewhere it takes the shape of the distribution from the deals (``benchmarks/simulated/family.py``). It is
  never below the quantile of a single bound, since few flips have a coarse distribution: alone, the deals' quantile errs
  in up to 7.3 % for one group of 120 rows, with this floor in at most 4.6 % (enumeration of 10–300 rows).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
from numpy.typing import ArrayLike

from fairpress.auditing.statistics import special
from fairpress.auditing.statistics.dealt_flips import DealtFlips, tabulated
from fairpress.auditing.statistics.membership import Membership
from fairpress.auditing.statistics.proportion_intervals import bonett_price
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate

DRAWS = 4_999
"""The standard error of the critical value's level is .003 at .05."""


def bonferroni_lower_bounds(losses: Sequence[TEstimate], confidence: float = 0.95) -> list[Floats]:
    """Return lower bounds of all losses that hold at once under any dependence, in the shapes given.

    NaN where there is no estimate.
    """
    tests = max(1, sum(int(x.estimable.sum()) for x in losses))
    return [np.where(x.estimable, x.lower(1 - (1 - confidence) / tests), np.nan) for x in losses]


def dealt_lower_bounds(
    lost: ArrayLike,
    gained: ArrayLike,
    membership: ArrayLike | Membership,
    rows: ArrayLike,
    rng: np.random.Generator,
    confidence: float = 0.95,
    draws: int = DRAWS,
) -> Floats:
    """Return simultaneous lower bounds of the losses of groups of rows [groups]; NaN where a group has no rows.

    `lost`, `gained` [strata] and `membership` [groups, strata] as in `DealtFlips.of`; `rows` [groups] are denominators.
    """
    n = np.asarray(rows, float)
    bounds = np.full(n.shape, np.nan)
    inside = np.flatnonzero(n > 0)
    if not len(inside):
        return bounds
    dealt_flips = DealtFlips.of(lost, gained, membership).select(inside)
    n, total = n[inside], dealt_flips.total

    def studentized(count: np.ndarray, group: np.ndarray) -> Floats:
        losses = bonett_price(count, total[group] - count, n[group])
        return np.asarray(losses.centre / losses.se)

    largest = np.concatenate(
        [reduce(np.maximum, tabulated(x, studentized)) for x in dealt_flips.deal(rng, draws)]
    )
    # The observed table is one of the draws + 1: ⌊α(draws + 1)⌋ of them are at or above the critical value.
    rank = int(np.floor((1 - confidence) * (draws + 1) * (1 + 1e-12)))
    if rank < 1:
        raise ValueError(f"{draws:,} draws have no quantile at {confidence:.6g}")
    critical = max(float(np.partition(largest, draws - rank)[draws - rank]), float(special.ndtri(confidence)))
    losses = bonett_price(dealt_flips.lost, total - dealt_flips.lost, n)
    bounds[inside] = np.clip(losses.centre - critical * losses.se, *losses.limits)
    return bounds
