"""Inference over training seeds and rows jointly: both are random when the question is about a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fairpress.auditing.statistics.t_estimate import ErrorParts, Floats, TEstimate

ENOUGH_SEEDS = 6
"""From this number of seeds on, one t with Satterthwaite's df holds also at the small levels of a correction."""

COUNTING_VARIANCE = 1 / 12
"""Variance of a uniform distribution over one unit of a count (Sheppard, Proc. London Mathematical Society 29, 1898)."""


@dataclass(frozen=True)
class CrossedSums:
    """Sufficient statistics of values D[s, i] of seed s on row i; leading axes are groups.

    For a change D ∈ {−1, 0, 1} (indicator of the compressed minus that of the baseline), for a rate
    D ∈ {0, 1}. Only rows of the metric's denominator count (for a TPR those with a positive label); it must not
    depend on the model. T_i = Σ_s D[s, i]; m_i = number of seeds that predicted row i. Sums of disjoint
    sets of rows add, and subtract (`rest`).

    Attributes
    ----------
    seed_sums, seed_counts
        Σ_i D[s, i] and the number of rows, per seed; shape [..., S].
    rows
        Number of distinct rows; shape [...], like all below.
    row_squares, row_cross, row_count_squares
        Σ_i T_i², Σ_i T_i m_i, Σ_i m_i². With all rows predicted by all S seeds the last two are
        S·ΣD and S²·rows.
    total_squares
        Σ D².
    """

    seed_sums: Floats
    seed_counts: Floats
    rows: Floats
    row_squares: Floats
    row_cross: Floats
    row_count_squares: Floats
    total_squares: Floats

    @property
    def seeds(self) -> int:
        return int(self.seed_sums.shape[-1])

    @property
    def fully_crossed(self) -> np.ndarray:
        """True where every row was predicted by every seed."""
        return np.asarray((self.seed_counts == self.rows[..., None]).all(axis=-1))

    def __add__(self, other: CrossedSums) -> CrossedSums:
        return CrossedSums(**{k: getattr(self, k) + getattr(other, k) for k in self.__dataclass_fields__})

    def __sub__(self, other: CrossedSums) -> CrossedSums:
        return CrossedSums(**{k: getattr(self, k) - getattr(other, k) for k in self.__dataclass_fields__})

    def __getitem__(self, index: Any) -> CrossedSums:
        return CrossedSums(**{k: getattr(self, k)[index] for k in self.__dataclass_fields__})

    def rest(self) -> CrossedSums:
        """Return, for each group (first axis), the sums over all other groups of the attribute."""
        total = {k: getattr(self, k).sum(axis=0, keepdims=True) for k in self.__dataclass_fields__}
        return CrossedSums(**{k: total[k] - getattr(self, k) for k in self.__dataclass_fields__})


def crossed_sums(values: ArrayLike, groups: ArrayLike, count: int) -> CrossedSums:
    """Return the sums of a matrix of values [S, rows] (NaN = not predicted) by group index [rows] in 0..count−1."""
    d = np.asarray(values, float)
    g = np.asarray(groups, int)

    def by_group(x: Floats) -> Floats:
        return np.asarray(np.bincount(g, weights=x, minlength=count), float)

    t = d.sum(axis=0)
    if not np.isnan(t).any():  # every row was predicted by every seed: a third of the time
        s, sums = len(d), by_group(t)
        rows = np.bincount(g, minlength=count).astype(float)
        return CrossedSums(
            seed_sums=np.stack([by_group(row) for row in d], axis=-1),
            seed_counts=np.repeat(rows[:, None], s, axis=1),
            rows=rows,
            row_squares=by_group(t**2),
            row_cross=s * sums,
            row_count_squares=s**2 * rows,
            total_squares=by_group(np.einsum("si,si->i", d, d)),
        )
    observed = ~np.isnan(d)
    d = np.where(observed, d, 0.0)
    t, m = d.sum(axis=0), observed.sum(axis=0)
    return CrossedSums(
        seed_sums=np.stack([by_group(row) for row in d], axis=-1),
        seed_counts=np.stack([by_group(row.astype(float)) for row in observed], axis=-1),
        rows=by_group((m > 0).astype(float)),
        row_squares=by_group(t**2),
        row_cross=by_group(t * m),
        row_count_squares=by_group(m.astype(float) ** 2),
        total_squares=by_group((d**2).sum(axis=0)),
    )


def crossed_change(sums: CrossedSums) -> TEstimate:
    """Return the change averaged over seeds and rows, both random: new seeds and new people.

    Two pseudo-rows are added that flip in *every* seed, one up, one down; with one seed that is Bonett and
    Price's adjustment. Without it a group without flips would get an interval of width zero. S seeds of n rows
    without a flip are therefore no more evidence than n rows: P(flip) of a new row may still be 1/n.

    Fully crossed, six seeds or more: with mean squares of rows, columns (seeds) and error,
    Var(D̄) = max(MSR + MSC − MSE, MSR, MSC)/(nS), Satterthwaite df ≥ S − 1, `seed_weight`
    (Cameron and Miller 2015, 2011 for the two-way logic; Searle et al., *Variance Components*, 1992). When some rows lack
    seeds (folds), the sum of the two one-way cluster variances with df = S − 1: at least the two-way variance, because
    the error part, which Cameron, Gelbach and Miller (2011) subtract once, is left in.

    Below six seeds (`ENOUGH_SEEDS`), bounds are the sum of one for rows, √(MSR/(nS)), and one for seeds,
    √(MSC/(nS) + 1/(12n²S)) with S − 1 degrees of freedom, at half of the error rate each (`ErrorParts`; Bonferroni).

    Raises ``ValueError`` for fewer than two seeds. NaN where a group has no rows.
    """
    return _crossed(sums, up=1.0, down=1.0, low=-1.0, limits=(-1.0, 1.0))


def crossed_rate(sums: CrossedSums) -> TEstimate:
    """Return one model's proportion averaged over seeds and rows, both random; D ∈ {0, 1}.

    Two pseudo-rows of 1 and two of 0, constant over seeds, are added (Agresti and Coull, The American
    Statistician 52, 1998); apart from that like `crossed_change`.
    """
    return _crossed(sums, up=2.0, down=2.0, low=0.0, limits=(0.0, 1.0))


def crossed_mean(sums: CrossedSums) -> TEstimate:
    """Return the mean over seeds and rows of any value, both random; like `crossed_change` without pseudo-rows."""
    return _crossed(sums, up=0.0, down=0.0, low=0.0, limits=(-np.inf, np.inf))


def crossed_excess(sums: CrossedSums) -> TEstimate:
    """Return each group's change minus the rest's (first axis = groups), seeds and rows random.

    Rows of group and rest are disjoint, so their row variances add; seeds are shared, so the seed variance is
    that of the S differences: Var(E) = max(R + C − e, R, C), R = Σ MSR/(nS), C = s²(E_s)/S, e = Σ MSE/(nS).
    For an excess *loss* negate the result or the sums as for any change.
    """
    rest = sums.rest()
    a, b = crossed_change(sums), crossed_change(rest)
    s = sums.seeds
    with np.errstate(divide="ignore", invalid="ignore"):
        per_seed = sums.seed_sums / sums.seed_counts - rest.seed_sums / rest.seed_counts
    part_a, part_b = _parts(sums, 1.0, 1.0, -1.0), _parts(rest, 1.0, 1.0, -1.0)
    rows = part_a.rows + part_b.rows
    error = part_a.error + part_b.error
    seeds = per_seed.var(axis=-1, ddof=1) / s
    with np.errstate(divide="ignore", invalid="ignore"):
        row_df = rows**2 / (part_a.rows**2 / part_a.row_df + part_b.rows**2 / part_b.row_df)
    return TEstimate(
        value=a.value - b.value,
        centre=a.centre - b.centre,
        n=a.n,
        effective_n=a.effective_n,
        limits=(-2.0, 2.0),
        method="crossed",
        **row_and_seed_errors(
            rows,
            row_df,
            seeds,
            error,
            part_a.counting + part_b.counting,
            s,
            sums.fully_crossed & rest.fully_crossed,
        ),
    )


@dataclass(frozen=True)
class _Parts:
    """Variance of the mean due to rows, seeds, error and counting: MSR/(nS), MSC/(nS), MSE/(nS), after pseudo-rows.

    `counting` is the variance of a seed's count within a unit, 1/12 (see `row_and_seed_errors`); 0 without pseudo-rows.
    """

    centre: Floats
    rows: Floats
    seeds: Floats
    error: Floats
    row_df: Floats
    counting: Floats


def _parts(sums: CrossedSums, up: float, down: float, low: float) -> _Parts:
    s = sums.seeds
    if s < 2:
        raise ValueError("a crossed interval needs two seeds or more")
    extra = up + down
    added = up + down * low  # the pseudo-rows' contribution to each seed's sum
    squares = up + down * low**2
    with np.errstate(divide="ignore", invalid="ignore"):
        # A pseudo-row stands for as many seeds as a real row has on average (S when fully crossed).
        m = sums.seed_counts.sum(-1) / sums.rows
        share = sums.seed_counts / sums.rows[..., None]
        counts = sums.seed_counts + extra * share
        seed_sums = sums.seed_sums + added * share
        n = sums.rows + extra
        total = counts.sum(-1)
        centre = seed_sums.sum(-1) / total
        row_squares = sums.row_squares + squares * m**2
        row_cross = sums.row_cross + added * m**2
        row_counts = sums.row_count_squares + extra * m**2
        between_rows = row_squares - 2 * centre * row_cross + centre**2 * row_counts
        rows = np.maximum(between_rows, 0) * n / (n - 1) / total**2
        between_seeds = ((seed_sums - centre[..., None] * counts) ** 2).sum(-1)
        seeds = between_seeds * s / (s - 1) / total**2
        all_squares = sums.total_squares + squares * m - total * centre**2
        # On complete data SSR = between_rows/S and SSC = between_seeds/n.
        sse = all_squares - between_rows / s - between_seeds / n
        error = np.maximum(sse, 0) / ((n - 1) * (s - 1)) / total
        counting = COUNTING_VARIANCE * s / total**2 if extra else np.zeros(n.shape)
    return _Parts(centre, rows, seeds, error, n - 1, counting)


def seed_weight(seeds: int) -> float:
    """Return the weight of the seeds' variance in Satterthwaite's degrees of freedom: 1.03 at six seeds, 1.005 at ten.

    A variance of few seeds is often too small by chance, and the rows' many degrees of freedom then count for too much.
    """
    return 1 + 4 / (seeds - 1) ** 3


def row_and_seed_errors(
    rows: Floats,
    row_df: Floats,
    seeds: Floats,
    error: Floats,
    counting: Floats,
    count: int,
    crossed: np.ndarray,
) -> dict[str, Any]:
    """Return `se`, `df` and `parts` of a `TEstimate` from the variances of a mean due to rows, seeds and error.

    Parameters
    ----------
    rows, seeds, error
        MSR/(nS), MSC/(nS), MSE/(nS), all of one shape. The expectations of the first two contain that of the third.
    row_df
        Degrees of freedom of `rows`.
    counting
        Variance of a mean of counts due to what is between two counts, added to `seeds` below `ENOUGH_SEEDS`. Counts of
        two seeds are equal by chance in some per cent of small groups, where a continuous value would differ a little.
        Their variance of 0 would leave the rows' part alone, at .05/165 six times too often.
    count
        Number of seeds S.
    crossed
        True where every row was predicted by every seed.
    """
    seed_df = np.full(rows.shape, count - 1.0)
    if count < ENOUGH_SEEDS:
        # One t with the smaller df holds at every level, too (Mickey and Brown, Annals of Mathematical Statistics 37, 1966).
        seeds = seeds + counting
        parts = ErrorParts(np.sqrt(rows), row_df, np.sqrt(seeds), seed_df, np.sqrt(error + counting))
        return {"se": np.sqrt(rows + seeds), "df": np.fmin(row_df, seed_df), "parts": parts}
    variance = np.where(crossed, np.maximum(rows + seeds - error, np.maximum(rows, seeds)), rows + seeds)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = rows**2 / row_df + (seed_weight(count) * seeds) ** 2 / seed_df
        satterthwaite = np.where(spread > 0, variance**2 / spread, np.inf)
        df = np.where(crossed, np.maximum(satterthwaite, seed_df), seed_df)
    return {"se": np.sqrt(variance), "df": df}


def _crossed(sums: CrossedSums, up: float, down: float, low: float, limits: tuple[float, float]) -> TEstimate:
    s = sums.seeds
    part = _parts(sums, up, down, low)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(sums.rows > 0, sums.seed_sums.sum(-1) / sums.seed_counts.sum(-1), np.nan)
    return TEstimate(
        value=value,
        centre=np.where(sums.rows > 0, part.centre, np.nan),
        n=sums.rows,
        effective_n=sums.rows,
        limits=limits,
        method="crossed",
        **row_and_seed_errors(
            part.rows, part.row_df, part.seeds, part.error, part.counting, s, sums.fully_crossed
        ),
    )
