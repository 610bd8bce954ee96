"""Predictive assurance over training seeds and rows: the chance that more rows, or more seeds, decide a verdict.

A row's loss under a seed is μ + seed effect + row effect + error, all taken as normal. The mean squares of rows, seeds and
error have scaled inverse χ² posteriors (Box and Tiao, *Bayesian Inference in Statistical Analysis*, 1973, chapters 5 and 6;
components truncated at 0); from them future rows and seeds are drawn on top of the present ones, and the verdict is applied
to the sums of both. Rows alone cannot settle what the seeds leave open, nor the other way round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fairpress.auditing.statistics.exchangeable_losses import NormalMixture, prior_from_others
from fairpress.auditing.statistics.score_bounds import under_margin
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate, t_quantile
from fairpress.auditing.statistics.two_way import CrossedSums, crossed_change
from fairpress.auditing.verdicts.assurance import ASSURANCE, GRID, Bools, Chances
from fairpress.auditing.verdicts.eligibility import min_rows_for

SEEDS = (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 40, 50)
"""Numbers of additional seeds that are considered."""
_DRAWS = 256
_ROOTS = np.linspace(0.0, 1.0, 129)


@dataclass(frozen=True)
class SeedVerdictRule:
    """The verdict of `rules.judge` on losses over seeds and rows, with the levels of the corrected tests fixed.

    Attributes are those of `assurance.VerdictRule`.
    """

    margin: float = 0.02
    confidence: float = 0.95
    loss_level: float = 0.05
    harm_level: float = 0.05
    min_rows: int | None = None

    def __call__(self, loss: TEstimate, flip_share: Floats, /) -> tuple[Bools, Bools]:
        """Return where the verdict is no harm, and where it is loss or harm."""
        x = under_margin(loss, flip_share, self.margin)
        with np.errstate(divide="ignore", invalid="ignore"):
            harm = loss.centre - self.margin > _half_width(loss, self.harm_level)
            some = loss.centre > _half_width(loss, self.loss_level)
            clear = loss.centre + _half_width(loss, 1 - self.confidence) < self.margin
            clear &= x.centre + _half_width(x, 1 - self.confidence) < self.margin
        needed = min_rows_for(self.margin, self.confidence) if self.min_rows is None else self.min_rows
        no_harm = clear & ~harm & (loss.effective_n >= needed)
        return no_harm, harm | (some & ~no_harm)


@dataclass(frozen=True)
class RowsOrSeeds:
    """What decides a verdict over seeds: more rows with the same seeds, or more seeds on the same rows.

    Attributes
    ----------
    more_rows, more_seeds
        Smallest number that reaches the probability; None where none of those considered does.
    both
        (Rows, seeds) that decide together, in proportion; None if one of the two suffices, or if not even both do.
    probability
        The requested one.
    no_harm, loss
        Chances of the first of these that is not None, else of the largest number of rows and seeds.
    """

    more_rows: int | None
    more_seeds: int | None
    both: tuple[int, int] | None
    probability: float
    no_harm: float
    loss: float

    @property
    def decided(self) -> float:
        return self.no_harm + self.loss


def decide_with_seeds(
    losses: CrossedSums,
    rule: SeedVerdictRule,
    *,
    undecided: Bools | None = None,
    probability: float = ASSURANCE,
    per_row: Floats | float = 1.0,
) -> list[RowsOrSeeds | None]:
    """Return for each group of an attribute what decides its verdict; None where it is decided or has no rows.

    Parameters
    ----------
    losses
        Sums of D[s, i] ∈ {−1, 0, 1}, 1 where a right answer was lost, of *all* groups in one metric.
    rule
        The verdict, with its margin.
    undecided
        The groups to answer for [groups]; by default all.
    probability
        The requested chance of a decision.
    per_row
        Rows of the metric's denominator in one additional row of the group.
    """
    count = len(losses.rows)
    chosen = (np.ones(count, bool) if undecided is None else np.asarray(undecided, bool)) & (losses.rows > 0)
    share = np.broadcast_to(np.asarray(per_row, float), (count,))
    x = crossed_change(losses)
    prior = prior_from_others(x.value, x.se, rule.margin)
    out: list[RowsOrSeeds | None] = [None] * count
    for g in np.flatnonzero(chosen):
        one = np.array([g])
        future = _Future.of(losses[one], prior[one])
        out[g] = _smallest(future, float(losses.rows[g]), losses.seeds, float(share[g]), rule, probability)
    return out


def seed_assurance(
    losses: CrossedSums,
    more_rows: int,
    more_seeds: int,
    rule: SeedVerdictRule,
    prior: NormalMixture | None = None,
) -> Chances:
    """Return the chances of the verdicts of each group after more rows of the denominator and more seeds."""
    return _Future.of(losses, prior).chances(more_rows, more_seeds, rule)


def _smallest(
    future: _Future, rows: float, seeds: int, share: float, rule: SeedVerdictRule, probability: float
) -> RowsOrSeeds:
    by_rows = [(int(m), 0) for m in GRID]
    by_seeds = [(0, k) for k in SEEDS]
    by_both = [(int(np.ceil(rows / share * k / seeds)), k) for k in SEEDS]
    answers: list[tuple[int, int] | None] = []
    chances: Chances | None = None
    for options in (by_rows, by_seeds, by_both):
        step, reached = _bisect(options, future, share, rule, probability)
        if step is not None and chances is None:
            chances = reached
        answers.append(step)
        if len(answers) == 2 and any(answers):
            answers.append(None)
            break
        last = reached
    if chances is None:
        chances = last
    first, second, third = answers
    return RowsOrSeeds(
        None if first is None else first[0],
        None if second is None else second[1],
        third,
        probability,
        float(chances.no_harm[0]),
        float(chances.loss[0]),
    )


def _bisect(
    options: Sequence[tuple[int, int]],
    future: _Future,
    share: float,
    rule: SeedVerdictRule,
    probability: float,
) -> tuple[tuple[int, int] | None, Chances]:
    """Return the first option that reaches the probability and its chances, or None and those of the last one."""

    def chances(i: int) -> Chances:
        return future.chances(options[i][0] * share, options[i][1], rule)

    low, high, reached = -1, len(options) - 1, chances(len(options) - 1)
    if reached.decided[0] < probability:
        return None, reached
    while high - low > 1:
        middle = (low + high) // 2
        tried = chances(middle)
        if tried.decided[0] >= probability:
            high, reached = middle, tried
        else:
            low = middle
    return options[high], reached


def _half_width(x: TEstimate, level: float) -> Floats:
    """Return `TEstimate.half_width` with interpolated quantiles."""
    if x.parts is None:
        return _critical(x.df, level) * x.se
    p = x.parts
    return _critical(p.row_df, level / 2) * p.row_se + _critical(p.seed_df, level / 2) * p.seed_se


def _critical(df: Floats, level: float) -> Floats:
    """Return Student's upper quantile at a level, interpolated in √(1/df) to four digits: a quantile per draw is slow."""
    return np.asarray(np.interp(np.sqrt(1 / np.maximum(df, 1.0)), _ROOTS, _critical_values(level)))


@lru_cache(maxsize=256)
def _critical_values(level: float) -> Floats:
    with np.errstate(divide="ignore"):
        return t_quantile(1 / _ROOTS**2, 1 - level)


@dataclass(frozen=True)
class _Future:
    """Draws of the variance components and of the means [groups, draws], beside the present sums."""

    sums: CrossedSums
    mean: Floats
    seed_mean: Floats
    row_mean: Floats
    row_variance: Floats
    seed_variance: Floats
    error_variance: Floats
    between_seeds: Floats
    weight: Floats

    @classmethod
    def of(cls, sums: CrossedSums, prior: NormalMixture | None) -> _Future:
        s, rng = sums.seeds, np.random.default_rng(0)
        # Half a row that loses and half a row that gains under every seed, and one that keeps: Dirichlet(½, ½, 1).
        n = (sums.rows + 2)[:, None]
        observed = (sums.seed_sums.sum(axis=-1) / sums.seed_counts.sum(axis=-1))[:, None]
        row_squares = (sums.row_squares + s**2)[:, None]
        total = (sums.total_squares + s)[:, None] - n * s * observed**2
        between_rows = np.maximum(row_squares / s - n * s * observed**2, 0)
        seed_means = sums.seed_sums / sums.seed_counts
        spread = seed_means.var(axis=-1, ddof=1)[:, None]
        error = np.maximum(total - between_rows - n * (s - 1) * spread, 0)
        z = rng.standard_normal((3, _DRAWS))
        gamma = rng.standard_gamma((s - 1) / 2, _DRAWS) / ((s - 1) / 2)
        msr = between_rows / (n - 1) / _chi_square_ratio(n - 1, rng)
        mse = error / ((n - 1) * (s - 1)) / _chi_square_ratio((n - 1) * (s - 1), rng)
        msc = n * spread / gamma
        row = np.maximum(msr - mse, 0) / s
        seed = np.maximum(msc - mse, 0) / n
        seed_mean, row_mean = z[0] * np.sqrt(seed / s), z[1] * np.sqrt(row / n)
        mean = observed - seed_mean - row_mean - z[2] * np.sqrt(mse / (n * s))
        weight = np.ones(mean.shape) if prior is None else prior.density(mean) + 1e-300
        weight = weight / weight.sum(axis=1, keepdims=True)
        return cls(sums, mean, seed_mean, row_mean, row, seed, mse, spread, weight)

    def chances(self, more_rows: float, more_seeds: int, rule: SeedVerdictRule) -> Chances:
        rng = np.random.default_rng(1)
        z = rng.standard_normal((3, _DRAWS))
        n, s, m, k = self.sums.rows[:, None], self.sums.seeds, max(more_rows, 1e-9), more_seeds
        observed = (self.sums.seed_sums.sum(axis=-1) / self.sums.seed_counts.sum(axis=-1))[:, None]
        rows, seeds = n + m, s + k
        # The old seeds on old and new rows.
        new_row_mean = z[0] * np.sqrt(self.row_variance / m)
        new = self.mean + self.seed_mean + new_row_mean + z[1] * np.sqrt(self.error_variance / (m * s))
        old_seeds = (n * observed + m * new) / rows
        with np.errstate(divide="ignore", invalid="ignore"):
            shrink = np.nan_to_num(self.seed_variance / (self.seed_variance + self.error_variance / n))
        noise = (m / rows) ** 2 * (shrink * self.error_variance / n + self.error_variance / m)
        spread = self.between_seeds * ((n + m * shrink) / rows) ** 2 + noise * _gamma_ratio(s - 1, rng)
        mean, squares = old_seeds, (s - 1) * spread
        if k:  # the new seeds on all rows
            variance = self.seed_variance + self.error_variance / rows
            all_rows = (n * self.row_mean + m * new_row_mean) / rows
            new_seeds = self.mean + all_rows + z[2] * np.sqrt(variance / k)
            mean = (s * old_seeds + k * new_seeds) / seeds
            squares = squares + s * k / seeds * (old_seeds - new_seeds) ** 2
            if k > 1:
                squares = squares + (k - 1) * variance * _gamma_ratio(k - 1, rng)
        x = _sums(mean, squares, rows, seeds, self.row_variance, self.error_variance)
        no_harm, loss = rule(crossed_change(x), x.total_squares / (x.rows * seeds))
        return Chances((no_harm * self.weight).sum(axis=1), (loss * self.weight).sum(axis=1))


def _sums(
    mean: Floats, seed_squares: Floats, rows: Floats, seeds: int, row_variance: Floats, error_variance: Floats
) -> CrossedSums:
    """Return sums with a mean, Σ(seed mean − mean)², and the expected mean squares of rows and error."""
    n = np.broadcast_to(rows, mean.shape)
    pattern = np.linspace(-1.0, 1.0, seeds)
    pattern = pattern / np.sqrt((pattern**2).sum())
    seed_sums = n[..., None] * (mean[..., None] + np.sqrt(seed_squares)[..., None] * pattern)
    ssr = (n - 1) * (error_variance + seeds * row_variance)
    sse = (n - 1) * (seeds - 1) * error_variance
    squares_of_mean = n * seeds * mean**2
    return CrossedSums(
        seed_sums=seed_sums,
        seed_counts=np.broadcast_to(n[..., None], seed_sums.shape),
        rows=n,
        row_squares=seeds * (ssr + squares_of_mean),
        row_cross=seeds**2 * n * mean,
        row_count_squares=n * seeds**2,
        total_squares=ssr + n * seed_squares + sse + squares_of_mean,
    )


def _gamma_ratio(df: int, rng: np.random.Generator) -> Floats:
    return np.asarray(rng.standard_gamma(df / 2, _DRAWS) / (df / 2))


def _chi_square_ratio(df: Floats, rng: np.random.Generator) -> Floats:
    """Return χ²/df for large degrees of freedom [groups, 1], by Wilson and Hilferty."""
    spread = 2 / (9 * df)
    return np.asarray(np.maximum(1 - spread + np.sqrt(spread) * rng.standard_normal(_DRAWS), 0.1) ** 3)
