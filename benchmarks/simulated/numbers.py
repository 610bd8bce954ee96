"""Outcomes that are numbers or ratios of sums: verdicts where the truth is exactly the margin, and their power.

Every sample is a group of one call, so that the estimates are those of `fairpress audit`. The margin is the true mean.
What is asked is asked where the audit gives such verdicts: `no_harm` from 100 rows or 30 people on, harm from 50 rows or
20 people on; at the level of a correction where groups are assessed. `number_families` asks the family-wise error.

How skewed a sample is taken to be, and the share of an error rate that bounds use (`skewed_estimate`), were chosen by
looking at the distributions of `ERRORS` and `LOSSES`, at people and at speakers. Those of `OTHERS` chose nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy import stats
from simulated.assurance import POOLED, SINGLE, calibration
from simulated.found import Found, Rng, found

from fairpress.auditing.outcomes.judging import MIN_PEOPLE, MIN_TESTED, MIN_UNITS
from fairpress.auditing.statistics.linear_values import ratio_values
from fairpress.auditing.statistics.mean_assurance import chances_after
from fairpress.auditing.statistics.rare_changes import (
    unseen_variance,
    unseen_variance_of_rest,
    with_variance,
)
from fairpress.auditing.statistics.skewed_estimate import SkewedEstimate, join_estimates
from fairpress.auditing.statistics.unit_means import excess_of_units, mean_of_units, unit_sums
from fairpress.auditing.verdicts.multiplicity import holm

LEVEL, GROUPS = 0.05, 20
ROWS = (30, 50, 100, 300, 1000, 3000)
UNITS = (20, 30, 50, 100, 200)
MAX_VALUES = 12_000_000
DRAWS, BOOTSTRAPPED = 399, 3000
Draw = Callable[[Rng, tuple[int, int]], np.ndarray]


def _log_normal(rng: Rng, shape: tuple[int, int], sigma: float = 1.0) -> np.ndarray:
    return np.exp(sigma * rng.standard_normal(shape))


def _errors(rng: Rng, shape: tuple[int, int]) -> np.ndarray:
    """Return |error after| − |error before| of predictions whose errors are log-normal in size, and keep it mostly."""
    size, noise = _log_normal(rng, shape), rng.standard_normal((2, *shape))
    return np.asarray(np.abs(size * (noise[0] + 0.3 * noise[1])) - np.abs(size * noise[0]))


ERRORS: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "t with 3 df": lambda rng, shape: rng.standard_t(3, shape),
    "two log-normal errors": lambda rng, shape: _log_normal(rng, shape) - _log_normal(rng, shape),
    "log-normal errors that change little": _errors,
}
"""Differences between the errors of two models."""
LOSSES: dict[str, Draw] = {
    "loss log-normal, σ ½": lambda rng, shape: _log_normal(rng, shape, 0.5),
    "loss exponential": lambda rng, shape: rng.exponential(size=shape),
    "loss log-normal, σ 1": _log_normal,
    "gain log-normal, σ 1": lambda rng, shape: -_log_normal(rng, shape),
}
"""Losses that are themselves skewed: hardly anybody loses much, and nobody gains."""
OTHERS: dict[str, Draw] = {
    "loss gamma, shape ½": lambda rng, shape: rng.gamma(0.5, size=shape),
    "gain gamma, shape ½": lambda rng, shape: -rng.gamma(0.5, size=shape),
    "normal, of which 5 % ten times as wide": lambda rng, shape: (
        rng.standard_normal(shape) * np.where(rng.random(shape) < 0.05, 10.0, 1.0)
    ),
    "no change for 80 %, else Laplace with mean 1": lambda rng, shape: np.where(
        rng.random(shape) < 0.8, 0.0, rng.laplace(1.0, 1.0, shape)
    ),
    "counts of edits, negative binomial less Poisson": lambda rng, shape: (
        rng.negative_binomial(1, 0.6, shape) - rng.poisson(0.4, shape) + 0.0
    ),
}
"""Differences and losses that chose nothing of the method."""
RARE: dict[str, Draw] = {
    "all by the same loss": lambda rng, shape: np.ones(shape),
    "exponential losses": lambda rng, shape: rng.exponential(size=shape),
    "normal, one half of the deviation worse": lambda rng, shape: rng.normal(0.5, 1.0, shape),
    "log-normal losses, σ 1": _log_normal,
    "exponential gains": lambda rng, shape: -rng.exponential(size=shape),
}
"""Differences of the rows that change, where few do."""


def number_levels(rng: Rng, size: int) -> Iterator[Found]:
    """Rows are units; each sample's true loss is exactly the margin."""
    for name, draw in (ERRORS | LOSSES | OTHERS).items():
        truth = float(np.mean([draw(rng, (1, 2_000_000)).mean() for _ in range(5)]))
        for n in ROWS:
            samples = min(size, MAX_VALUES // n)
            values = draw(rng, (samples, n)).ravel()
            x = mean_of_units(unit_sums(values, _index(samples, n), samples, np.ones(values.size), None))
            yield from _levels(x, truth, f"{n:,} rows, {name}", n >= MIN_UNITS, n >= MIN_TESTED)


def cluster_levels(rng: Rng, size: int) -> Iterator[Found]:
    """People with 1 to 50 rows each, whose loss is log-normal over people, with t₃ errors of rows; half of it shared."""
    for units in UNITS:
        samples = min(size, MAX_VALUES // (26 * units))
        counts = rng.integers(1, 51, samples * units)
        person = np.repeat(np.arange(samples * units), counts)
        effect = np.exp(0.5 * rng.standard_normal(samples * units))
        values = effect[person] + rng.standard_t(3, person.size)
        index = person // units
        x = mean_of_units(unit_sums(values, index, samples, np.ones(values.size), person))
        yield from _levels(
            x, float(np.exp(0.125)), f"{units} people with 1 to 50 rows", units >= MIN_PEOPLE, True
        )


def ratio_levels(rng: Rng, size: int) -> Iterator[Found]:
    """Edits over words: speakers of log-normal skill, whose utterances are the longer the better they are recognized."""
    for units in UNITS:
        samples = min(size, MAX_VALUES // (20 * units))
        e0, e1, words, person = utterances(rng, samples * units)
        truth = _ratio_truth(rng)
        index, ones = person // units, np.ones(person.size)
        before, after = (ratio_values(e, words, index, samples, ones) for e in (e0, e1))
        x = mean_of_units(unit_sums(after - before, index, samples, ones, person))
        yield from _levels(x, truth, f"{units} speakers with 1 to 30 utterances", units >= MIN_PEOPLE, True)


def utterances(rng: Rng, speakers: int) -> tuple[np.ndarray, ...]:
    """Return edits before and after, words, and the speaker of each utterance."""
    person = np.repeat(np.arange(speakers), rng.integers(1, 31, speakers))
    skill = np.exp(0.5 * rng.standard_normal(speakers))[person]
    words = 1.0 + rng.poisson(12 / np.sqrt(skill))
    p = np.clip(0.08 * skill, 0, 0.5)
    before = rng.binomial(words.astype(int), p)
    added = rng.binomial(words.astype(int), 0.1 * p) - rng.binomial(before, 0.05)
    return before.astype(float), before + added.astype(float), words, person


def rare_levels(rng: Rng, size: int) -> Iterator[Found]:
    """Tables of five groups in which few rows change: the audit's bounds, and those without unseen changes.

    The baseline's values scatter as much as changes are large, which counts where no row of a table changes.
    """
    for name, draw in RARE.items():
        sample = draw(rng, (1, 5_000_000))
        mean, square = float(sample.mean()), float((sample**2).mean())
        for n in ROWS[2:]:
            for share in (0.003, 0.01, 0.03, 0.1, 0.2):
                tables = min(size, MAX_VALUES // (5 * n))
                plain, guarded = [], []
                for _ in range(tables):
                    values = np.where(rng.random((1, 5 * n)) < share, draw(rng, (1, 5 * n)), 0.0)[0]
                    sums = unit_sums(values, _index(5, n), 5, np.ones(5 * n), None)
                    plain.append(mean_of_units(sums))
                    unseen = unseen_variance(sums, (values != 0).astype(float), square)
                    guarded.append(with_variance(plain[-1], unseen))
                truth, setting = share * mean, f"{n:,} rows, {share:.1%} of which change, {name}"
                cleared = np.concatenate([x.upper(1 - LEVEL) < truth for x in plain])
                yield found("`no_harm` at the margin without unseen changes", setting, cleared)
                yield from _levels(join_estimates(guarded), truth, setting, True, True)


def rare_excess(rng: Rng, size: int) -> Iterator[Found]:
    """A small group among 5,000 rows that all change alike, and rarely: how often it is said to lose more."""
    for name, draw in RARE.items():
        for n in (60, 100, 300):
            for share in (0.01, 0.05):
                called = []
                for _ in range(size):
                    values = np.where(rng.random((1, n + 5000)) < share, draw(rng, (1, n + 5000)), 0.0)[0]
                    group = (np.arange(values.size) >= n).astype(int)
                    sums, changed = (
                        unit_sums(values, group, 2, np.ones(values.size), None),
                        (values != 0).astype(float),
                    )
                    unseen = unseen_variance(sums, changed) + unseen_variance_of_rest(sums, changed)
                    called.append(with_variance(excess_of_units(sums), unseen).p_above(0.0)[0] < LEVEL)
                setting = f"{n} rows of 5,000, {share:.0%} of which change, {name}"
                yield found("Excess over the rest where there is none", setting, called, LEVEL, False)


def _ratio_truth(rng: Rng) -> float:
    e0, e1, words, _ = utterances(rng, 100_000)
    return float((e1 - e0).sum() / words.sum())


def number_families(rng: Rng, size: int) -> Iterator[Found]:
    """Twenty groups of 30 to 3,000 rows that all lose exactly the margin, with Holm's correction; and excess losses of 0."""
    rows = np.geomspace(30, 3000, GROUPS).astype(int)
    group = np.repeat(np.arange(GROUPS), rows)
    for name, draw in (ERRORS | LOSSES).items():
        truth = float(draw(rng, (1, 10_000_000)).mean())
        harm, uneven, cleared = [], [], []
        for _ in range(size):
            values = draw(rng, (1, group.size))[0]
            sums = unit_sums(values, group, GROUPS, np.ones(group.size), None)
            x = mean_of_units(sums)
            harm.append(bool((holm(x.p_above(truth)) < LEVEL).any()))
            uneven.append(bool((holm(excess_of_units(sums).p_above(0.0)) < LEVEL).any()))
            cleared.append(bool((x.upper(1 - LEVEL) < truth).all()))
        setting = f"{GROUPS} groups of 30 to 3,000 rows, {name}"
        yield found("some `harm` where all groups lose exactly the margin", setting, harm, LEVEL, False)
        yield found("`uneven` where all groups lose alike", setting, uneven, LEVEL, False)
        yield found("all groups `no_harm` where all lose exactly the margin", setting, cleared, LEVEL, False)


def number_methods(rng: Rng, size: int) -> Iterator[Found]:
    """`no_harm` at the margin by other one-sided bounds: Student's t, Hall's alone, bootstrap-t with 399 draws."""
    for name in ("t with 3 df", "log-normal errors that change little", "loss log-normal, σ 1"):
        draw = (ERRORS | LOSSES)[name]
        truth = float(draw(rng, (1, 10_000_000)).mean())
        for n in (30, 100, 300):
            values = draw(rng, (size, n))
            mean, deviation = values.mean(axis=1), values.std(axis=1, ddof=1)
            t = np.sqrt(n) * (mean - truth) / deviation
            k = stats.skew(values, axis=1) / np.sqrt(n)
            low = stats.t.ppf(LEVEL, n - 1)
            setting = f"{n:,} rows, {name}"
            x = mean_of_units(unit_sums(values.ravel(), _index(size, n), size, np.ones(values.size), None))
            yield found("`no_harm` at the margin by the audit's bound", setting, x.upper(1 - LEVEL) < truth)
            yield found("`no_harm` at the margin by Student's t", setting, t < low)
            hall = t + k * (t**2 / 3 + 1 / 6) + k**2 * t**3 / 27
            yield found("`no_harm` at the margin by Hall's transformation alone", setting, hall < low)
            hits = [t[i] < _bootstrap_quantile(rng, values[i]) for i in range(min(size, BOOTSTRAPPED))]
            yield found("`no_harm` at the margin by a bootstrap-t", setting, hits)


def _bootstrap_quantile(rng: Rng, values: np.ndarray) -> float:
    n = values.size
    drawn = values[rng.integers(0, n, (DRAWS, n))]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.sqrt(n) * (drawn.mean(axis=1) - values.mean()) / drawn.std(axis=1, ddof=1)
    return float(np.quantile(t, LEVEL))


def number_power(rng: Rng, size: int) -> Iterator[Found]:
    """How often `no_harm` is said where nothing changed, at a margin of a fraction of the differences' deviation."""
    for name, draw in ERRORS.items():
        sample = draw(rng, (1, 10_000_000))
        deviation, mean = float(sample.std()), float(sample.mean())
        for fraction in (0.1, 0.2, 0.5):
            n = int(np.ceil((1.6449 + 1.2816) ** 2 / fraction**2))
            samples = min(size, MAX_VALUES // n)
            values = draw(rng, (samples, n)).ravel() - mean
            x = mean_of_units(unit_sums(values, _index(samples, n), samples, np.ones(values.size), None))
            hits = x.upper(1 - LEVEL) < fraction * deviation
            setting = f"{name}, margin {fraction} of the deviation, {n:,} rows, for 90 % with a normal mean"
            yield found("`no_harm` where nothing changed", setting, hits)


def number_assurance(rng: Rng, size: int) -> Iterator[Found]:
    """Open groups of audits, topped up by a third to twenty times their rows: predicted and realised decisions."""
    groups, level, everywhere = 14, LEVEL / 14, []
    worlds = {
        "true losses 0 to 1.5 margins on a grid": lambda: rng.choice([0, 0.25, 0.5, 0.75, 1, 1.5], groups),
        "true losses uniform on 0 to the margin": lambda: rng.uniform(0, 1, groups),
        "one loss for all groups": lambda: np.full(groups, rng.uniform(0, 0.75)),
        "one group loses 1.5 margins": lambda: np.where(np.arange(groups) == 0, 1.5, 0.0),
    }
    for name, losses in worlds.items():
        for shape, draw in ERRORS.items():
            centre = float(draw(rng, (1, 5_000_000)).mean())
            predicted, decided = [], []
            for _ in range(size):
                n = rng.choice([100, 150, 250, 400, 800, 1500], groups)
                more = np.round(n * np.exp(rng.uniform(np.log(0.3), np.log(20), groups))).astype(int)
                true, scatter = losses(), np.exp(rng.uniform(np.log(2), np.log(10), groups))
                group = np.repeat(np.arange(groups), n + more)
                first = np.arange(group.size) - np.repeat(np.cumsum(n + more) - n - more, n + more)
                values = true[group] + scatter[group] * (draw(rng, (1, group.size))[0] - centre)
                now, later = (
                    mean_of_units(
                        unit_sums(values, np.where(chosen, group, -1), groups, np.ones(group.size), None)
                    )
                    for chosen in (first < n[group], np.ones(group.size, bool))
                )
                open_ = ~_decided(now, level)
                chances = chances_after(now, more[:, None].astype(float), 1.0, 1 - LEVEL, level, MIN_UNITS)
                predicted.append(chances.decided[open_, 0])
                decided.append(_decided(later, level)[open_])
            everywhere.append(np.stack([np.concatenate(predicted), np.concatenate(decided)]))
            yield from calibration("Assurance of numbers", f"{name}, {shape}", *everywhere[-1], SINGLE)
    yield from calibration(
        "Assurance of numbers", "all of these", *np.concatenate(everywhere, axis=1), POOLED
    )


def _decided(x: SkewedEstimate, level: float) -> np.ndarray:
    return np.asarray((x.upper(1 - LEVEL) < 1.0) | (x.p_above(0.0) < level))


def _levels(x: SkewedEstimate, truth: float, setting: str, assessed: bool, tested: bool) -> Iterator[Found]:
    small = "" if assessed else ", in a group that is too small to be assessed"
    asked, corrected = LEVEL if assessed else None, LEVEL / GROUPS
    cleared = x.upper(1 - LEVEL) < truth
    yield found(f"`no_harm` at a loss of exactly the margin{small}", setting, cleared, asked, False)
    p = x.p_above(truth)
    small = "" if tested else ", in a group that is too small to be tested"
    yield found(
        f"`harm` at a loss of exactly the margin{small}", setting, p < LEVEL, LEVEL if tested else None, False
    )
    small = "" if assessed else ", in a group that is not assessed"
    yield found(
        f"`harm` at the level .05/{GROUPS}{small}",
        setting,
        p < corrected,
        corrected if assessed else None,
        False,
    )
    low, high = x.interval(1 - LEVEL)
    yield found("95 % interval of a loss", setting, (low <= truth) & (truth <= high), 0.93)


def _index(samples: int, n: int) -> np.ndarray:
    return np.repeat(np.arange(samples), n)
