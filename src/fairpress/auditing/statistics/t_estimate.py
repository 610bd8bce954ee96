"""Estimates whose studentized error has a t distribution: one type for every interval and verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]


def t_quantile(df: ArrayLike, probability: ArrayLike) -> Floats:
    """Quantile of Student's t; ``df = inf`` is the normal distribution. Shapes broadcast."""
    df_, p = np.broadcast_arrays(np.asarray(df, float), np.asarray(probability, float))
    finite = np.where(np.isfinite(df_), df_, 1.0)
    return np.asarray(np.where(np.isinf(df_), special.ndtri(p), special.stdtrit(finite, p)), float)


def t_tail(df: ArrayLike, t: ArrayLike) -> Floats:
    """P(T > t) of Student's t; ``df = inf`` is the normal distribution. Shapes broadcast."""
    df_, t_ = np.broadcast_arrays(np.asarray(df, float), np.asarray(t, float))
    finite = np.where(np.isfinite(df_), df_, 1.0)
    return np.asarray(np.where(np.isinf(df_), special.ndtr(-t_), special.stdtr(finite, -t_)), float)


@dataclass(frozen=True)
class TEstimate:
    """Arrays of estimates for which (centre − truth)/se is taken to be t with `df` degrees of freedom.

    Every method that makes intervals of changes and losses (Bonett–Price, crossed seeds × rows, excess loss)
    returns one of these, so that bounds, p-values and verdicts are computed in one place.
    All arrays have the same shape (usually one entry per group). An entry that cannot be estimated is NaN
    throughout; `estimable` says which.

    Attributes
    ----------
    value
        The unshrunken estimate, which is reported.
    centre, se
        Centre and standard error of the interval; small-sample methods move the centre towards 0.
    n
        Rows in the metric's own denominator.
    effective_n
        `n` after the design effect of repeated subjects or weights; equal to `n` without them.
    df
        Degrees of freedom; ``inf`` for normal intervals.
    limits
        Range of the parameter; bounds are clipped to it.
    method
        Name for `Estimate.method`.
    """

    value: Floats
    centre: Floats
    se: Floats
    n: Floats
    effective_n: Floats
    df: Floats
    limits: tuple[float, float]
    method: str

    @property
    def estimable(self) -> NDArray[np.bool_]:
        return np.isfinite(self.value) & np.isfinite(self.se)

    def interval(self, confidence: float = 0.95) -> tuple[Floats, Floats]:
        """Return the two-sided interval (low, high)."""
        side = (1 + confidence) / 2
        return self.lower(side), self.upper(side)

    def lower(self, confidence: float = 0.95) -> Floats:
        """Return the one-sided lower bound."""
        return np.clip(self.centre - t_quantile(self.df, confidence) * self.se, *self.limits)

    def upper(self, confidence: float = 0.95) -> Floats:
        """Return the one-sided upper bound; "no harm" compares that of a loss with the margin."""
        return np.clip(self.centre + t_quantile(self.df, confidence) * self.se, *self.limits)

    def p_above(self, margin: float = 0.0) -> Floats:
        """Return the one-sided p-values of H₀: truth ≤ margin (small = the truth is above the margin).

        It inverts `lower`: p < α exactly when ``lower(1 − α) > margin``.
        """
        return t_tail(self.df, (self.centre - margin) / self.se)

    def p_two_sided(self, margin: float = 0.0) -> Floats:
        """Return the two-sided p-values of H₀: truth = margin; inverts `interval`."""
        return np.minimum(1.0, 2 * t_tail(self.df, np.abs(self.centre - margin) / self.se))

    def __neg__(self) -> TEstimate:
        """Return the estimates of the opposite sign: a change of accuracy becomes a loss."""
        return replace(
            self, value=-self.value, centre=-self.centre, limits=(-self.limits[1], -self.limits[0])
        )

    def __sub__(self, other: TEstimate) -> TEstimate:
        """Return the difference from an *independent* estimate: variances add, df by Welch–Satterthwaite."""
        a, b = self.se**2, other.se**2
        with np.errstate(divide="ignore", invalid="ignore"):
            df = np.asarray((a + b) ** 2 / (a**2 / self.df + b**2 / other.df))
        df = np.where(np.isinf(self.df) & np.isinf(other.df), np.inf, df)
        return TEstimate(
            value=self.value - other.value,
            centre=self.centre - other.centre,
            se=np.sqrt(a + b),
            n=self.n,
            effective_n=self.effective_n,
            df=df,
            limits=(self.limits[0] - other.limits[1], self.limits[1] - other.limits[0]),
            method=self.method,
        )

    def __getitem__(self, index: Any) -> TEstimate:
        return replace(
            self,
            value=self.value[index],
            centre=self.centre[index],
            se=self.se[index],
            n=self.n[index],
            effective_n=self.effective_n[index],
            df=self.df[index],
        )


def concatenate(estimates: Sequence[TEstimate]) -> TEstimate:
    """Return the entries of several arrays of estimates as one; limits and method of the first."""
    names = ("value", "centre", "se", "n", "effective_n", "df")
    arrays: dict[str, Any] = {k: np.concatenate([getattr(x, k) for x in estimates]) for k in names}
    return replace(estimates[0], **arrays)
