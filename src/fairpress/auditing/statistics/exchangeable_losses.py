"""What the other groups of an audit say about a group's loss: a hierarchical model of exchangeable groups.

True losses of groups are taken as normal around a common mean μ with standard deviation τ; estimates as normal around them
with their own standard errors (Rubin, *Estimation in parallel randomized experiments*, Journal of Educational Statistics 6,
1981). A priori μ is normal with mean 0 and τ half-normal, both on the scale of the margin (Gelman, Bayesian Analysis 1,
2006). Each group's prior comes from the others alone, so that its rows count once. This serves predictions of what more rows
would show; no verdict uses it, because a lone group that loses would borrow its neighbours' innocence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fairpress.auditing.statistics.t_estimate import Floats

_SPREADS = np.array([0.05, 0.15, 0.3, 0.5, 0.75, 1.1, 1.6, 2.5])
"""Grid of τ, in units of its scale."""


@dataclass(frozen=True)
class NormalMixture:
    """A mixture of normal distributions per group; all arrays [groups, components]."""

    weight: Floats
    mean: Floats
    sd: Floats

    def density(self, values: Floats) -> Floats:
        """Return the density at values [groups, points]."""
        z = (values[:, :, None] - self.mean[:, None, :]) / self.sd[:, None, :]
        return np.asarray(
            (np.exp(-(z**2) / 2) * (self.weight / self.sd)[:, None, :]).sum(axis=2) / np.sqrt(2 * np.pi)
        )

    def __getitem__(self, groups: np.ndarray) -> NormalMixture:
        return NormalMixture(self.weight[groups], self.mean[groups], self.sd[groups])


def prior_from_others(value: ArrayLike, se: ArrayLike, scale: float) -> NormalMixture:
    """Return the predictive distribution of each group's true loss given the estimates of all other groups.

    Parameters
    ----------
    value, se
        Estimated losses and their standard errors [groups]; entries that are not finite say nothing.
    scale
        Standard deviation of μ and scale of τ a priori: the margin.
    """
    y, error = np.asarray(value, float), np.asarray(se, float)
    inside = (np.isfinite(y) & np.isfinite(error) & (error > 0))[:, None]
    y, error = np.where(inside[:, 0], y, 0.0)[:, None], np.where(inside[:, 0], error, 1.0)[:, None]
    spread = scale * _SPREADS
    variance = error**2 + spread**2
    precision = inside / variance

    def of_others(x: Floats) -> Floats:
        return np.asarray(x.sum(axis=0) - x)

    total = of_others(precision) + 1 / scale**2
    weighted = of_others(precision * y)
    mean = weighted / total
    log_likelihood = -0.5 * (
        of_others(inside * np.log(variance))
        + of_others(precision * y**2)
        - weighted**2 / total
        + np.log(total)
    )
    log_weight = log_likelihood - _SPREADS**2 / 2 + np.log(np.gradient(_SPREADS))
    weight = np.exp(log_weight - np.logaddexp.reduce(log_weight, axis=1, keepdims=True))
    return NormalMixture(weight, mean, np.sqrt(1 / total + spread**2))
