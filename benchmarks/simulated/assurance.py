"""Assurance: whether as many verdicts are decided by more rows, or more seeds, as was predicted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from scipy.special import ndtr, ndtri
from simulated.found import DELTA, Found, Rng, found

from fairpress.auditing.statistics.exchangeable_losses import prior_from_others
from fairpress.auditing.statistics.proportion_intervals import bonett_price
from fairpress.auditing.statistics.two_way import CrossedSums, crossed_change, crossed_sums
from fairpress.auditing.verdicts.assurance import VerdictRule, assurance
from fairpress.auditing.verdicts.seed_assurance import SeedVerdictRule, seed_assurance

POOLED, SINGLE = 0.05, 0.1
USED_FROM = 0.6
BANDS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 1.01)
GROUPS = 14
World = Callable[[Rng], tuple[np.ndarray, np.ndarray]]
"""Shares of rows that lose and that gain a right answer, of the groups of one audit."""


def _between(rng: Rng, low: float, high: float, size: int) -> np.ndarray:
    return np.exp(rng.uniform(np.log(low), np.log(high), size))


def _shares(loss: np.ndarray, smaller: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares of losses and gains, given their difference and the smaller of the two."""
    return smaller + np.maximum(loss, 0), smaller + np.maximum(-loss, 0)


def _any_share(rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    flips, share = _between(rng, 0.003, 0.1, GROUPS), rng.uniform(size=GROUPS)
    return flips * share, flips * (1 - share)


def _alone(rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    loss = np.zeros(GROUPS)
    loss[0] = 1.5 * DELTA
    return _shares(loss, np.full(GROUPS, 0.015))


WORLDS: dict[str, World] = {
    "true losses 0 to 1.5δ on a grid": lambda rng: _shares(
        rng.choice([0, 0.25, 0.5, 0.75, 1, 1.5], GROUPS) * DELTA,
        rng.choice([0.0025, 0.005, 0.01, 0.02, 0.04], GROUPS),
    ),
    "true losses uniform on 0 to δ": lambda rng: _shares(
        rng.uniform(0, DELTA, GROUPS), _between(rng, 0.002, 0.05, GROUPS)
    ),
    "true losses normal, mean δ/4, sd 3δ/4": lambda rng: _shares(
        rng.normal(0.25, 0.75, GROUPS) * DELTA, _between(rng, 0.002, 0.05, GROUPS)
    ),
    "one loss for all groups, 0 to 3δ/4": lambda rng: _shares(
        np.full(GROUPS, rng.uniform(0, 0.75) * DELTA), _between(rng, 0.002, 0.05, GROUPS)
    ),
    "any share of the flips is losses": _any_share,
    "one group loses 1.5δ, no other": _alone,
}


def row_assurance(rng: Rng, size: int) -> Iterator[Found]:
    """Undecided groups of audits, topped up by a third to twenty times their rows: predicted and realised decisions."""
    level = 0.05 / (3 * GROUPS)
    rule = VerdictRule(DELTA, 0.95, level, level)
    everywhere = []
    for name, world in WORLDS.items():
        predicted, decided = [], []
        for _ in range(size):
            down, up = world(rng)
            n = rng.choice([80, 150, 250, 400, 800, 1500, 3000], GROUPS)
            more = np.round(n * _between(rng, 0.3, 20, GROUPS)).astype(int)
            shares = np.stack([down, up, 1 - down - up], axis=-1)
            first, second = rng.multinomial(n, shares), rng.multinomial(more, shares)
            lost, gained = first[:, 0], first[:, 1]
            x = bonett_price(lost, gained, n)
            prior = prior_from_others(x.value, x.se, DELTA)
            open_ = _undecided(rule, first[:, 0], first[:, 1], n)
            chances = assurance(lost, gained, n, more, rule, prior)
            both = first + second
            predicted.append(chances.decided[open_])
            decided.append(~_undecided(rule, both[:, 0], both[:, 1], n + more)[open_])
        everywhere.append(np.stack([np.concatenate(predicted), np.concatenate(decided)]))
        yield from calibration("Assurance of rows", name, *everywhere[-1], SINGLE)
    yield from calibration("Assurance of rows", "all of these", *np.concatenate(everywhere, axis=1), POOLED)


def _undecided(rule: VerdictRule, lost: np.ndarray, gained: np.ndarray, n: np.ndarray) -> np.ndarray:
    no_harm, loss = rule(*(v[:, None].astype(float) for v in (lost, gained, n)))
    return ~(no_harm | loss)[:, 0]


def calibration(
    claim: str,
    setting: str,
    predicted: np.ndarray,
    decided: np.ndarray,
    tolerance: float,
    bounded_from: float = 0.0,
    above: bool = True,
) -> Iterator[Found]:
    """Yield the share decided in each band of the predicted chance, with the band's mean ± the tolerance as its bounds.

    Bands below `bounded_from` are shown without bounds; without `above`, more decisions than predicted are no fault.
    """
    for low, high in pairwise(BANDS):
        inside = (predicted >= low) & (predicted < high)
        if inside.sum() >= 100:
            mean, bounded = round(float(predicted[inside].mean()), 3), low >= bounded_from
            band = f"{setting}: predicted {mean:.2f}"
            least = round(max(mean - tolerance, 0), 3) if bounded else None
            yield found(claim, band, decided[inside], least)
            if above and bounded:
                most = round(mean + tolerance, 3)
                yield found(f"{claim}, not more", band, decided[inside], most, at_least=False)


def seed_and_row_assurance(rng: Rng, size: int) -> Iterator[Found]:
    """The same over seeds: more rows under the same seeds, more seeds on the same rows, or both."""
    groups, level = 6, 0.05 / 14
    rule = SeedVerdictRule(DELTA, 0.95, level, level)
    everywhere = []
    for seeds, row_effect in ((3, 1.0), (5, 1.0), (5, 2.0), (10, 2.0)):
        predicted, decided = [], []
        for _ in range(size):
            seed_effect = rng.choice([0, 0.1, 0.2, 0.3])
            more_seeds, more_rows = ((0, 1000), (0, 3000), (2, 0), (5, 500), (10, 2000))[rng.integers(5)]
            n = rng.choice([200, 400, 800, 1500], groups)
            losses = rng.choice([0, 0.25, 0.5, 0.75, 1, 1.5], groups) * DELTA
            now, later = [], []
            for rows, loss in zip(n, losses, strict=True):
                d = _runs(rng, seeds + more_seeds, int(rows) + more_rows, loss, row_effect, seed_effect)
                now.append(crossed_sums(d[:seeds, :rows], np.zeros(rows, int), 1))
                later.append(crossed_sums(d, np.zeros(d.shape[1], int), 1))
            present, future = _joined(now), _joined(later)
            x = crossed_change(present)
            open_ = _seeds_undecided(rule, present)
            prior = prior_from_others(x.value, x.se, DELTA)
            chances = seed_assurance(present, more_rows, more_seeds, rule, prior)
            predicted.append(chances.decided[open_])
            decided.append(~_seeds_undecided(rule, future)[open_])
        everywhere.append(np.stack([np.concatenate(predicted), np.concatenate(decided)]))
        setting = f"{seeds} seeds, row effect {row_effect:g}"
        yield from calibration(
            "Assurance of rows and seeds", setting, *everywhere[-1], SINGLE, USED_FROM, above=False
        )
    yield from calibration(
        "Assurance of rows and seeds",
        "all of these",
        *np.concatenate(everywhere, axis=1),
        POOLED,
        USED_FROM,
        above=False,
    )


def _runs(rng: Rng, seeds: int, rows: int, loss: float, row_effect: float, seed_effect: float) -> np.ndarray:
    """Return D [seeds, rows] of two models that err on 6 % and 6 % + loss of the rows, on the probit scale."""
    spread = np.sqrt(1 + row_effect**2 + seed_effect**2)
    easy = row_effect * rng.standard_normal(rows)
    errs = []
    for share in (0.06, 0.06 + loss):
        latent = ndtri(share) * spread + easy + seed_effect * rng.standard_normal((seeds, 1))
        errs.append(rng.random((seeds, rows)) < ndtr(latent))
    return errs[1].astype(float) - errs[0]


def _joined(parts: list[CrossedSums]) -> CrossedSums:
    return CrossedSums(
        **{k: np.concatenate([getattr(p, k) for p in parts]) for k in CrossedSums.__dataclass_fields__}
    )


def _seeds_undecided(rule: SeedVerdictRule, sums: CrossedSums) -> np.ndarray:
    no_harm, loss = rule(crossed_change(sums), sums.total_squares / (sums.rows * sums.seeds))
    return ~(no_harm | loss)
