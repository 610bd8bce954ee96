"""Estimates whose studentized error has a t distribution: one type for every interval and verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairpress.auditing.statistics import special

Floats = NDArray[np.float64]
_ARRAYS = ("value", "centre", "se", "n", "effective_n", "df")
_BISECTIONS = 50


def t_quantile(df: ArrayLike, probability: ArrayLike) -> Floats:
    """Quantile of Student's t; ``df = inf`` is the normal distribution. Shapes broadcast."""
    if np.isinf(df).all():  # most estimates: one quantile, without those of a t that nobody needs
        z = np.asarray(special.ndtri(probability), float)
        if z.ndim == 0:
            return np.full(np.shape(df), z)
        return np.asarray(np.broadcast_to(z, np.broadcast_shapes(np.shape(df), z.shape)))
    df_, p = np.broadcast_arrays(np.asarray(df, float), np.asarray(probability, float))
    finite = np.where(np.isfinite(df_), df_, 1.0)
    return np.asarray(np.where(np.isinf(df_), special.ndtri(p), special.stdtrit(finite, p)), float)


def t_tail(df: ArrayLike, t: ArrayLike) -> Floats:
    """P(T > t) of Student's t; ``df = inf`` is the normal distribution. Shapes broadcast."""
    if np.isinf(df).all():
        p = np.asarray(special.ndtr(-np.asarray(t, float)))
        return np.asarray(np.broadcast_to(p, np.broadcast_shapes(np.shape(df), p.shape)))
    df_, t_ = np.broadcast_arrays(np.asarray(df, float), np.asarray(t, float))
    finite = np.where(np.isfinite(df_), df_, 1.0)
    return np.asarray(np.where(np.isinf(df_), special.ndtr(-t_), special.stdtr(finite, -t_)), float)


@dataclass(frozen=True)
class ErrorParts:
    """An error that is the sum of one due to rows and one due to seeds; arrays of the shape of the estimates.

    Each part is bounded at half of the error rate, and the bounds are added (Bonferroni), which holds at every error rate
    whatever the share of each part. A single t with Satterthwaite's degrees of freedom holds at 5 % only: with two or three
    seeds the variance between seeds is often far too small by chance, and the tail at the small levels of a correction for
    multiple comparisons is then up to 34 times too light.

    Attributes
    ----------
    row_se, row_df
        Standard error due to rows (or people), with its degrees of freedom.
    seed_se, seed_df
        Standard error due to seeds, with its degrees of freedom.
    noise_se
        Expected value of `seed_se` if seeds differ only by chance in single predictions, for `seeds_suffice`.
    """

    row_se: Floats
    row_df: Floats
    seed_se: Floats
    seed_df: Floats
    noise_se: Floats

    def half_width(self, tail: ArrayLike) -> Floats:
        """Return the distance that the error exceeds, in one direction, with probability `tail` at most."""
        return self.half_widths(tail)(1.0)

    def half_widths(self, tail: ArrayLike) -> Callable[[Floats | float], Floats]:
        """Return `half_width` as a function of a factor of the error due to rows; its quantiles are looked up once."""
        side = np.minimum(np.asarray(tail, float) / 2, 0.5)
        rows, seeds = -t_quantile(self.row_df, side), t_quantile(self.seed_df, side) * self.seed_se
        return lambda factor: np.asarray(rows * (self.row_se * factor) - seeds)

    def tail(self, distance: ArrayLike) -> Floats:
        """Return the probability of an error beyond a distance, in one direction: the inverse of `half_width`; 1 up to 0."""
        d = np.asarray(distance, float)
        away = np.where(d > 0, d, 1.0)
        low, high = np.zeros(away.shape), np.ones(away.shape)

        def tails(share: Floats) -> tuple[Floats, Floats]:
            """Return the tail of each part if the rows' takes this share of the distance."""
            return (
                t_tail(self.row_df, share * away / self.row_se),
                t_tail(self.seed_df, (1 - share) * away / self.seed_se),
            )

        with np.errstate(divide="ignore", invalid="ignore"):
            # At the solution both tails are equal. Vectorized bisection: scipy has one from 1.15 on only.
            for _ in range(_BISECTIONS):
                share = (low + high) / 2
                rows, seeds = tails(share)
                more = rows > seeds
                low, high = np.where(more, share, low), np.where(more, high, share)
            p = np.minimum(2 * np.maximum(*tails((low + high) / 2)), 1.0)
        return np.asarray(np.where(np.isnan(d + p), np.nan, np.where(d > 0, p, 1.0)))

    def seeds_suffice(self, tail: ArrayLike, effect: ArrayLike) -> NDArray[np.bool_]:
        """Return where seeds that differ only by chance could show an effect of this size at this one-sided error rate.

        Where not, the test is undecidable with this number of seeds: only more seeds help.
        """
        return np.asarray(replace(self, seed_se=self.noise_se).half_width(tail) < np.abs(effect))

    def scaled(self, factor: ArrayLike) -> ErrorParts:
        """Return the parts of the error of a multiple of the estimate."""
        f = np.abs(np.asarray(factor, float))
        return replace(self, row_se=self.row_se * f, seed_se=self.seed_se * f, noise_se=self.noise_se * f)

    def __getitem__(self, index: Any) -> ErrorParts:
        return ErrorParts(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


@dataclass(frozen=True)
class TEstimate:
    """Arrays of estimates for which (centre − truth)/se is taken to be t with `df` degrees of freedom.

    Every method that makes intervals of changes and losses (Bonett–Price, crossed seeds × rows, excess loss)
    returns one of these, so that bounds, p-values and verdicts are computed in one place: `half_width` and `tail`. Where
    `parts` is given (few seeds), these two take the parts of the error instead of `se` and `df`.
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
    parts
        Errors due to rows and due to seeds, bounded separately; None where one t holds. `se` and `df` then are those of
        the two together with the smaller df, which are valid at every level, too, but wider.
    """

    value: Floats
    centre: Floats
    se: Floats
    n: Floats
    effective_n: Floats
    df: Floats
    limits: tuple[float, float]
    method: str
    parts: ErrorParts | None = None

    @property
    def estimable(self) -> NDArray[np.bool_]:
        return np.isfinite(self.value) & np.isfinite(self.se)

    def interval(self, confidence: float = 0.95) -> tuple[Floats, Floats]:
        """Return the two-sided interval (low, high)."""
        side = (1 + confidence) / 2
        return self.lower(side), self.upper(side)

    def half_width(self, tail: ArrayLike) -> Floats:
        """Return the distance of a one-sided bound of error rate `tail` from the centre."""
        return self.half_widths(tail)(1.0)

    def half_widths(self, tail: ArrayLike) -> Callable[[Floats | float], Floats]:
        """Return `half_width` as a function of a factor of the error (of that due to rows, where there are parts)."""
        if self.parts is not None:
            return self.parts.half_widths(tail)
        quantile = -t_quantile(self.df, tail)
        return lambda factor: np.asarray(quantile * (self.se * factor))

    def tail(self, distance: ArrayLike) -> Floats:
        """Return the probability that an estimate is above the truth by this distance: the inverse of `half_width`."""
        if self.parts is not None:
            return self.parts.tail(distance)
        return t_tail(self.df, np.asarray(distance, float) / self.se)

    def lower(self, confidence: float = 0.95) -> Floats:
        """Return the one-sided lower bound."""
        return np.clip(self.centre - self.half_width(1 - confidence), *self.limits)

    def upper(self, confidence: float = 0.95) -> Floats:
        """Return the one-sided upper bound; "no harm" compares that of a loss with the margin."""
        return np.clip(self.centre + self.half_width(1 - confidence), *self.limits)

    def p_above(self, margin: float = 0.0) -> Floats:
        """Return the one-sided p-values of H₀: truth ≤ margin (small = the truth is above the margin).

        It inverts `lower`: p < α exactly when ``lower(1 − α) > margin``.
        """
        return self.tail(self.centre - margin)

    def p_two_sided(self, margin: float = 0.0) -> Floats:
        """Return the two-sided p-values of H₀: truth = margin; inverts `interval`."""
        return np.minimum(1.0, 2 * self.tail(np.abs(self.centre - margin)))

    def scaled_errors(self, factor: ArrayLike) -> TEstimate:
        """Return the estimates with errors of a multiple of the size, and the same values, centres and limits."""
        parts = None if self.parts is None else self.parts.scaled(factor)
        return replace(self, se=np.asarray(self.se * np.abs(factor)), parts=parts)

    def __neg__(self) -> TEstimate:
        """Return the estimates of the opposite sign: a change of accuracy becomes a loss."""
        return replace(
            self, value=-self.value, centre=-self.centre, limits=(-self.limits[1], -self.limits[0])
        )

    def __sub__(self, other: TEstimate) -> TEstimate:
        """Return the difference from an *independent* estimate: variances add, df by Welch–Satterthwaite.

        Raises ``ValueError`` for estimates over few seeds, which are never independent: they share the seeds.
        """
        if self.parts is not None or other.parts is not None:
            raise ValueError("estimates that share seeds are not independent; use `minus_dependent`")
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

    def minus_dependent(self, other: TEstimate) -> TEstimate:
        """Return the difference from an estimate of unknown correlation: standard errors add, df is the smaller.

        A standard deviation over seeds of a difference is at most the sum of the two. Raises ``ValueError`` if only one of
        the two has `parts`.
        """
        parts = None
        if self.parts is not None and other.parts is not None:
            a, b = self.parts, other.parts
            parts = ErrorParts(
                a.row_se + b.row_se,
                np.minimum(a.row_df, b.row_df),
                a.seed_se + b.seed_se,
                np.minimum(a.seed_df, b.seed_df),
                a.noise_se + b.noise_se,
            )
        elif self.parts is not other.parts:
            raise ValueError("one of the estimates is over few seeds and the other is not")
        return TEstimate(
            value=self.value - other.value,
            centre=self.centre - other.centre,
            se=self.se + other.se,
            n=self.n,
            effective_n=self.effective_n,
            df=np.minimum(self.df, other.df),
            limits=(self.limits[0] - other.limits[1], self.limits[1] - other.limits[0]),
            method=self.method,
            parts=parts,
        )

    def __getitem__(self, index: Any) -> TEstimate:
        return replace(
            self,
            parts=None if self.parts is None else self.parts[index],
            value=self.value[index],
            centre=self.centre[index],
            se=self.se[index],
            n=self.n[index],
            effective_n=self.effective_n[index],
            df=self.df[index],
        )


def choose(condition: ArrayLike, a: TEstimate, b: TEstimate) -> TEstimate:
    """Return the entries of `a` where the condition holds, else those of `b`; limits and method of `a`."""
    where = np.asarray(condition)

    def pick(x: Any, y: Any, names: Sequence[str]) -> dict[str, Any]:
        return {k: np.where(where, getattr(x, k), getattr(y, k)) for k in names}

    parts = None
    if a.parts is not None and b.parts is not None:
        parts = ErrorParts(**pick(a.parts, b.parts, [f.name for f in fields(ErrorParts)]))
    elif a.parts is not b.parts:
        raise ValueError("one of the estimates is over few seeds and the other is not")
    return replace(a, **pick(a, b, _ARRAYS), parts=parts)


def concatenate(estimates: Sequence[TEstimate]) -> TEstimate:
    """Return the entries of several arrays of estimates as one; limits and method of the first."""
    first = estimates[0]

    def join(values: Sequence[Any], names: Sequence[str]) -> dict[str, Any]:
        return {k: np.concatenate([getattr(v, k) for v in values]) for k in names}

    parts = None
    if first.parts is not None:
        parts = ErrorParts(**join([x.parts for x in estimates], [f.name for f in fields(ErrorParts)]))
    return replace(first, **join(estimates, _ARRAYS), parts=parts)
