"""The test of "a group loses more than the margin", valid at the small levels of a correction for many tests.

The modified signed root r* of the likelihood ratio (Barndorff-Nielsen, Biometrika 73, 1986) of the trinomial of rows that
are lost, gained and kept, with half a row as continuity correction (Davison, Fraser and Reid, Journal of the Royal
Statistical Society B 68, 2006). By exact enumeration its error is at most the nominal level from .05 to .05/1000, where a
normal score test errs in up to four times the level at .05/165, and Bonett and Price's t loses power
(``benchmarks/coverage.py --only harm-level``).
"""

from __future__ import annotations

import numpy as np

from fairpress.auditing.statistics import special
from fairpress.auditing.statistics.score_bounds import flip_shares, restricted_gains, rows_of_variance
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate, t_tail

HALF_ROW = 0.5
_NEAR_ZERO = 0.05
"""Below it r* − r = log(u/r)/r is lost to rounding, and r itself serves: p is near ½ there."""


def harm_p_value(loss: TEstimate, flip_share: Floats, margin: Floats | float) -> Floats:
    """Return the one-sided p-values of H₀: ℓ ≤ margin; small where the loss is above the margin.

    Not conditional on the number of flips: the smallest p given that many flips (all of them losses) exists, but to exclude
    tests by it (Tarone, Biometrics 46, 1990) is invalid, because under ℓ = margin the flips themselves are the evidence.

    Parameters
    ----------
    loss
        Paired losses of any method. Rows count as `score_bounds.rows_of_variance`: by weights, people or seeds. Where
        degrees of freedom are finite, r* is referred to Student's t.
    flip_share
        Share of the denominator that flipped, either way; the shape of `loss`.
    margin
        −1 < margin < 1.

    NaN where there is no estimate.
    """
    return np.where(loss.estimable, t_tail(loss.df, modified_root(loss, flip_share, margin)), np.nan)


def modified_root(loss: TEstimate, flip_share: Floats, margin: Floats | float) -> Floats:
    """Return r* = r + log(u/r)/r for ℓ = δ, positive where the loss is above the margin.

    With shares p of losses, q of gains and k of rows that are kept, canonical parameters φ = (log p/k, log q/k) and the
    restricted estimate at ℓ = δ (subscript 0): r = sign(p − q − δ) √(2(log L − log L₀)) and
    u = |φ − φ₀, ∂φ₀/∂q| / |∂φ/∂(ℓ, q)| · √(|j| / j₀), j the observed information of (ℓ, q), j₀ that of q at the restricted
    estimate. Half a row is taken from the losses; no count is less than half a row.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        rows = rows_of_variance(loss, flip_share)
        lost, gained = (share * rows for share in flip_shares(loss, flip_share))
        lost, gained = np.maximum(lost - HALF_ROW, HALF_ROW), np.maximum(gained, HALF_ROW)
        kept = np.maximum(rows - lost - gained, HALF_ROW)
        n = lost + gained + kept
        p, q, k = lost / n, gained / n, kept / n
        q0 = restricted_gains(p, q, margin)
        p0 = q0 + margin
        k0 = 1 - p0 - q0
        likelihood = special.xlogy(p, p / p0) + special.xlogy(q, q / q0) + special.xlogy(k, k / k0)
        r = np.sign(p - q - margin) * np.sqrt(np.maximum(2 * n * likelihood, 0))
        first, second = np.log(p * k0 / (k * p0)), np.log(q * k0 / (k * q0))
        distance = first * (1 / q0 + 2 / k0) - second * (1 / p0 + 2 / k0)
        # ∂φ/∂(ℓ, q) has the determinant 1/(pqk), and so has j, times n².
        information = p * q * k * n / (p / p0**2 + q / q0**2 + 4 * k / k0**2)
        u = distance * np.sqrt(information)
        root = np.where(np.abs(r) > _NEAR_ZERO, r + np.log(u / r) / r, r)
        return np.where(loss.se > 0, root, np.sign(loss.value - margin) * np.inf)
