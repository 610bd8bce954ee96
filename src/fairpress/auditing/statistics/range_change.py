"""Bounds of the change of a maximum over pairs of groups (a gap, a ratio) between two models of the same rows.

Let r₁ and r₀ be the differences of two groups' rates after and before, one per ordered pair. Then

    G₁ − G₀ = max_p r₁ₚ − max_q r₀_q = min_q max_p (r₁ₚ − r₀_q).

With q* the true extreme pair before, G₁ − G₀ ≥ r₁ₚ − r₀_q* for every p. If the lower bounds of these contrasts hold
simultaneously over p, for each q by itself, then

    L = min_q max_p (estimate − c·se)

exceeds G₁ − G₀ with at most their error: q* is one fixed pair, whichever it is, and L is at most its term. No pair is
selected by its estimate on the side of q. The upper bound follows by swapping the models. Because each contrast has the
covariance of the two models' errors in the groups that p and q share, a pair that is extreme in both models has the
short interval of a paired change, and at ties the interval is valid, where a bootstrap of the gap is not.

Simultaneity over p: the contrast of the pair with itself (p = q) has half of the error (.8 over seeds), the other pairs
share the rest (weighted Bonferroni). Pairs that are demonstrably not the largest after, by their own simultaneous bounds
at α/20 a side, are left out, and do not count ("adaptive inequality selection" of Chernozhukov, Lee and Rosen,
Econometrica 81, 2013).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fairpress.auditing.statistics.range_bounds import Bounds, largest_low, plausible_pairs
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate, t_quantile

Indices = NDArray[np.intp]

SELECTION_SHARE = 0.1
"""Share of α for leaving out pairs that are not the largest; the rest is for the change itself."""

SAME_PAIR, SAME_PAIR_DEPENDENT = 0.5, 0.8
"""Share of the error for the contrast of a pair with itself. Of dependent groups it is larger: the standard errors of the
other contrasts are sums of four, and with few seeds their quantiles are those of a t distribution with few df."""

MAX_GROUPS = 500
"""The largest number of groups whose pairs of pairs are searched."""

_INNER, _ROWS, _CUTS, _FEW_VALUES = 256, 16, 4, 4096


@dataclass(frozen=True)
class PairRates:
    """A quantity of each ordered pair of groups under one model, with its gradient in the two groups' rates; P pairs.

    Groups of different families (TPR and FPR) have different indices, since their rows are different rows.

    Attributes
    ----------
    top, bottom
        Indices of the two groups [P].
    value
        The quantity, such as rate_top − rate_bottom [P].
    top_weight, bottom_weight
        Its derivative in the rate of each group [P].
    se
        Its standard error [P].
    plausible
        Whether the pair may be the one with the largest quantity [P].
    """

    top: Indices
    bottom: Indices
    value: Floats
    top_weight: Floats
    bottom_weight: Floats
    se: Floats
    plausible: NDArray[np.bool_]


@dataclass(frozen=True)
class PairedErrors:
    """Errors of all groups' rates under two models on the same rows; G groups, all families one after the other.

    Attributes
    ----------
    after, before
        Standard errors under each model [G].
    covariance
        Covariance of a group's two errors [G].
    df
        Degrees of freedom of all of them; ``inf`` for the normal distribution.
    dependent
        Whether the groups' errors may depend on each other (shared seeds). Standard errors are then added, which bounds that
        of the sum whatever the correlation.
    """

    after: Floats
    before: Floats
    covariance: Floats
    df: float
    dependent: bool = False

    def swap(self) -> PairedErrors:
        """Return the errors with the models' roles exchanged."""
        return PairedErrors(self.before, self.after, self.covariance, self.df, self.dependent)


def paired_errors(
    triples: Sequence[tuple[TEstimate, TEstimate, TEstimate]], dependent: bool = False
) -> PairedErrors:
    """Return the errors of (baseline, compressed, change) per family; cov = (se₁² + se₀² − se_Δ²)/2.

    The covariance is exact for variances of one sample. For `two_way.crossed_rate` and `crossed_change`, whose variances are
    sums of components bounded at 0, it is an approximation, as are the degrees of freedom (the fewest of all estimates).
    """
    before, after, change = (np.concatenate([t[m].se for t in triples]) for m in (0, 1, 2))
    largest = after * before
    covariance = np.clip((after**2 + before**2 - change**2) / 2, -largest, largest)
    df = min(float(x.df.min()) for t in triples for x in t)
    return PairedErrors(after, before, covariance, df, dependent)


def pair_differences(families: Sequence[TEstimate], alpha: float, dependent: bool = False) -> PairRates:
    """Return rate_top − rate_bottom of all ordered pairs within each family.

    Plausible are the pairs whose simultaneous upper bound, over all pairs and families at level 1 − `alpha`, reaches the
    largest simultaneous lower bound.
    """
    reach = max(largest_low(x, alpha, dependent, len(families)) for x in families)
    parts, first = [], 0
    for x in families:
        i, j = _ordered_pairs(x.value.size)
        plausible = plausible_pairs(x, alpha, dependent, len(families), reach)[i, j]
        se = _pair_se(x.se[i], x.se[j], dependent)
        parts.append((i + first, j + first, x.centre[i] - x.centre[j], se, plausible))
        first += x.value.size
    top, bottom, value, se, among = (np.concatenate(column) for column in zip(*parts, strict=True))
    return PairRates(top, bottom, value, np.ones(value.size), -np.ones(value.size), se, among)


@lru_cache(maxsize=8)
def _ordered_pairs(groups: int) -> tuple[Indices, Indices]:
    """Return the two groups of each ordered pair."""
    top, bottom = np.nonzero(~np.eye(groups, dtype=bool))
    return top, bottom


def pair_ratios(x: TEstimate, log: TEstimate, alpha: float, dependent: bool = False) -> PairRates:
    """Return −rate_bottom/rate_top of all ordered pairs; its largest value is minus the smallest ratio.

    `log` are the same rates on the logarithms' scale, by which pairs are judged plausible.
    """
    pairs = pair_differences([log], alpha, dependent)
    over = x.centre[pairs.top]
    ratio = x.centre[pairs.bottom] / over
    top_weight, bottom_weight = ratio / over, -1 / over
    a, b = np.abs(top_weight) * x.se[pairs.top], np.abs(bottom_weight) * x.se[pairs.bottom]
    se = _pair_se(a, b, dependent)
    return PairRates(pairs.top, pairs.bottom, -ratio, top_weight, bottom_weight, se, pairs.plausible)


def maximum_change_bounds(
    after: PairRates, before: PairRates, errors: PairedErrors, alpha: float = 0.05
) -> Bounds:
    """Return a 1 − `alpha` interval of max over pairs after − max over pairs before.

    Both have the same pairs in the same order; `plausible` at `selection_level` (`alpha`).
    """
    low = _lower(after, before, errors, alpha)
    return Bounds(low, -_lower(before, after, errors.swap(), alpha))


def selection_level(alpha: float) -> float:
    """Return the level at which the pairs of each model are judged plausible, for an interval at 1 − `alpha`."""
    return alpha * SELECTION_SHARE / 2


def _lower(after: PairRates, before: PairRates, errors: PairedErrors, alpha: float) -> float:
    """Return min over q of max over plausible p of estimate − c·se.

    Of more than 256 plausible p, the 256 that are largest by themselves are tried, and q: fewer p make the bound smaller, so
    it is valid. q are tried from the smallest bound by one p upwards until no other can be smaller.
    """
    contrasts = _Contrasts(after, before, errors, alpha)
    inner = np.flatnonzero(after.plausible)
    if inner.size > _INNER:
        separate = after.value - contrasts.c_other * after.se
        inner = inner[_largest(separate[inner], _INNER)]
    best = inner[np.argmax(after.value[inner])]
    every = np.arange(before.value.size)
    same = np.where(after.plausible, contrasts.lower_of_same(), -np.inf)
    least = np.maximum(same, contrasts.lower(np.array([best]), every))
    return _smallest_maximum(lambda q, p: contrasts.lower(p, q), least, inner)


def _smallest_maximum(value: Callable[[Indices, Indices], Floats], least: Floats, columns: Indices) -> float:
    """Return min over rows of max(least, max over columns of the value), from few of the values.

    Rows are evaluated from the smallest lower bound upwards. The columns in which the evaluated rows are largest then raise
    the lower bounds of the others (cutting planes), until no other row can be smaller.

    Parameters
    ----------
    value
        Function of indices of rows and of columns, which broadcast.
    least
        Lower bounds of the rows' maxima [rows].
    """
    every = np.arange(least.size)
    if least.size * columns.size <= _FEW_VALUES:
        return float(np.maximum(least, value(every[:, None], columns[None, :]).max(axis=1)).min())
    least, smallest = least.copy(), np.inf
    tried: set[int] = set()
    while True:
        open_rows = np.flatnonzero(least < smallest)
        if not open_rows.size:
            return smallest
        some = open_rows[_largest(-least[open_rows], _ROWS)]
        evaluated = value(some[:, None], columns[None, :])
        largest = np.maximum(least[some], evaluated.max(axis=1))
        smallest = min(smallest, float(largest.min()))
        least[some] = np.inf  # done with
        deepest = dict.fromkeys(int(c) for c in columns[evaluated.argmax(axis=1)])
        for column in [c for c in deepest if c not in tried][:_CUTS]:
            tried.add(column)
            rows = np.flatnonzero(least < smallest)
            least[rows] = np.maximum(least[rows], value(rows, np.array([column])))


def _largest(values: Floats, count: int) -> Indices:
    """Return the indices of the largest values, in any order."""
    if values.size <= count:
        return np.arange(values.size)
    return np.argpartition(values, values.size - count)[values.size - count :]


class _Contrasts:
    """The contrasts r₁ₚ − r₀_q of pairs p after and q before, which broadcast, with their one-sided quantiles."""

    def __init__(self, after: PairRates, before: PairRates, errors: PairedErrors, alpha: float) -> None:
        self.after, self.before, self.errors = after, before, errors
        self._after_variance, self._before_variance = after.se**2, before.se**2
        self._covariances = [
            (group, 2 * weight * errors.covariance[group]) for group, weight in self._sides(after)
        ]
        error, count = (1 - SELECTION_SHARE) * alpha / 2, int(after.plausible.sum())
        same = error if count == 1 else error * (SAME_PAIR_DEPENDENT if errors.dependent else SAME_PAIR)
        other = (error - same) / max(count - 1, 1)
        self._c_same, self.c_other, self._c_without_same = (
            float(t_quantile(errors.df, 1 - share)) for share in (same, other, error / count)
        )

    def quantile(self, p: Indices, q: Indices) -> Floats:
        """Return c; where q itself is not plausible after, all p share the whole error."""
        other = np.where(self.after.plausible[q], self.c_other, self._c_without_same)
        return np.where(p == q, self._c_same, other)

    def lower(self, p: Indices, q: Indices) -> Floats:
        """Return estimate − c·se."""
        return np.asarray(self.after.value[p] - self.before.value[q] - self.quantile(p, q) * self.se(p, q))

    def lower_of_same(self) -> Floats:
        """Return the same for each pair with itself."""
        if self.errors.dependent:
            every = np.arange(self.after.value.size)
            return self.lower(every, every)
        spread = self._after_variance + self._before_variance
        for (_, covariance), (_, weight) in zip(self._covariances, self._sides(self.before), strict=True):
            spread -= covariance * weight
        se = np.sqrt(np.maximum(spread, 0))
        return np.asarray(self.after.value - self.before.value - self._c_same * se)

    def se(self, p: Indices, q: Indices) -> Floats:
        """Return the standard errors."""
        if self.errors.dependent:
            return self._dependent_se(p, q)
        spread = self._after_variance[p] + self._before_variance[q]
        before = [(other[q], weight[q]) for other, weight in self._sides(self.before)]
        for group, covariance in self._covariances:
            g, c = group[p], covariance[p]
            for other, weight in before:
                spread -= (g == other) * (c * weight)
        return np.sqrt(np.maximum(spread, 0))

    def _dependent_se(self, p: Indices, q: Indices) -> Floats:
        """Return bounds of the standard errors: those of groups that differ are added."""
        errors, spread = self.errors, self.after.se[p] + self.before.se[q]
        for group, weight in self._sides(self.after):
            for other, other_weight in self._sides(self.before):
                g, v, w = group[p], weight[p], other_weight[q]
                a, b = np.abs(v) * errors.after[g], np.abs(w) * errors.before[g]
                apart = np.sqrt(np.maximum(a**2 + b**2 - 2 * v * w * errors.covariance[g], 0))
                spread = spread - np.where(g == other[q], a + b - apart, 0.0)
        return np.asarray(np.maximum(spread, 0))

    @staticmethod
    def _sides(x: PairRates) -> tuple[tuple[Indices, Floats], tuple[Indices, Floats]]:
        """Return the groups of a pair, and the weights of their rates."""
        return (x.top, x.top_weight), (x.bottom, x.bottom_weight)


def _pair_se(a: Floats, b: Floats, dependent: bool) -> Floats:
    """Return the standard errors of differences from those of both sides."""
    return np.asarray(a + b) if dependent else np.hypot(a, b)


def smallest_showable_change(
    after: PairRates, before: PairRates, errors: PairedErrors, alpha: float = 0.05
) -> float:
    """Return the smallest rise of the estimated maximum that these rows could show, in the unit of the rates.

    By `maximum_change_bounds`, a rise is shown when one pair p has r₁ₚ > max_q (r₀_q + c·se). The smallest such r₁ₚ, minus
    the estimated maximum before, is the smallest rise: c·se of the paired change where one pair is extreme by far, and
    much more where groups are nearly equal, as p must exceed every q that may be extreme. The estimates before, the
    standard errors and the plausible pairs are taken as they are. At ties the estimated maximum before is above the true
    one, and a true rise must be larger by as much. For a fall exchange the models.
    """
    contrasts = _Contrasts(after, before, errors, alpha)
    # Of many q, those with the largest estimates: fewer q can only make the result smaller.
    q = _largest(before.value, _INNER)

    def needed(p: Indices, q: Indices) -> Floats:
        return np.asarray(before.value[q] + contrasts.quantile(p, q) * contrasts.se(p, q))

    every = np.arange(after.value.size)
    ends = q[[before.value[q].argmax(), before.value[q].argmin()]]
    least = np.maximum(*(needed(every, np.array([end])) for end in ends))
    return _smallest_maximum(needed, least, q) - float(before.value.max())
