"""Predictive assurance: the chance that more rows of a group decide its verdict, given the rows that are there.

The shares of rows that lose, gain or keep a right answer have the posterior Dirichlet(lost + ½, gained + ½, kept + 1), times
what the other groups of the audit say about the loss (`statistics.exchangeable_losses`). Future rows are drawn from it and
added to the present ones, which stay as they are, and the verdict is applied to all of them. Averaging over the posterior
instead of assuming one truth makes it an assurance and not a power (Spiegelhalter, Freedman and Blackburn, Controlled
Clinical Trials 7, 1986; O'Hagan, Stevens and Campbell, Pharmaceutical Statistics 4, 2005).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairpress.auditing.statistics import special
from fairpress.auditing.statistics.exchangeable_losses import NormalMixture, prior_from_others
from fairpress.auditing.statistics.harm import modified_root
from fairpress.auditing.statistics.proportion_intervals import bonett_price
from fairpress.auditing.statistics.score_bounds import score_statistic
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate, t_quantile
from fairpress.auditing.verdicts.eligibility import min_rows_for

DRAWS = 256
CAP = 100_000
ASSURANCE = 0.8
_STEPS = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
GRID = np.array(sorted({round(s * 10**e) for e in range(1, 6) for s in _STEPS if s * 10**e <= CAP}))
"""Numbers of additional rows that are considered: ten a decade."""
_WILSON_HILFERTY = 8.0
_BLOCK = 32

Bools = NDArray[np.bool_]


class Chances(NamedTuple):
    """Probabilities of the verdicts after more rows: no harm, and loss or harm; the rest stays inconclusive."""

    no_harm: Floats
    loss: Floats

    @property
    def decided(self) -> Floats:
        return self.no_harm + self.loss


class CountRule(Protocol):
    """A verdict on counts."""

    def __call__(self, lost: Floats, gained: Floats, n: Floats, /) -> tuple[Bools, Bools]:
        """Return where the verdict is no harm, and where it is loss or harm; all [groups, draws], n [groups, 1]."""

    def of_groups(self, groups: NDArray[np.intp], /) -> CountRule:
        """Return the rule of some of the groups."""


@dataclass(frozen=True)
class VerdictRule:
    """The verdict of `rules.judge` on counts, with the levels of the corrected tests fixed.

    Attributes
    ----------
    margin, confidence
        δ, and the confidence of "no harm", which is not corrected.
    loss_level, harm_level
        Levels that the p-values of ℓ ≤ 0 and ℓ ≤ δ must reach: α/K in a family of K tests corrected by Holm's procedure,
        unless others of them are rejected first.
    df
        Degrees of freedom of the estimates, one or per group; ``inf`` unless people have several rows.
    min_rows
        Rows that a group needs to be assessed; by default those of the margin (`eligibility.min_rows_for`).
    """

    margin: float = 0.02
    confidence: float = 0.95
    loss_level: float = 0.05
    harm_level: float = 0.05
    df: float | Floats = np.inf
    min_rows: int | None = None

    def __call__(self, lost: Floats, gained: Floats, n: Floats, /) -> tuple[Bools, Bools]:
        """Return where the verdict is no harm, and where it is loss or harm."""
        df = self.df if np.ndim(self.df) == 0 else np.asarray(self.df)[:, None]
        z, z_loss, z_harm = (
            t_quantile(df, 1 - level) for level in (1 - self.confidence, self.loss_level, self.harm_level)
        )
        x = bonett_price(lost, gained, n)
        with np.errstate(divide="ignore", invalid="ignore"):
            harm = modified_root(x, (lost + gained) / n, self.margin) > z_harm
            loss = x.centre > z_loss * x.se
            below = x.centre + z * x.se < self.margin
            clear = below & (score_statistic(x, (lost + gained) / n, self.margin) < -z)
        needed = min_rows_for(self.margin, self.confidence) if self.min_rows is None else self.min_rows
        no_harm = clear & ~harm & (np.asarray(n) >= needed)
        return no_harm, harm | (loss & ~no_harm)

    def of_groups(self, groups: NDArray[np.intp], /) -> VerdictRule:
        """Return the rule of some of the groups."""
        return self if np.ndim(self.df) == 0 else replace(self, df=np.asarray(self.df)[groups])


@dataclass(frozen=True)
class RowAssurance:
    """The additional rows with which a verdict is decided with a probability.

    Attributes
    ----------
    more_rows
        Rows of the group on top of the present ones; None where `CAP` rows do not reach the probability.
    probability
        The requested one.
    no_harm, loss
        Chances of "no harm" and of "loss" or "harm" after `more_rows`, or after `CAP`.
    """

    more_rows: int | None
    probability: float
    no_harm: float
    loss: float

    @property
    def decided(self) -> float:
        return self.no_harm + self.loss


def effective_counts(loss: TEstimate, flip_share: Floats) -> tuple[Floats, Floats, Floats]:
    """Return (lost, gained, n) [groups] of losses, divided by the design effect of weights or repeated subjects."""
    n = np.nan_to_num(loss.effective_n)
    value, flips = np.nan_to_num(loss.value), np.nan_to_num(flip_share)
    return np.maximum(flips + value, 0) / 2 * n, np.maximum(flips - value, 0) / 2 * n, n


def decide_with(
    lost: ArrayLike,
    gained: ArrayLike,
    n: ArrayLike,
    rule: CountRule,
    *,
    scale: float,
    undecided: ArrayLike | None = None,
    probability: float = ASSURANCE,
    per_row: ArrayLike = 1.0,
) -> list[RowAssurance | None]:
    """Return for each group of an attribute the additional rows that decide its verdict, None where it is decided.

    Parameters
    ----------
    lost, gained, n
        Counts of *all* groups of the attribute in one metric (`effective_counts`): the decided ones, too, say which losses
        are to be expected.
    rule
        The verdict, such as `VerdictRule`.
    scale
        The margin, on whose scale losses are expected.
    undecided
        The groups to answer for [groups]; by default all.
    probability
        The requested chance of a decision.
    per_row
        Effective rows of the metric's denominator in one additional row of the group: the share of positives for a TPR,
        divided by the design effect.
    """
    b, c, size, share = _broadcast(lost, gained, n, per_row)
    chosen = np.ones(len(b), bool) if undecided is None else np.asarray(undecided, bool)
    groups = np.flatnonzero(chosen & (share > 0))
    x = bonett_price(b, c, size)
    prior = prior_from_others(x.value, x.se, scale)
    out: list[RowAssurance | None] = [None] * len(b)
    for start in range(0, len(groups), _BLOCK):  # blocks that fit into the processor's cache
        block = groups[start : start + _BLOCK]
        rows, chances = rows_for_assurance(
            b[block], c[block], size[block], rule.of_groups(block), probability, share[block], prior[block]
        )
        for i, g in enumerate(block):
            more = None if np.isnan(rows[i]) else int(rows[i])
            out[g] = RowAssurance(more, probability, float(chances.no_harm[i]), float(chances.loss[i]))
    return out


def assurance(
    lost: ArrayLike,
    gained: ArrayLike,
    n: ArrayLike,
    more: ArrayLike,
    rule: CountRule,
    prior: NormalMixture | None = None,
    draws: int = DRAWS,
) -> Chances:
    """Return the chances of the verdicts after `more` rows on top of the present ones.

    Deterministic: the posterior and the future rows are integrated over a lattice of `draws` points.

    Parameters
    ----------
    lost, gained, n
        Present counts per group [groups]: rows that lost and that gained a right answer, and the metric's denominator (all
        effective: divided by the design effect of weights or repeated subjects).
    more
        Additional rows of the denominator [groups].
    rule
        The verdict, such as `VerdictRule`.
    prior
        What is known of the losses besides; by default nothing.
    """
    b, c, size, m = _broadcast(lost, gained, n, more)
    return _Posterior.of(b, c, size, draws, prior).chances(m, rule)


def rows_for_assurance(
    lost: ArrayLike,
    gained: ArrayLike,
    n: ArrayLike,
    rule: CountRule,
    probability: float = ASSURANCE,
    per_row: ArrayLike = 1.0,
    prior: NormalMixture | None = None,
    draws: int = DRAWS,
) -> tuple[Floats, Chances]:
    """Return the additional rows with which the verdict is decided with a probability [groups], and the chances there.

    The rows are the smallest of `GRID` by bisection; NaN beyond `CAP` rows, where the chances are those of `CAP` rows.
    Parameters as in `assurance` and `decide_with`.
    """
    b, c, size, share = _broadcast(lost, gained, n, per_row)
    posterior = _Posterior.of(b, c, size, draws, prior)
    low, high = np.full(b.shape, -1), np.full(b.shape, len(GRID))
    while (pending := high - low > 1).any():
        groups = np.flatnonzero(pending)
        middle = (low + high)[groups] // 2
        chances = posterior[groups].chances(GRID[middle] * share[groups], rule.of_groups(groups))
        enough = chances.decided >= probability
        high[groups[enough]] = middle[enough]
        low[groups[~enough]] = middle[~enough]
    rows = GRID[np.minimum(high, len(GRID) - 1)].astype(float)
    return np.where(high < len(GRID), rows, np.nan), posterior.chances(rows * share, rule)


def chances_given_shares(
    n: ArrayLike, lost_share: ArrayLike, gained_share: ArrayLike, rule: CountRule, draws: int = 1024
) -> Chances:
    """Return the chances of the verdicts of `n` rows [groups] where the true shares of losses and gains are known (a power).

    Parameters as in `assurance`; shares per group [groups].
    """
    size, down, up = _broadcast(n, lost_share, gained_share)
    z = special.ndtri(_lattice(draws)[:2])
    lost = _binomial_quantiles(size[:, None], down[:, None], z[0])
    gained = _binomial_quantiles(size[:, None] - lost, (up / (1 - down))[:, None], z[1])
    no_harm, loss = rule(lost, gained, size[:, None])
    return Chances(no_harm.mean(axis=1), loss.mean(axis=1))


def _broadcast(*values: ArrayLike) -> tuple[Floats, ...]:
    return tuple(np.broadcast_arrays(*(np.atleast_1d(np.asarray(v, float)) for v in values)))


@dataclass(frozen=True)
class _Posterior:
    """Points of the posterior of the shares [groups, draws] and their weights, beside the present counts [groups, 1]."""

    lost: Floats
    gained: Floats
    n: Floats
    lost_share: Floats
    gained_share: Floats
    weight: Floats

    @classmethod
    def of(
        cls, lost: Floats, gained: Floats, n: Floats, draws: int, prior: NormalMixture | None
    ) -> _Posterior:
        u = _lattice(draws)
        shapes = (lost + 0.5, gained + 0.5, np.maximum(n - lost - gained, 0) + 1.0)
        g = [_gamma_quantiles(shape, u[i]) for i, shape in enumerate(shapes)]
        total = g[0] + g[1] + g[2]
        down, up = g[0] / total, g[1] / total
        weight = np.ones(down.shape) if prior is None else prior.density(down - up) + 1e-300
        weight = weight / weight.sum(axis=1, keepdims=True)
        return cls(lost[:, None], gained[:, None], n[:, None], down, up, weight)

    def __getitem__(self, groups: NDArray[np.intp]) -> _Posterior:
        return _Posterior(*(getattr(self, name)[groups] for name in self.__dataclass_fields__))

    def chances(self, more: Floats, rule: CountRule) -> Chances:
        z = special.ndtri(_lattice(self.lost_share.shape[1])[3:])
        m = more[:, None]
        lost = _binomial_quantiles(m, self.lost_share, z[0])
        gained = _binomial_quantiles(m - lost, self.gained_share / (1 - self.lost_share), z[1])
        no_harm, loss = rule(self.lost + lost, self.gained + gained, self.n + m)
        return Chances((no_harm * self.weight).sum(axis=1), (loss * self.weight).sum(axis=1))


def _lattice(points: int) -> Floats:
    """Return points of the unit cube [5, points] that fill it evenly: Kronecker's sequence on powers of 1/φ₅, φ₅⁶ = φ₅ + 1.

    Niederreiter, *Random Number Generation and Quasi-Monte Carlo Methods* (SIAM, 1992), section 3.
    """
    ratio = 1.1347241384015194
    steps = ratio ** -np.arange(1.0, 6.0)
    return np.asarray((0.5 + np.outer(steps, np.arange(points))) % 1)


def _gamma_quantiles(shape: Floats, probability: Floats) -> Floats:
    """Return quantiles of gamma distributions [groups, draws]; above a shape of 8 by Wilson and Hilferty (PNAS 17, 1931)."""
    out = (
        shape[:, None]
        * np.maximum(
            1 - 1 / (9 * shape[:, None]) + special.ndtri(probability) / np.sqrt(9 * shape[:, None]), 0
        )
        ** 3
    )
    small = np.flatnonzero(shape < _WILSON_HILFERTY)
    values, index = np.unique(np.round(shape[small], 1), return_inverse=True)
    out[small] = special.gammaincinv(values[:, None], probability)[index.reshape(-1)]
    return np.asarray(out)


def _binomial_quantiles(n: Floats, p: Floats, z: Floats) -> Floats:
    """Return quantiles of binomial distributions at normal scores z, by Cornish and Fisher's expansion (1938)."""
    variance = n * p * (1 - p)
    x = n * p + z * np.sqrt(variance) + (z**2 - 1) * (1 - 2 * p) / 6
    return np.asarray(np.clip(np.floor(x + 0.5), 0, np.maximum(np.floor(n), 0)))
