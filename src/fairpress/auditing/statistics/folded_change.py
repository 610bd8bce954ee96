"""Distances of means from 0, |θ|, and their changes, |θ₁| − |θ₀|: of preferences from ½, of bias scores from 0.

The distance is not smooth at 0: |θ̂₀| of an unbiased baseline is too large on average, so that a plug-in interval of the
change is too low, and a model that became biased would be called harmless. Instead, with the means of sums and differences
of the rows' own values under both models,

    |θ₁| − |θ₀| = max over a of min over b of (a·θ₁ − b·θ₀),   a, b = ±1

is bounded by the bounds of these four contrasts, which are plain paired means. A bound of the largest of two parameters is
the larger of two bounds (intersection–union, no correction); one of the smallest of two holds if both hold, at half of
the error each (Bonferroni). So all four are bounded at α/2, whatever the side and the size of the distances, with a price of
23 % more rows where the side is known anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fairpress.auditing.statistics.skewed_estimate import SkewedEstimate
from fairpress.auditing.statistics.t_estimate import Floats

_SIGN_KNOWN = 3.0
"""Standard errors from 0 from which on the gaps' bounds take the side as known; bounds of losses never do."""
_BISECTIONS = 40


@dataclass(frozen=True, kw_only=True)
class FoldedLevel(SkewedEstimate):
    """|θ| of each group; `signed` estimates θ."""

    signed: SkewedEstimate

    def lower(self, confidence: float = 0.95) -> Floats:
        """Return the one-sided lower bound, at least 0."""
        side = 1 - (1 - confidence) / 2
        return _known(self, np.fmax(0, np.fmax(self.signed.lower(side), -self.signed.upper(side))))

    def upper(self, confidence: float = 0.95) -> Floats:
        """Return the one-sided upper bound."""
        return _known(self, np.fmax(self.signed.upper(confidence), -self.signed.lower(confidence)))

    def interval(self, confidence: float = 0.95) -> tuple[Floats, Floats]:
        """Return the distances that the two-sided interval of θ contains."""
        low, high = self.signed.interval(confidence)
        return _known(self, np.fmax(0, np.fmax(low, -high))), _known(self, np.fmax(high, -low))

    def p_above(self, margin: ArrayLike = 0.0) -> Floats:
        """Return the one-sided p-values of H₀: |θ| ≤ margin."""
        p = np.fmin(self.signed.p_above(margin), (-self.signed).p_above(margin))
        return _known(self, np.fmin(1.0, 2 * p))

    def p_within(self, margin: ArrayLike) -> Floats:
        """Return the p-values of H₀: |θ| ≥ margin, the larger of two one-sided tests (equivalence to 0)."""
        m = -np.asarray(margin, float)
        return _known(self, np.fmax(self.signed.p_above(m), (-self.signed).p_above(m)))

    def __getitem__(self, index: Any) -> FoldedLevel:
        return folded_level(self.signed[index])


@dataclass(frozen=True, kw_only=True)
class FoldedChange(SkewedEstimate):
    """|θ₁| − |θ₀| of each group; `difference` and `total` estimate θ₁ − θ₀ and θ₁ + θ₀ on the same rows."""

    difference: SkewedEstimate
    total: SkewedEstimate

    def lower(self, confidence: float = 0.95) -> Floats:
        """Return the one-sided lower bound."""
        return self._bound(confidence, lambda x, side: x.lower(side))

    def upper(self, confidence: float = 0.95) -> Floats:
        """Return the one-sided upper bound."""
        return self._bound(confidence, lambda x, side: x.upper(side))

    def p_above(self, margin: ArrayLike = 0.0) -> Floats:
        """Return the one-sided p-values of H₀: |θ₁| − |θ₀| ≤ margin; inverts `lower`."""
        first, second, third, fourth = (x.p_above(margin) for x in self._contrasts())
        return _known(self, np.fmin(1.0, 2 * np.fmin(np.fmax(first, second), np.fmax(third, fourth))))

    def p_below(self, margin: ArrayLike = 0.0) -> Floats:
        """Return the one-sided p-values of H₀: |θ₁| − |θ₀| ≥ margin; inverts `upper`."""
        m = -np.asarray(margin, float)
        first, second, third, fourth = ((-x).p_above(m) for x in self._contrasts())
        return _known(self, np.fmin(1.0, 2 * np.fmax(np.fmin(first, second), np.fmin(third, fourth))))

    def p_two_sided(self, margin: float = 0.0) -> Floats:
        """Return the two-sided p-values of H₀: |θ₁| − |θ₀| = margin; inverts `interval`."""
        return np.asarray(np.fmin(1.0, 2 * np.fmin(self.p_above(margin), self.p_below(margin))))

    def _contrasts(self) -> tuple[SkewedEstimate, ...]:
        """Return θ₁ − θ₀ and θ₁ + θ₀, of whose smaller, and −θ₁ − θ₀ and −θ₁ + θ₀, of whose smaller the larger counts."""
        return self.difference, self.total, -self.total, -self.difference

    def _bound(self, confidence: float, bound: Callable[[SkewedEstimate, float], Floats]) -> Floats:
        side = 1 - (1 - confidence) / 2
        first, second, third, fourth = (bound(x, side) for x in self._contrasts())
        return _known(self, np.clip(np.fmax(np.fmin(first, second), np.fmin(third, fourth)), *self.limits))

    def __neg__(self) -> FoldedChange:
        raise TypeError("a distance is a loss where it grows; its change has no opposite sign")

    def __getitem__(self, index: Any) -> FoldedChange:
        return folded_change(self.difference[index], self.total[index])


@dataclass(frozen=True, kw_only=True)
class FoldedExcess(SkewedEstimate):
    """The change of one distance minus that of another, of any dependence: bounds at half of the error each."""

    first: FoldedChange
    second: FoldedChange

    def lower(self, confidence: float = 0.95) -> Floats:
        """Return the one-sided lower bound."""
        side = 1 - (1 - confidence) / 2
        return _known(self, self.first.lower(side) - self.second.upper(side))

    def upper(self, confidence: float = 0.95) -> Floats:
        """Return the one-sided upper bound."""
        side = 1 - (1 - confidence) / 2
        return _known(self, self.first.upper(side) - self.second.lower(side))

    def p_above(self, margin: ArrayLike = 0.0) -> Floats:
        """Return the one-sided p-values of H₀: excess ≤ margin; inverts `lower` by bisection."""
        limit = np.asarray(margin, float)
        low, high = np.zeros(self.value.shape), np.ones(self.value.shape)
        for _ in range(_BISECTIONS):
            p = (low + high) / 2
            side = 1 - p / 2
            rejected = _at(self.first, side, "lower") - _at(self.second, side, "upper") > limit
            low, high = np.where(rejected, low, p), np.where(rejected, p, high)
        return _known(self, high)

    def __getitem__(self, index: Any) -> FoldedExcess:
        return folded_excess(self.first[index], self.second[index])


def folded_level(signed: SkewedEstimate) -> FoldedLevel:
    """Return the distance of θ from 0; its centre and standard error are those of a distance whose side is known."""
    return FoldedLevel(
        **_folded(signed, np.abs(signed.value), signed.se, np.sign(signed.value) * signed.skewness),
        limits=(0.0, np.inf),
        signed=signed,
    )


def folded_change(difference: SkewedEstimate, total: SkewedEstimate) -> FoldedChange:
    """Return |θ₁| − |θ₀| from estimates of θ₁ − θ₀ and θ₁ + θ₀.

    Its standard error, which only gaps between groups use, is that of the contrast of the estimated sides where both are
    `_SIGN_KNOWN` standard errors from 0, else the larger of both.
    """
    d, s = difference, total
    value = np.fmax(np.fmin(d.value, s.value), np.fmin(-s.value, -d.value))
    one, zero = (s.value + d.value) / 2, (s.value - d.value) / 2
    wide = (s.se + d.se) / 2  # at least the standard error of either mean
    known = np.fmin(np.abs(one), np.abs(zero)) > _SIGN_KNOWN * wide
    se = np.where(known, np.where(np.sign(one) == np.sign(zero), d.se, s.se), np.fmax(d.se, s.se))
    return FoldedChange(
        **_folded(d, value, se, np.zeros(value.shape)), limits=d.limits, difference=d, total=s
    )


def folded_excess(first: FoldedChange, second: FoldedChange) -> FoldedExcess:
    """Return the first change minus the second."""
    value = first.value - second.value
    se = first.se + second.se
    limits = (first.limits[0] - second.limits[1], first.limits[1] - second.limits[0])
    return FoldedExcess(
        **_folded(first, value, se, np.zeros(value.shape)), limits=limits, first=first, second=second
    )


def _folded(x: SkewedEstimate, value: Floats, se: Floats, skewness: Floats) -> dict[str, Any]:
    known = np.isfinite(value) & np.isfinite(se)
    return {
        "value": np.where(known, value, np.nan),
        "centre": np.where(known, value, np.nan),
        "se": np.where(known, se, np.nan),
        "skewness": np.nan_to_num(skewness),
        "n": x.n,
        "effective_n": x.effective_n,
        "df": x.df,
        "method": "folded",
    }


def _known(x: SkewedEstimate, values: Floats) -> Floats:
    """Return the values where there is an estimate, else NaN."""
    return np.asarray(np.where(x.estimable, values, np.nan))


def _at(x: FoldedChange, confidence: Floats, bound: str) -> Floats:
    """Return a bound of each group at a confidence of its own [groups]."""
    side = 1 - (1 - confidence) / 2
    parts = []
    for contrast in x._contrasts():
        parts.append(getattr(contrast, bound)(side))
    first, second, third, fourth = parts
    return np.asarray(np.fmax(np.fmin(first, second), np.fmin(third, fourth)))
