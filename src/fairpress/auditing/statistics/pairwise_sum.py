"""Bounds of Σ over pairs |x_i − x_j| (pairwise bias) and of its change."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fairpress.auditing.statistics.range_bounds import Bounds, pair_quantile, pair_se, simultaneous_errors
from fairpress.auditing.statistics.repeated_draws import standard_normal
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate, t_quantile

_DRAWS, _FEWER_DRAWS, _MANY_GROUPS = 4000, 1000, 1000
_BATCH = 2_000_000


def pair_sum(x: Floats) -> Floats:
    """Return Σ_{i<j} |x_i − x_j| over the last axis, by sorting: Σ_k (2k − K + 1)·x_(k), k = 0..K−1."""
    return _sum_of_sorted(np.sort(x, axis=-1))


def _sum_of_sorted(x: Floats) -> Floats:
    k = x.shape[-1]
    return np.asarray(x @ (2.0 * np.arange(k) - k + 1))


def pair_sum_bounds(
    families: Sequence[TEstimate], alpha: float, dependent: bool, rng: np.random.Generator
) -> Bounds:
    """Return a 1 − `alpha` interval of the sum over families (TPR, FPR) of `pair_sum`, floored at 0.

    T is a seminorm, so |T(x̂) − T(x)| ≤ T(x̂ − x): the half-width is the 1 − α quantile of T of the noise, by
    normal draws with the groups' standard errors. Conservative. Dependent groups (shared seeds): T of the noise is at
    most (K − 1) Σ|e_i|, bounded by simultaneous bounds of all |e_i|.
    """
    value = sum(float(pair_sum(x.value)) for x in families)
    if dependent:
        half = 0.0
        for x in families:
            se, c = simultaneous_errors(x, alpha, True, len(families))
            half += c * (x.value.size - 1) * float(se.sum())
    else:
        # A sum over thousands of groups varies little, so fewer draws suffice.
        draws = _DRAWS if max(x.value.size for x in families) <= _MANY_GROUPS else _FEWER_DRAWS
        noise = np.zeros(draws)
        for x in families:
            step, scale = max(1, _BATCH // x.value.size), _scale(x, alpha)
            for start in range(0, draws, step):
                size = min(step, draws - start)
                errors = standard_normal(rng, (size, x.value.size)) * x.se
                if scale != 1:
                    errors *= scale
                errors.sort(axis=-1)
                noise[start : start + size] += _sum_of_sorted(errors)
        half = float(np.quantile(noise, 1 - alpha))
    return Bounds(max(0.0, value - half), value + half)


def _scale(x: TEstimate, alpha: float) -> float:
    """Return the factor by which errors are widened because their df are finite."""
    df = float(x.df.min())
    if np.isinf(df):
        return 1.0
    return float(t_quantile(df, 1 - alpha / 2) / t_quantile(np.inf, 1 - alpha / 2))


def pair_sum_change_bounds(
    families: Sequence[tuple[TEstimate, TEstimate, TEstimate]],
    alpha: float,
    rng: np.random.Generator,
) -> Bounds:
    """Return a 1 − `alpha` interval of T(x₁) − T(x₀), given (baseline, compressed, change) per family; independent groups.

    Pairs whose sign is the same and certain in both models (simultaneously, α/5) contribute ±(Δ_i − Δ_j), a
    linear form. Every other pair contributes within ±|Δ_i − Δ_j|. The two bounds of linear ± rest take one
    noise quantile each (2α/5), by normal draws. Meant for up to a few hundred groups.
    """
    upper = lower = 0.0
    noise_up, noise_down = np.zeros(_DRAWS), np.zeros(_DRAWS)
    for x0, x1, change in families:
        sign, open_pairs = _signs(x0, x1, alpha / 5, len(families))
        weights = sign.sum(axis=1)  # Σ over certain pairs of sign·(Δ_i − Δ_j) = Σ_i w_i Δ_i
        linear = float((weights * change.value).sum())
        rest = float(_open_pair_sum(change.value[None], open_pairs)[0])
        upper, lower = upper + linear + rest, lower + linear - rest
        errors = standard_normal(rng, (_DRAWS, change.value.size)) * change.se
        slope, spread = errors @ weights, _open_pair_sum(errors, open_pairs)
        noise_up += spread - slope
        noise_down += spread + slope
    side = 1 - 2 * alpha / 5
    return Bounds(lower - float(np.quantile(noise_down, side)), upper + float(np.quantile(noise_up, side)))


def _open_pair_sum(x: Floats, open_pairs: NDArray[np.bool_]) -> Floats:
    """Return Σ over open pairs i < j of |x_i − x_j| [draws], from x [draws, groups] and a symmetric matrix of pairs.

    `pair_sum` has all pairs; those that are fewer, the open ones or the others, are summed one by one.
    """
    pairs = np.triu(open_pairs, 1)
    others = np.triu(~open_pairs, 1)
    fewer = pairs if pairs.sum() <= others.sum() else others
    by_group = np.ascontiguousarray(x.T)
    summed = np.zeros(len(x))
    for i in np.flatnonzero(fewer.any(axis=1)):
        j = np.flatnonzero(fewer[i])
        summed += np.abs(by_group[j] - by_group[i]).sum(axis=0)
    return summed if fewer is pairs else np.maximum(pair_sum(x) - summed, 0.0)


def _signs(x0: TEstimate, x1: TEstimate, alpha: float, families: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Return sign [i, j] of x_i − x_j where it is certain and equal in both models, else 0; and the other pairs."""
    certain = []
    for x in (x0, x1):
        c = pair_quantile(x, alpha / 2, False, families)
        d = x.centre[:, None] - x.centre[None, :]
        certain.append(np.where(np.abs(d) > c * pair_se(x.se, x.se, False), np.sign(d), 0.0))
    sign = np.where(certain[0] == certain[1], certain[0], 0.0)
    return sign, sign == 0
