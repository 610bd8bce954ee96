"""The difference of two rates over strata: Mantel and Haenszel's estimate, and a score interval and test that agree.

Groups and their rests are compared within strata, and the differences are averaged with weights n₁n₀/(n₁ + n₀) (Mantel and
Haenszel 1959; Greenland and Robins, Biometrics 41, 1985), for which strata may be many and hold few rows. The interval
inverts the stratified score test (Miettinen and Nurminen, Statistics in Medicine 4, 1985) with the correction for skewness
of Gart and Nam (Biometrics 46, 1990), without which a handful of flips is called too often at the small levels of a
correction for many groups. At a difference of 0 the test is Mantel and Haenszel's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fairpress.auditing.statistics.bisection import last_true
from fairpress.auditing.statistics.rate_difference import restricted_rates
from fairpress.auditing.statistics.t_estimate import Floats, t_quantile, t_tail

STEPS = 34
"""Bisections of an interval of width 1, to 10⁻¹⁰."""


@dataclass(frozen=True)
class StratifiedCounts:
    """Counts of groups and of everybody else within strata, an entry for each stratum of a group that has rows in both.

    Attributes
    ----------
    group
        The group of each entry [entries], 0 … `groups` − 1.
    x1, n1, x0, n0
        Flips and rows of the group, flips and rows of its rest [entries].
    deff, df
        Design effect of people with several rows or of weights, and degrees of freedom [groups].
    """

    group: np.ndarray
    groups: int
    x1: Floats
    n1: Floats
    x0: Floats
    n0: Floats
    deff: Floats
    df: Floats

    @classmethod
    def of(
        cls, flips: Floats, rows: Floats, deff: Floats | None = None, df: Floats | None = None
    ) -> StratifiedCounts:
        """Return the counts of tables [strata, groups] of flips and rows, each group against all others."""
        rest_rows, rest_flips = (x.sum(axis=1, keepdims=True) - x for x in (rows, flips))
        stratum, group = np.nonzero((rows > 0) & (rest_rows > 0))
        at = (stratum, group)
        groups = rows.shape[1]
        return cls(
            group,
            groups,
            flips[at],
            rows[at],
            np.clip(rest_flips[at], 0, rest_rows[at]),
            rest_rows[at],
            np.ones(groups) if deff is None else deff,
            np.full(groups, np.inf) if df is None else df,
        )

    @property
    def weight(self) -> Floats:
        """Mantel and Haenszel's weight of each entry [entries]."""
        return np.asarray(self.n1 * self.n0 / (self.n1 + self.n0))

    def total(self, values: Floats) -> Floats:
        """Return the sum of values [entries] over the strata of each group [groups]."""
        return np.bincount(self.group, weights=values, minlength=self.groups).astype(float)

    def rates(self) -> tuple[Floats, Floats]:
        """Return the weighted rates of the groups and of their rests [groups]; NaN without a common stratum."""
        weight = self.weight
        with np.errstate(divide="ignore", invalid="ignore"):
            whole = self.total(weight)
            return (
                np.asarray(self.total(weight * self.x1 / self.n1) / whole),
                np.asarray(self.total(weight * self.x0 / self.n0) / whole),
            )

    def statistic(self, difference: Floats) -> Floats:
        """Return the score statistic [groups] of the hypothesis that the differences are those given [groups].

        Standard normal under it; positive where the observed difference is larger. NaN without a common stratum.
        """
        d = np.asarray(difference, float)[self.group]
        p1, p0, n, weight = self.x1 / self.n1, self.x0 / self.n0, self.n1 + self.n0, self.weight
        r1, r0 = restricted_rates(p1, self.n1, p0, self.n0, d)
        v1, v0 = r1 * (1 - r1) / self.n1, r0 * (1 - r0) / self.n0
        third = weight**3 * (v1 * (1 - 2 * r1) / self.n1 - v0 * (1 - 2 * r0) / self.n0)
        # Entries have rows on both sides; weights can make them fewer than two.
        variance = self.total(weight**2 * (v1 + v0) * n / np.maximum(n - 1, n / 2)) * self.deff
        above = self.total(weight * (p1 - p0 - d))
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.where((variance > 0) | (above != 0), above / np.sqrt(variance), 0.0)
            skewness = np.where(variance > 0, self.total(third) * self.deff**2 / variance**1.5, 0.0)
        return np.where(self.total(weight) > 0, without_skewness(z, skewness), np.nan)

    def p_two_sided(self) -> Floats:
        """Return the two-sided p-values [groups] of no difference."""
        z = self.statistic(np.zeros(self.groups))
        return np.asarray(np.minimum(1.0, 2 * t_tail(self.df, np.abs(z))))

    def interval(self, confidence: float = 0.95) -> tuple[Floats, Floats]:
        """Return the interval (low, high) of the weighted difference [groups], which inverts the test."""
        critical = t_quantile(self.df, (1 + confidence) / 2)
        first, second = self.rates()
        value = first - second
        low, high = np.where(np.isnan(value), np.nan, -1.0), np.where(np.isnan(value), np.nan, 1.0)
        return (
            last_true(
                lambda d: self.statistic(d) > critical, low, np.where(np.isnan(value), np.nan, value), STEPS
            ),
            last_true(
                lambda d: self.statistic(d) >= -critical,
                np.where(np.isnan(value), np.nan, value),
                high,
                STEPS,
            ),
        )


def without_skewness(z: Floats, skewness: Floats) -> Floats:
    """Return a statistic corrected for its skewness: the root s of s + (s² − 1)·skewness/6 = z, increasing in z.

    Gart and Nam, Biometrics 46 (1990), eq. 3. Beyond the parabola's vertex, the vertex.
    """
    a = np.asarray(skewness, float) / 6
    root = np.sqrt(np.maximum(1 + 4 * a * (a + z), 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(np.abs(a) < 1e-9, z, (root - 1) / (2 * a)))
