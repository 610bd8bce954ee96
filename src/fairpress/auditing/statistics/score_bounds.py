"""The paired non-inferiority test of a loss and the bound that inverts it.

Bonett–Price's upper bound alone is anticonservative where predictions flip in one direction only: with a true loss of
exactly δ and no gains it lies below δ in up to 10 % of the samples (at δ = .02, 115 rows have no flip 9.8 % of the
time). The score test takes the variance under the hypothesis of a loss of δ (Tango, Statistics in Medicine 17, 1998),
with a quarter of a row as continuity correction. A loss of δ is ruled out where both tests reject it; the error rate is then
at most 5 % by exact enumeration for δ ≤ .05 (``benchmarks/all_clear.py``), and 5.2 % for losses up to .3
(``benchmarks/coverage.py --only printed-bound``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fairpress.auditing.statistics.bisection import last_true
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate, concatenate

CORRECTION = 0.25


def noninferiority_p(loss: TEstimate, flip_share: Floats, margin: Floats | float) -> Floats:
    """Return the p-values of H₀: ℓ ≥ margin, the larger of those of the interval and of the score test.

    Parameters
    ----------
    loss
        Paired losses (or changes) of any method; their standard errors are scaled by the square root of (variance of flips
        under the hypothesis ÷ estimated variance), which preserves the effect of weights, people and seeds.
    flip_share
        Share of the denominator that flipped, either way; the shape of `loss`.
    margin
        Any value of −1 to 1, negative for a gain. At 1 and above p = 0, because no loss is larger, unless all were lost.

    NaN where there is no estimate.
    """
    inside = np.minimum(np.asarray(margin, float), 1.0)
    score = under_margin(loss, flip_share, inside)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.maximum(loss.tail(inside - loss.centre), score.tail(inside - score.centre))
    return np.where(loss.estimable, np.where(_impossible(loss, margin), 0.0, p), np.nan)


def loss_ruled_out(
    loss: TEstimate, flip_share: Floats, margin: Floats | float, confidence: float
) -> NDArray[np.bool_]:
    """Return where a loss of the margin or more is ruled out with one-sided confidence; False where there is no estimate."""
    return _ruled_out(loss, flip_share, confidence)(np.asarray(margin, float))


def _ruled_out(
    loss: TEstimate, flip_share: Floats, confidence: Floats | float
) -> Callable[[Floats], NDArray[np.bool_]]:
    """Return `loss_ruled_out` as a function of the margin; quantiles, which take most of its time, are looked up once."""
    n = loss.effective_n
    lost, gained = flip_shares(loss, flip_share)
    with np.errstate(divide="ignore", invalid="ignore"):
        half_widths = loss.half_widths(1 - confidence)
        upper = loss.centre + half_widths(1.0)
        centre, estimated = loss.value + CORRECTION / n, _estimated_variance(lost, gained, n)

    def ruled_out(margin: Floats) -> NDArray[np.bool_]:
        inside = np.minimum(margin, 1.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = _error_scale(lost, gained, estimated, inside)
            below = (upper < inside) & (centre + half_widths(scale) < inside)
        return np.asarray(loss.estimable & (below | _impossible(loss, margin)))

    return ruled_out


def _impossible(loss: TEstimate, margin: Floats | float) -> NDArray[np.bool_]:
    """Return where no loss can be as large as the margin."""
    with np.errstate(invalid="ignore"):
        return np.asarray((np.asarray(margin) > 1) | ((np.asarray(margin) == 1) & (loss.value < 1)))


def under_margin(loss: TEstimate, flip_share: Floats, margin: Floats | float) -> TEstimate:
    """Return the loss with the score test's centre ℓ + ¼/n and the errors that it would have under a true loss of δ.

    A loss of δ or more is rejected where the upper bound of this estimate is below δ. With shares b of losses and c of
    gains, the variance of a flip is 2q + δ(1 − δ), q the restricted maximum-likelihood estimate of the share of gains
    (`restricted_gains`). Over few seeds (`TEstimate.parts`), the part of the rows alone is scaled, which contains the
    variance of single flips; that of the seeds is for how much seeds differ, on which the hypothesis has no bearing.
    """
    n = loss.effective_n
    lost, gained = flip_shares(loss, flip_share)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = _error_scale(lost, gained, _estimated_variance(lost, gained, n), margin)
        parts = None if loss.parts is None else replace(loss.parts, row_se=loss.parts.row_se * scale)
        return replace(loss, centre=loss.value + CORRECTION / n, se=loss.se * scale, parts=parts)


def _error_scale(lost: Floats, gained: Floats, estimated: Floats, margin: Floats | float) -> Floats:
    """Return the standard error under a true loss of δ, relative to that by the estimated variance of a flip."""
    under = 2 * restricted_gains(lost, gained, margin) + np.asarray(margin) * (1 - np.asarray(margin))
    return np.asarray(np.sqrt(np.maximum(under, 0) / estimated))


def score_statistic(loss: TEstimate, flip_share: Floats, margin: Floats | float) -> Floats:
    """Return (ℓ − δ + ¼/n) over the standard error under a true loss of δ; for estimates without `parts`."""
    x = under_margin(loss, flip_share, margin)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((x.centre - margin) / x.se)


def loss_upper_bound(loss: TEstimate, flip_share: Floats, confidence: Floats | float) -> Floats:
    """Return the one-sided upper bound of each loss: a larger margin is ruled out by both tests, a smaller one is not.

    `confidence` broadcasts to the losses.

    ``loss_ruled_out(loss, flip_share, δ, confidence)`` is ``loss_upper_bound(loss, flip_share, confidence) < δ``. Negative
    where a gain is shown. NaN where there is no estimate.
    """
    ruled_out = _ruled_out(loss, flip_share, confidence)

    def not_ruled_out(margin: Floats) -> NDArray[np.bool_]:
        return ~ruled_out(margin)

    # No interval lies below −1, and a loss of 1 is ruled out unless all rows were lost.
    bound = last_true(not_ruled_out, np.full(loss.value.shape, -1.0), np.ones(loss.value.shape))
    return np.where(loss.estimable, np.where(loss.value >= 1, 1.0, bound), np.nan)


def loss_interval(loss: TEstimate, flip_share: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Return the two-sided interval (low, high) of each loss: both ends invert both tests, each at (1 + confidence)/2.

    The lower end is the upper one of the gain with its sign changed. It is at most Bonett and Price's (J. Educ. Behav.
    Stat. 37, 2012), and hardly below it where a loss is shown.
    """
    return loss_limits(loss, flip_share, confidence)[1:]


def loss_limits(loss: TEstimate, flip_share: Floats, confidence: float) -> tuple[Floats, Floats, Floats]:
    """Return `loss_upper_bound` and both ends of `loss_interval`, found in one bisection."""
    side = (1 + confidence) / 2
    levels = np.stack([np.full(loss.value.shape, level) for level in (confidence, side, side)])
    upper, opposite, high = np.split(
        loss_upper_bound(
            concatenate([loss, -loss, loss]), np.concatenate([flip_share] * 3), np.concatenate(levels)
        ),
        3,
    )
    return upper, -opposite, high


def restricted_gains(lost: Floats, gained: Floats, margin: Floats | float) -> Floats:
    """Return the maximum-likelihood share of gains given a loss of δ, from the observed shares b of losses and c of gains.

    The larger root of 2q² − (b + c − (2 − b + c)δ)q − cδ(1 − δ) = 0 (Tango 1998, eq. 7).
    """
    linear = (2 - lost + gained) * margin - lost - gained
    product = 8 * gained * margin * (1 - np.asarray(margin))
    # Negative only by rounding, where the margin is negative.
    root = np.sqrt(np.maximum(linear**2 + product, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        # The second form does not lose digits where few rows gain.
        return np.asarray(np.where(linear > 0, product / (4 * (root + linear)), (root - linear) / 4))


def flip_shares(loss: TEstimate, flip_share: Floats) -> tuple[Floats, Floats]:
    """Return the shares of rows that are lost and gained, from their difference and their sum."""
    return np.maximum((flip_share + loss.value) / 2, 0), np.maximum((flip_share - loss.value) / 2, 0)


def rows_of_variance(loss: TEstimate, flip_share: Floats) -> Floats:
    """Return the independent rows whose flips would have the standard error of the loss; inf where it is 0.

    `effective_n` for Bonett–Price with its design effect; over seeds what rows and seeds together are worth.
    """
    n = loss.effective_n
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = _estimated_variance(*flip_shares(loss, flip_share), n)
        return np.asarray(n * variance / ((n + 2) * loss.se**2))


def _estimated_variance(lost: Floats, gained: Floats, n: Floats) -> Floats:
    """Return Bonett and Price's variance of the flip of one row."""
    p12, p21 = (lost * n + 1) / (n + 2), (gained * n + 1) / (n + 2)
    return np.asarray(p12 + p21 - (p12 - p21) ** 2)
