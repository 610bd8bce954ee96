"""Test whether a loss of the margin is ruled out, by the interval's upper bound and by a score test.

Bonett–Price's upper bound alone is anticonservative where predictions flip in one direction only: with a true loss of
exactly δ and no gains it lies below δ in up to 10 % of the samples (at δ = .02, 115 rows have no flip 9.8 % of the
time). The score test takes the variance under the hypothesis of a loss of δ (Tango, Statistics in Medicine 17, 1998);
with a quarter of a row as continuity correction, the combined error rate is at most 5 % by exact enumeration
(``benchmarks/all_clear.py``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fairpress.auditing.statistics.t_estimate import Floats, TEstimate, t_quantile

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
        score = score_statistic(loss, flip_share, margin)
        return np.asarray(loss.estimable & below & (score < -t_quantile(loss.df, confidence)))


def score_statistic(loss: TEstimate, flip_share: Floats, margin: Floats | float) -> Floats:
    """Return (ℓ − δ + ¼/n) over the standard error under a true loss of δ.

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
        under = 2 * q + margin * (1 - margin)
        se = loss.se * np.sqrt(under / estimated)
        return np.asarray((loss.value - margin + CORRECTION / n) / se)
