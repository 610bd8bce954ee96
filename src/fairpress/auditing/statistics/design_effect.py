"""Design effect of repeated subjects and weights, which gives the effective number of independent rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fairpress.auditing.statistics.t_estimate import Floats


@dataclass(frozen=True)
class ClusterSums:
    """Sums over subjects of a ratio Σu/Σm; all of shape [...], usually one entry per group.

    Subject j has size m_j (its rows in the metric's denominator; with weights, their total weight) and sum
    u_j (of D ∈ {−1, 0, 1} for a change, of an indicator for a rate; weighted). Weights without subjects: each
    row is a subject with m = w, u = w·D. Sums of disjoint groups add.

    Attributes
    ----------
    subjects, rows
        Number of subjects with m_j > 0, and of their rows.
    sizes, sums
        Σm (the denominator n) and Σu.
    size_squares, sum_squares, cross
        Σm², Σu², Σum.
    total_squares
        Σ over rows of w·D² (for a change the flips; for a rate the successes).
    """

    subjects: Floats
    rows: Floats
    sizes: Floats
    sums: Floats
    size_squares: Floats
    sum_squares: Floats
    cross: Floats
    total_squares: Floats

    def rest(self) -> ClusterSums:
        """Return, for each group (last axis), the sums over all other groups of the attribute."""
        parts = {k: getattr(self, k) for k in self.__dataclass_fields__}
        return ClusterSums(**{k: v.sum(axis=-1, keepdims=True) - v for k, v in parts.items()})


def cluster_sums(
    rows: ArrayLike, sizes: ArrayLike, sums: ArrayLike, squares: ArrayLike, groups: ArrayLike, count: int
) -> ClusterSums:
    """Return the sums from one entry per (subject, group): rows, m_j, u_j, Σ w·D², group index in 0..count−1."""
    r, m, u, q = (np.asarray(v, float) for v in (rows, sizes, sums, squares))
    g = np.asarray(groups, int)

    def by_group(x: Floats) -> Floats:
        return np.asarray(np.bincount(g, weights=x, minlength=count), float)

    return ClusterSums(
        by_group((m > 0).astype(float)),
        by_group(r),
        by_group(m),
        by_group(u),
        by_group(m**2),
        by_group(u**2),
        by_group(u * m),
        by_group(q),
    )


@dataclass(frozen=True)
class DesignEffect:
    """`deff` to pass to `wilson`, `agresti_caffo`, `bonett_price`; `df` = subjects − 1 for `bonett_price`."""

    deff: Floats
    df: Floats


def design_effect(sums: ClusterSums) -> DesignEffect:
    """Return variance by subjects ÷ variance as if a weight of 1 were one independent row.

    deff = [J/(J−1) Σ(u_j − d m_j)² + 2m̄²] / [Σ w(D − d)² + 2m̄], d = Σu/Σm, m̄ = Σm²/Σm: the ratio of the
    linearized cluster variance (Cochran, *Sampling Techniques*, 1977, §11) to the simple one, after adding two
    pseudo-subjects of the typical size m̄ that flip in all their rows. Where nothing flips it is therefore
    m̄ (Kish's bound, "only people count"), and it tends to the plain estimate as flips become many.

    It is at least the mean weight of the rows, so that a group is never worth more than its rows; this is 1 without weights,
    and less in a group that was sampled more densely than others. NaN where there are no rows; df is at least 1.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        d = sums.sums / sums.sizes
        typical = sums.size_squares / sums.sizes
        j = sums.subjects
        between = sums.sum_squares - 2 * d * sums.cross + d**2 * sums.size_squares
        between = np.maximum(between, 0) * np.where(j > 1, j / (j - 1), 1.0)
        simple = np.maximum(sums.total_squares - d**2 * sums.sizes, 0)
        deff = (between + 2 * typical**2) / (simple + 2 * typical)
        mean_weight = sums.sizes / sums.rows
    return DesignEffect(np.maximum(deff, mean_weight), np.maximum(j - 1, 1.0))
