"""Means of any number by group, with rows or people as the unit of every error: paired means, and a group against the rest.

With T the weighted sum of a unit's values in a group and W its weight there, the mean of the group is ΣT/ΣW and the units'
contributions are z = (T − mean·W)/ΣW; their sum of squares, times units/(units − 1), is the variance that is robust to any
dependence within units (cluster-robust, Liang and Zeger 1986). Degrees of freedom are those of unequal units,
(ΣW²)²/ΣW⁴ − 1: units − 1 where all weigh the same (Satterthwaite for fully dependent rows of a unit).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fairpress.auditing.statistics.skewed_estimate import SkewedEstimate
from fairpress.auditing.statistics.t_estimate import Floats

_NO_LIMITS = (-np.inf, np.inf)
_DENSE = 1_000_000


@dataclass(frozen=True)
class UnitSums:
    """Sums of the rows of one unit in one group, an entry for each combination that occurs.

    Attributes
    ----------
    total, weight
        Σw·value and Σw [entries].
    group, unit
        Indices of the group and the unit [entries].
    groups
        The number of groups.
    """

    total: Floats
    weight: Floats
    group: np.ndarray
    unit: np.ndarray
    groups: int

    def per_group(self, x: Floats) -> Floats:
        """Return sums over the entries of each group [groups]."""
        return _sums_by(self.group, x, self.groups)

    @property
    def sizes(self) -> Floats:
        """The effective number of units of each group, (ΣW)²/ΣW² [groups]; 0 without any."""
        squares = self.per_group(self.weight**2)
        return np.asarray(self.per_group(self.weight) ** 2 / np.where(squares > 0, squares, 1.0))

    @property
    def shared(self) -> bool:
        """Whether some unit is in several groups, so that the groups are not independent."""
        return bool((np.bincount(self.unit) > 1).any()) if len(self.unit) else False


def unit_sums(
    values: Floats, index: np.ndarray, groups: int, weight: Floats, unit: np.ndarray | None
) -> UnitSums:
    """Return the sums of every unit in every group; rows are units where `unit` is None.

    Parameters
    ----------
    values
        Values [rows]; rows with NaN are left out.
    index
        The group of each row [rows]; rows with -1 are in none.
    """
    inside = ~np.isnan(values) & (index >= 0)
    group, w = index[inside], weight[inside]
    total = w * values[inside]
    if unit is None:
        return UnitSums(total, w, group, np.flatnonzero(inside), groups)
    entry = unit[inside].astype(np.int64) * groups + group
    size = (int(unit.max(initial=0)) + 1) * groups
    if size <= 4 * len(entry) + _DENSE:  # a dense table is faster than sorting
        keys = np.flatnonzero(np.bincount(entry, minlength=size))
        totals, weights = (_sums_by(entry, x, size)[keys] for x in (total, w))
    else:
        keys, entry = np.unique(entry, return_inverse=True)
        totals, weights = (_sums_by(entry, x, len(keys)) for x in (total, w))
    return UnitSums(totals, weights, keys % groups, keys // groups, groups)


def mean_of_units(s: UnitSums, method: str = "t-units") -> SkewedEstimate:
    """Return the mean of each group [groups]; NaN without units, and without a standard error with one unit."""
    n = s.per_group(s.weight)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = s.per_group(s.total) / n
        z = (s.total - mean[s.group] * s.weight) / n[s.group]
    second, third, units, df = _moments(s, z)
    return _estimate(mean, second, third, n, s.sizes, units, df, method)


def excess_of_units(s: UnitSums, method: str = "t-units") -> SkewedEstimate:
    """Return the mean of each group minus that of all other rows [groups]; units may have rows on both sides.

    NaN where there is no other row. `effective_n` is that of the side with fewer units.
    """
    rest = s.per_group(s.weight).sum() - s.per_group(s.weight)
    centre = s.total.sum() / max(s.weight.sum(), 1e-300)
    total = s.total - centre * s.weight  # sums of squares lose fewer digits about the mean of all
    whole_t, whole_w = (_sums_by(s.unit, x, 1) for x in (total, s.weight))
    n = s.per_group(s.weight)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean, other = s.per_group(total) / n, (total.sum() - s.per_group(total)) / rest
        z = (total - mean[s.group] * s.weight) / n[s.group]
        # What the other rows contribute, of units with rows in the group and of those without.
        a, b = whole_t[s.unit] - total, whole_w[s.unit] - s.weight
        both = (a - other[s.group] * b) / rest[s.group]
        second, third = (
            s.per_group(both**k) + _without(s, whole_t, whole_w, other, k) / rest**k for k in (2, 3)
        )
        cross = s.per_group(z * both)
    second, third = np.maximum(second, 0), np.where(rest > 0, third, np.nan)
    own_second, own_third, units, df = _moments(s, z)
    present = np.bincount(s.unit[s.weight > 0], minlength=len(whole_w)) > 0
    other_units = present.sum() - s.per_group((b <= 0).astype(float))
    other_df, other_sizes = _rest(s, whole_w, b, rest)
    with np.errstate(divide="ignore", invalid="ignore"):
        first_var = own_second * units / (units - 1)
        second_var = second * other_units / (other_units - 1)
        variance = np.maximum(first_var + second_var - 2 * cross, 0)
        joint_df = (first_var + second_var) ** 2 / (first_var**2 / df + second_var**2 / other_df)
        joint_df = np.where(np.isnan(joint_df), np.fmin(df, other_df), np.fmax(joint_df, 1.0))
        skewness = (own_third - third) / np.where(variance > 0, variance, 1.0) ** 1.5
    se = np.where((units > 1) & (other_units > 1), np.sqrt(variance), np.nan)
    skewness = np.where(np.isfinite(skewness), skewness, 0.0)
    value = np.where(rest > 0, mean - other, np.nan)
    smaller = np.minimum(s.sizes, other_sizes)
    return SkewedEstimate(value, value, se, n, smaller, joint_df, _NO_LIMITS, method, skewness=skewness)


def trimmed_mean(values: Floats, index: np.ndarray, groups: int, share: float = 0.1) -> tuple[Floats, Floats]:
    """Return the trimmed mean of each group and its standard error (Tukey and McLaughlin 1963) [groups].

    `share` of the rows is left out at either end. NaN with fewer than three rows that are kept.
    """
    mean, se = np.full(groups, np.nan), np.full(groups, np.nan)
    inside = np.flatnonzero(~np.isnan(values) & (index >= 0))
    order = inside[np.lexsort((values[inside], index[inside]))]
    ends = np.searchsorted(index[order], np.arange(groups + 1))
    for g in range(groups):
        x = values[order[ends[g] : ends[g + 1]]]
        cut = int(share * len(x))
        kept = x[cut : len(x) - cut]
        if len(kept) < 3:
            continue
        mean[g] = kept.mean()
        winsorized = np.clip(x, kept[0], kept[-1])
        se[g] = winsorized.std(ddof=1) / ((1 - 2 * cut / len(x)) * np.sqrt(len(x)))
    return mean, se


def _sums_by(index: np.ndarray, x: Floats, size: int) -> Floats:
    return np.asarray(np.bincount(index, weights=x, minlength=size), dtype=float)


def _moments(s: UnitSums, z: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return Σz², Σz³, the number of units and the degrees of freedom of each group."""
    squares = s.weight**2
    w2, w4 = s.per_group(squares), s.per_group(squares**2)
    units = s.per_group((s.weight > 0).astype(float))
    df = np.maximum(w2**2 / np.where(w4 > 0, w4, 1.0) - 1, 1.0)
    second = s.per_group(z * z)
    scaled = z / np.sqrt(np.where(second > 0, second, 1.0))[s.group]  # a cube of large numbers overflows
    return second, s.per_group(scaled**3) * second**1.5, units, df


def _without(s: UnitSums, total: Floats, weight: Floats, mean: Floats, power: int) -> Floats:
    """Return Σ(T − mean·W)^power over the units without rows in the group [groups], by the binomial theorem."""
    out = np.zeros(s.groups)
    binomial = {2: (1, -2, 1), 3: (1, -3, 3, -1)}[power]
    for i, coefficient in enumerate(binomial):
        terms = total ** (power - i) * weight**i
        out = out + coefficient * mean**i * (terms.sum() - s.per_group(terms[s.unit]))
    return np.asarray(out)


def _rest(s: UnitSums, weight: Floats, remaining: Floats, total: Floats) -> tuple[Floats, Floats]:
    """Return degrees of freedom and the effective number of units of all rows outside each group."""
    w2, w4 = (
        (weight**k).sum() - s.per_group(weight[s.unit] ** k) + s.per_group(remaining**k) for k in (2, 4)
    )
    df = np.maximum(w2**2 / np.where(w4 > 0, w4, 1.0) - 1, 1.0)
    return np.asarray(df), np.asarray(total**2 / np.where(w2 > 0, w2, 1.0))


def _estimate(
    mean: Floats,
    second: Floats,
    third: Floats,
    n: Floats,
    sizes: Floats,
    units: Floats,
    df: Floats,
    method: str,
) -> SkewedEstimate:
    with np.errstate(divide="ignore", invalid="ignore"):
        se = np.where(units > 1, np.sqrt(second * units / (units - 1)), np.nan)
        skewness = np.where(second > 0, third / np.where(second > 0, second, 1.0) ** 1.5, 0.0)
    return SkewedEstimate(mean, mean, se, n, sizes, df, _NO_LIMITS, method, skewness=skewness)
