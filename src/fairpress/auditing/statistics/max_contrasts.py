"""Sums of maxima of contrasts: gaps, worst groups and orders of groups, over models, seeds and rows jointly."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import permutations, product

import numpy as np

from fairpress.auditing.statistics.t_estimate import Floats, TEstimate, concatenate
from fairpress.auditing.statistics.two_way_contrasts import CrossedProducts, crossed_contrasts

ORDER_SHARE = 0.1
"""Share of α for selecting the candidates that may be the largest; the rest is for the sum itself."""

_EXHAUSTIVE = 64
_SMALLEST_P = 1e-8


@dataclass(frozen=True)
class Term:
    """coefficient · max over candidates v of Σ v[cell, column] · rate[cell, column].

    A gap of K groups is the largest of K(K − 1) differences, a pairwise bias the largest of K! weighted sums, a linear
    quantity has one candidate.

    Attributes
    ----------
    candidates
        Shape [candidates, cells, columns of the sums].
    context, family
        A negative term is paired with a positive term of its family, whose candidates correspond to its own (such as the
        same differences of TPRs), preferably one of the same context (such as the same architecture).
    """

    coefficient: float
    candidates: Floats
    context: str = ""
    family: int = 0

    def __neg__(self) -> Term:
        return replace(self, coefficient=-self.coefficient)


class MaxContrasts:
    """θ = Σ terms, with intervals and p-values that hold at ties.

    θ is the contrast in which every term has its true largest candidate. The true largest candidate is unknown: all
    candidates are retained that are not demonstrably smaller than the one with the largest estimate (one-sided, α/10
    over all candidates of all terms together), and the upper bound is the largest upper bound over the retained
    combinations; likewise the lower bound. As −T(x) ≤ −v·x for every v, θ is also at most the contrast in which a
    negative term takes the candidate of a positive one, its partner: which is paired and has less variance. Where the
    two differ, both bounds are computed, each at half of α, and the smaller one counts. Beyond 64 combinations, the
    largest is searched for one term at a time. `crossed_contrasts` gives the bounds.
    """

    def __init__(self, sums: CrossedProducts, terms: Sequence[Term]) -> None:
        self.sums, self.terms = sums, [t for t in terms if t.coefficient]
        rates = sums.rates
        self._best = [int(np.argmax(np.einsum("vcm,cm->v", t.candidates, rates))) for t in self.terms]
        self._against_best = [self._differences(t, b) for t, b in zip(self.terms, self._best, strict=True)]
        self._position: dict[tuple[int, ...], int] = {}
        self._computed: TEstimate | None = None
        self.linear = all(len(t.candidates) == 1 for t in self.terms)

    @property
    def weights(self) -> Floats:
        """Return the contrast [cells, columns] of the candidates that are estimated to be the largest; θ̂ is its sum."""
        return sum_of_contrasts(
            t.coefficient * t.candidates[b] for t, b in zip(self.terms, self._best, strict=True)
        )

    @property
    def value(self) -> float:
        return float((self.weights * self.sums.rates).sum())

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the two-sided interval, clipped to the range that rates between 0 and 1 allow."""
        alpha = 1 - confidence
        lowest, highest = self._attainable_range()
        return max(lowest, -self._upper(-1, alpha)), min(highest, self._upper(1, alpha))

    def _attainable_range(self) -> tuple[float, float]:
        """Return the smallest and largest sum that rates between 0 and 1 can have."""
        lowest = highest = 0.0
        for term in self.terms:
            high = np.maximum(term.candidates, 0).sum(axis=(1, 2)).max()
            low = np.minimum(term.candidates, 0).sum(axis=(1, 2)).max()
            if len(term.candidates) > 1 and np.allclose(term.candidates.sum(axis=0), 0):
                low = 0.0  # one of two opposite candidates is not negative
            ends = sorted((term.coefficient * low, term.coefficient * high))
            lowest, highest = lowest + ends[0], highest + ends[1]
        return lowest, highest

    def p_two_sided(self, bound: float = 0.0) -> float:
        """Return the smallest α whose interval excludes the bound, not below 1e-8."""
        if self.linear:
            contrast = crossed_contrasts(self.sums, self.weights[None])
            p = float(contrast.p_two_sided(bound)[0])
            return 1.0 if math.isnan(p) else max(p, _SMALLEST_P)
        sign = 1 if self.value < bound else -1

        def excess(log_alpha: float) -> float:
            return self._upper(sign, math.exp(log_alpha)) - sign * bound

        smallest = math.log(_SMALLEST_P)
        if excess(math.log(0.999)) >= 0:
            return 1.0
        if excess(smallest) < 0:
            return _SMALLEST_P
        # The bound falls as α grows, with jumps where candidates are left out; the root finder needs a change of sign only.
        from scipy import optimize  # slow to import

        return math.exp(optimize.brentq(excess, smallest, math.log(0.999), xtol=1e-6) + 1e-6)

    def _differences(self, term: Term, best: int) -> TEstimate | None:
        """Return the best candidate minus each."""
        if len(term.candidates) == 1:
            return None
        return crossed_contrasts(self.sums, term.candidates[best][None] - term.candidates)

    def _plausible_candidates(self, i: int, alpha: float) -> list[int]:
        against, term = self._against_best[i], self.terms[i]
        if against is None:
            return [0]
        several = sum(len(t.candidates) > 1 for t in self.terms)
        level = alpha * ORDER_SHARE / (several * (len(term.candidates) - 1))
        with np.errstate(invalid="ignore"):
            certain = against.centre - against.half_width(level) > 0
        return [int(v) for v in np.flatnonzero(~certain)] or [self._best[i]]

    def _upper(self, sign: int, alpha: float) -> float:
        """Return the upper bound of sign · θ."""
        terms = [t if sign > 0 else -t for t in self.terms]
        partner = _partners(terms)
        plausible = [self._plausible_candidates(i, alpha) for i in range(len(terms))]
        side = (alpha if self.linear else (1 - ORDER_SHARE) * alpha) / 2

        def bounds(choices: Sequence[tuple[int, ...]]) -> Floats:
            paired = [tuple(c[partner[j]] for j in range(len(c))) for c in choices]
            same = np.array([a == b for a, b in zip(choices, paired, strict=True)])
            tail = np.where(same, side, side / 2)
            sums = (self._sums_of(c) for c in (choices, paired))
            return np.minimum(*(sign * x.centre + x.half_width(tail) for x in sums))

        if math.prod(map(len, plausible)) <= _EXHAUSTIVE:
            return float(bounds(list(product(*plausible))).max())
        chosen, largest = list(self._best), -math.inf
        several = [i for i, k in enumerate(plausible) if len(k) > 1]
        for _ in range(10):
            before = largest
            for i in several:
                # Vary the term alone, and together with the terms that it is the partner of.
                variable_sets = {(i,), (i, *(j for j, q in enumerate(partner) if q == i and j != i))}
                trials = [
                    tuple(v if j in m else c for j, c in enumerate(chosen))
                    for m in variable_sets
                    for v in plausible[i]
                ]
                trials = [t for t in trials if all(v in plausible[j] for j, v in enumerate(t))]
                upper_bounds = bounds(trials)
                if upper_bounds.max() >= largest:
                    chosen, largest = list(trials[int(upper_bounds.argmax())]), float(upper_bounds.max())
            if largest <= before + 1e-12:
                break
        return largest

    def _sums_of(self, choices: Sequence[tuple[int, ...]]) -> TEstimate:
        """Return Σ of the chosen candidates, one entry per choice, each computed once."""
        new = [c for c in dict.fromkeys(choices) if c not in self._position]
        if new:
            stacked = [
                sum_of_contrasts(t.coefficient * t.candidates[v] for t, v in zip(self.terms, c, strict=True))
                for c in new
            ]
            contrasts = crossed_contrasts(self.sums, np.stack(stacked))
            self._position |= {c: len(self._position) + i for i, c in enumerate(new)}
            self._computed = contrasts if self._computed is None else concatenate([self._computed, contrasts])
        assert self._computed is not None
        return self._computed[[self._position[c] for c in choices]]


def _partners(terms: Sequence[Term]) -> list[int]:
    """Return for each term the index of its partner: itself if positive, else a positive term of its family."""
    positive = [i for i, t in enumerate(terms) if t.coefficient > 0 or len(t.candidates) == 1]
    out = []
    for i, t in enumerate(terms):
        same_family = [j for j in positive if terms[j].family == t.family and terms[j].coefficient > 0]
        matches = [j for j in same_family if terms[j].context == t.context] or same_family
        out.append(i if i in positive or not matches else matches[0])
    return out


def gap_of_contrasts(values: Floats) -> Floats:
    """Return the candidates of the largest difference between rows of [groups, cells, columns]."""
    k = len(values)
    return np.stack([values[i] - values[j] for i in range(k) for j in range(k) if i != j])


def plausible_orders(values: Floats) -> Floats:
    """Return the candidates of Σ over pairs of |difference| between rows of [groups, cells, columns]."""
    k = len(values)
    steps = 2.0 * np.arange(k) - k + 1
    return np.stack([np.tensordot(steps, values[list(o)], axes=1) for o in permutations(range(k))])


def sum_of_contrasts(parts: Iterable[Floats]) -> Floats:
    """Return the sum of arrays of one shape."""
    return np.asarray(np.sum(np.stack(list(parts)), axis=0))
