"""Inference over training seeds alone: training noise on fixed rows, and tests with a smallest attainable p-value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fairpress.auditing.statistics import special
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate

_EXACT_UP_TO = 16


def seed_interval(values: ArrayLike) -> TEstimate:
    """Return the mean over seeds [..., S] with its t inference: "training noise on these rows".

    Says nothing about other people: as an interval for the recipe it covers .82/.66/.45 at 3/5/10 seeds, which is
    why `two_way` exists. `n` is the number of seeds. Raises ``ValueError`` for fewer than two.
    """
    v = np.asarray(values, float)
    s = v.shape[-1]
    if s < 2:
        raise ValueError("an interval over seeds needs two seeds or more")
    mean = v.mean(axis=-1)
    size = np.full(mean.shape, float(s))
    return TEstimate(
        mean,
        mean,
        v.std(axis=-1, ddof=1) / np.sqrt(s),
        size,
        size,
        size - 1,
        (-np.inf, np.inf),
        "seeds-t",
    )


@dataclass(frozen=True)
class SignFlip:
    """Two-sided sign-flip test over seeds; `smallest` is the smallest p-value that S seeds can attain."""

    p: Floats
    smallest: float
    seeds: int

    def undecidable(self, alpha: float = 0.05) -> bool:
        """Return True when even unanimous seeds could not reach `alpha` (give the multiplicity-adjusted α)."""
        return self.smallest > alpha


def sign_flip_test(
    values: ArrayLike, rng: np.random.Generator | None = None, draws: int = 20_000
) -> SignFlip:
    """Test mean 0 over seeds [..., S] by flipping signs: exact up to 16 seeds, by `draws` from `rng` above.

    p = share of the 2^S sign patterns whose |Σ ± v| is at least the observed one; at least 2/2^S: .25 at 3 seeds,
    .0625 at 5, .031 at 6, .0078 at 8.
    """
    v = np.asarray(values, float)
    s = v.shape[-1]
    observed = np.abs(v.sum(axis=-1))
    if s <= _EXACT_UP_TO:
        # The mirror pattern has the same |sum|, so half of them suffice.
        half = 2 ** (s - 1)
        bits = (np.arange(half)[:, None] >> np.arange(s)) & 1
        signs = 1.0 - 2.0 * bits
        sums = np.abs(v @ signs.T)
        slack = 1e-9 * (np.abs(v).sum(axis=-1, keepdims=True) + 1e-300)
        p = (sums >= observed[..., None] - slack).mean(axis=-1)
        return SignFlip(np.asarray(p), 2.0 / 2**s, s)
    if rng is None:
        raise ValueError(f"a sign-flip test of more than {_EXACT_UP_TO} seeds needs a generator")
    signs = 1.0 - 2.0 * rng.integers(0, 2, size=(draws, s))
    hits = (np.abs(v @ signs.T) >= observed[..., None] * (1 - 1e-9)).sum(axis=-1)
    return SignFlip(np.asarray((hits + 1) / (draws + 1)), 1 / (draws + 1), s)


@dataclass(frozen=True)
class EffectSize:
    """Hedges' g_z with its interval; NaN where the seeds do not vary or there are fewer than two."""

    value: Floats
    low: Floats
    high: Floats


def hedges_g_z(values: ArrayLike, confidence: float = 0.95) -> EffectSize:
    """Return the standardised mean over seeds [..., S], bias-corrected, with its noncentral-t interval.

    g_z = J·mean/sd, J = Γ(ν/2)/(√(ν/2)·Γ((ν−1)/2)), ν = S − 1; the bounds are J·λ/√S for the λ at which the
    observed t is the (1±confidence)/2 quantile of the noncentral t (Hedges 1981; Steiger and Fouladi 1997).
    Report points of the metric first: with few seeds g_z is large and uncertain. For S = 2, J is not
    defined and the uncorrected value is returned.
    """
    v = np.asarray(values, float)
    s = v.shape[-1]
    nu = s - 1
    shape = v.shape[:-1]
    if s < 2:
        undefined = np.full(shape, np.nan)
        return EffectSize(undefined, undefined, undefined)
    sd = v.std(axis=-1, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        d = np.where(sd > 1e-15, v.mean(axis=-1) / sd, np.nan)
    j = 1.0
    if nu > 1:
        j = float(np.exp(special.gammaln(nu / 2) - special.gammaln((nu - 1) / 2)) / np.sqrt(nu / 2))
    t = d * np.sqrt(s)
    tail = (1 - confidence) / 2
    low = _noncentrality(nu, t, 1 - tail) / np.sqrt(s)
    high = _noncentrality(nu, t, tail) / np.sqrt(s)
    return EffectSize(np.asarray(j * d), j * low, j * high)


def _noncentrality(nu: int, t: Floats, probability: float) -> Floats:
    """Return λ with P(T_ν(λ) ≤ t) = probability, by bisection; scipy's inverse fails for negative λ."""
    low, high = t - 10 - 2 * np.abs(t), t + 10 + 2 * np.abs(t)
    for _ in range(80):
        middle = (low + high) / 2
        above = special.nctdtr(nu, middle, t) > probability
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.asarray((low + high) / 2)
