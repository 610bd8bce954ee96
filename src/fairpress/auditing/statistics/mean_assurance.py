"""Predictive assurance for means: the chance that the present units and further ones decide, and how many that takes.

The true loss of a group has the prior that the other groups' losses give (`exchangeable_losses`), updated by its own mean;
future means are normal with the present variance. The verdict is then applied to present and future units together, with the
bounds of `skewed_estimate` at the skewness that so many units would have. No verdict depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fairpress.auditing.statistics import special
from fairpress.auditing.statistics.exchangeable_losses import NormalMixture, prior_from_others
from fairpress.auditing.statistics.skewed_estimate import SkewedEstimate
from fairpress.auditing.statistics.t_estimate import Floats


@dataclass(frozen=True)
class MeanChances:
    """Chances of verdicts after more units; arrays of one shape."""

    no_harm: Floats
    loss: Floats

    @property
    def decided(self) -> Floats:
        """The chance of either."""
        return self.no_harm + self.loss


def chances_after(
    x: SkewedEstimate, more: Floats, margin: float, confidence: float, level: float, min_units: float
) -> MeanChances:
    """Return the chances of "no harm", and of "some loss" or "harm", after `more` units on top of the present ones.

    Parameters
    ----------
    x
        The estimated losses of all groups of an audit [groups]; others inform a group's prior.
    more
        Further units [groups, points].
    margin, confidence
        The margin, and the confidence of "no harm".
    level
        The level of a single test of a loss, after correction for the family.
    min_units
        Units from which a group is assessed.
    """
    posterior = _posterior(x, prior_from_others(x.value, x.se, margin))
    n, value, se = (v[:, None] for v in (x.effective_n, x.value, x.se))
    total = n + more
    with np.errstate(divide="ignore", invalid="ignore"):
        future = _at(x, total)
        above, below = future.upper(confidence), -future.lower(1 - level)
        variance = se**2 * n  # of one unit
        mean = (n * value)[:, :, None] + more[:, :, None] * posterior.mean[:, None, :]
        mean = mean / total[:, :, None]
        spread = posterior.sd[:, None, :] ** 2 + (variance / more)[:, :, None]
        sd = (more / total)[:, :, None] * np.sqrt(spread)
        weight = posterior.weight[:, None, :]

        def exceeds(limit: Floats) -> Floats:
            return np.asarray((weight * special.ndtr((mean - limit[:, :, None]) / sd)).sum(axis=2))

        enough = total >= min_units
        cleared_below = margin - above
        no_harm = np.where(enough, 1 - exceeds(cleared_below), 0.0)
        loss = exceeds(np.where(enough, np.maximum(below, cleared_below), below))
    return MeanChances(no_harm, loss)


def units_to_decide(
    x: SkewedEstimate,
    margin: float,
    confidence: float,
    level: float,
    min_units: float,
    grid: NDArray[np.int_],
    requested: float,
) -> tuple[Floats, MeanChances]:
    """Return the fewest further units of `grid` after which each group is decided with the chance `requested` [groups].

    NaN where even the last do not suffice; the chances are those after the returned units, or after the last.
    """
    more = np.broadcast_to(grid.astype(float), (len(x.value), len(grid)))
    chances = chances_after(x, more, margin, confidence, level, min_units)
    reached = chances.decided >= requested
    first = np.where(reached.any(axis=1), reached.argmax(axis=1), len(grid) - 1)
    rows = np.arange(len(first))
    units = np.where(reached.any(axis=1), grid[first].astype(float), np.nan)
    return units, MeanChances(chances.no_harm[rows, first], chances.loss[rows, first])


def _at(x: SkewedEstimate, total: Floats) -> SkewedEstimate:
    """Return the errors of means of so many units, around 0 [groups, points]."""
    scale = np.sqrt(x.effective_n[:, None] / total)
    zero = np.zeros(total.shape)
    return replace(
        x,
        value=zero,
        centre=zero,
        se=x.se[:, None] * scale,
        n=total,
        effective_n=total,
        df=np.maximum(x.df[:, None] / scale**2, 1.0),
        skewness=x.skewness[:, None] * scale,
        limits=(-np.inf, np.inf),
    )


def _posterior(x: SkewedEstimate, prior: NormalMixture) -> NormalMixture:
    value, error = x.value[:, None], x.se[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = 1 / (1 / prior.sd**2 + 1 / error**2)
        mean = variance * (prior.mean / prior.sd**2 + value / error**2)
        marginal = np.sqrt(prior.sd**2 + error**2)
        weight = prior.weight * np.exp(-(((value - prior.mean) / marginal) ** 2) / 2) / marginal
        weight = weight / weight.sum(axis=1, keepdims=True)
    return NormalMixture(weight, mean, np.sqrt(variance))
