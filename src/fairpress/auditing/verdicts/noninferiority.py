"""Test whether a loss of the margin is ruled out, by the interval's upper bound and by a score test.

Bonett–Price's upper bound alone is anticonservative where predictions flip in one direction only: with a true loss of
exactly δ and no gains it lies below δ in up to 10 % of the samples (at δ = .02, 115 rows have no flip 9.8 % of the
time). The score test takes the variance under the hypothesis of a loss of δ (Tango, Statistics in Medicine 17, 1998);
with a quarter of a row as continuity correction, the combined error rate is at most 5 % by exact enumeration
(``benchmarks/all_clear.py``).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fairpress.auditing.statistics.t_estimate import Floats, TEstimate

CORRECTION = 0.25


def loss_ruled_out(
    loss: TEstimate, flip_share: Floats, margin: float, confidence: float
) -> NDArray[np.bool_]:
    """Return where a loss of the margin or more is ruled out with one-sided confidence; False where there is no estimate.

    Parameters
    ----------
    loss
        From any method; its standard error is scaled by the square root of (variance of flips under the hypothesis ÷
        estimated variance), which preserves the effect of weights, people and seeds.
    flip_share
        Share of the denominator that flipped, either way.
    """
    with np.errstate(invalid="ignore"):
        below = loss.upper(confidence) < margin
        score = under_margin(loss, flip_share, margin)
        clear = score.centre + score.half_width(1 - confidence) < margin
        return np.asarray(loss.estimable & below & clear)


def under_margin(loss: TEstimate, flip_share: Floats, margin: Floats | float) -> TEstimate:
    """Return the loss with the score test's centre ℓ + ¼/n and the errors that it would have under a true loss of δ.

    A loss of δ or more is rejected where the upper bound of this estimate is below δ. Over few seeds
    (`TEstimate.parts`), the part of the rows alone is scaled, which contains the variance of single flips; that of the
    seeds is for how much seeds differ, on which the hypothesis has no bearing.
    """
    scale = _score_scale(loss, flip_share, margin)
    parts = None if loss.parts is None else replace(loss.parts, row_se=loss.parts.row_se * scale)
    with np.errstate(divide="ignore", invalid="ignore"):
        return replace(
            loss, centre=loss.value + CORRECTION / loss.effective_n, se=loss.se * scale, parts=parts
        )


def score_statistic(loss: TEstimate, flip_share: Floats, margin: Floats | float) -> Floats:
    """Return (ℓ − δ + ¼/n) over the standard error under a true loss of δ; for estimates without `parts`."""
    x = under_margin(loss, flip_share, margin)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((x.centre - margin) / x.se)


def _score_scale(loss: TEstimate, flip_share: Floats, margin: Floats | float) -> Floats:
    """Return the standard error of a paired change under a true loss of δ over the estimated one.

    With shares b of losses and c of gains, the variance of a flip is 2q + δ(1 − δ), q the most likely share of gains
    given a loss of δ: the root of 2q² − (b + c − (2 − b + c)δ)q − cδ(1 − δ) = 0.
    """
    n = loss.effective_n
    lost, gained = np.maximum((flip_share + loss.value) / 2, 0), np.maximum((flip_share - loss.value) / 2, 0)
    linear = (2 - lost + gained) * margin - lost - gained
    # Negative only by rounding, where the margin is negative.
    q = (np.sqrt(np.maximum(linear**2 + 8 * gained * margin * (1 - margin), 0)) - linear) / 4
    with np.errstate(divide="ignore", invalid="ignore"):
        p12, p21 = (lost * n + 1) / (n + 2), (gained * n + 1) / (n + 2)
        estimated = p12 + p21 - (p12 - p21) ** 2
        return np.asarray(np.sqrt((2 * q + margin * (1 - margin)) / estimated))
