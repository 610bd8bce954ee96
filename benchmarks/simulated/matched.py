"""Flips matched by closeness, and counterfactual pairs: false findings, power, coverage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr
from simulated.found import Found, Rng, found

from fairpress.auditing.cells.cells import Cells, EncodedTable
from fairpress.auditing.inference.closeness import STRATA, ClosenessCounts
from fairpress.auditing.inference.matched_flips import match_flips
from fairpress.auditing.statistics.pair_counts import count_pairs
from fairpress.auditing.statistics.stratified_difference import StratifiedCounts
from fairpress.auditing.statistics.t_estimate import Floats
from fairpress.auditing.verdicts.multiplicity import holm
from fairpress.core.attribute import Attribute

GROUPS = 20
SHARES = np.r_[0.3, 0.2, np.full(GROUPS - 2, 0.5 / (GROUPS - 2))]
GROUP = Attribute(("group",))


@dataclass(frozen=True)
class Scores:
    """Logits of groups under the baseline, and the noise and shift that compression adds to them.

    `more`: how many times larger the noise is in the first group.
    """

    name: str
    location: Floats
    scale: Floats
    noise: float
    shift: float
    more: float = 1.0


UNEQUAL = (
    Scores("some groups closer to the threshold", np.zeros(GROUPS), np.linspace(1, 4, GROUPS), 0.15, 0.0),
    Scores(
        "groups on both sides, scores shifted", np.linspace(-2, 2, GROUPS), np.full(GROUPS, 1.5), 0.15, 0.3
    ),
    Scores("few positives, scores shifted", np.linspace(-4, -2, GROUPS), np.full(GROUPS, 1.5), 0.15, 0.3),
    Scores("many flips", np.linspace(-2, 2, GROUPS), np.linspace(1, 4, GROUPS), 1.0, 0.0),
)


@dataclass(frozen=True)
class Rows:
    """Simulated rows: group, logit, flips, the chance to flip, and people."""

    group: np.ndarray
    logit: Floats
    flipped: np.ndarray
    chance: Floats
    people: np.ndarray | None = None


def draw(rng: Rng, n: int, scores: Scores, people: np.ndarray | None = None) -> Rows:
    """Draw rows; rows of a person are of one group, and alike in their logits and in what compression does to them."""

    def normal() -> Floats:
        own = rng.standard_normal(n)
        if people is None:
            return own
        return np.sqrt(0.5) * (own + rng.standard_normal(people.max() + 1)[people])

    group = rng.choice(GROUPS, n, p=SHARES)
    if people is not None:
        group = rng.choice(GROUPS, people.max() + 1, p=SHARES)[people]
    logit = scores.location[group] + scores.scale[group] * normal()
    noise = scores.noise * np.where(group == 0, scores.more, 1.0)
    after = logit + scores.shift + noise * normal()
    chance = ndtr(-np.sign(logit) * (logit + scores.shift) / noise)
    return Rows(group, logit, (logit > 0) != (after > 0), chance, people)


def strata(logit: Floats, *, power: float = 2.0, count: int = STRATA, by_side: bool = True) -> np.ndarray:
    """Return the stratum of each row, by ranks of the distance from 0 as `closeness` cuts them."""
    out = np.zeros(len(logit), np.int64)
    sides = (logit > 0, logit <= 0) if by_side else (np.ones(len(logit), bool),)
    for i, side in enumerate(sides):
        if side.any():
            distance = np.abs(logit[side])
            edges = np.quantile(distance, (np.arange(1, count) / count) ** power, method="inverted_cdf")
            out[side] = count * i + np.searchsorted(edges, distance, side="left")
    return out


def counts(rows: Rows) -> ClosenessCounts:
    """Return the rows as `closeness` counts them, one combination a row."""
    ones = np.ones(len(rows.group))
    before = (rows.logit > 0).astype(np.int64)
    cells = Cells(
        {"group": EncodedTable(tuple(f"{g:02}" for g in range(GROUPS)), rows.group)},
        before,
        {"a": before, "b": np.where(rows.flipped, 1 - before, before)},
        ones,
        ones,
        ones,
        ("0", "1"),
        "1",
        {} if rows.people is None else {"subject": rows.people},
    )
    stratum = np.unique(strata(rows.logit), return_inverse=True)[1]
    return ClosenessCounts(cells, stratum, ("a.score",))


def tables(rows: Rows, stratum: np.ndarray, values: Floats) -> tuple[Floats, Floats]:
    """Return sums of values and rows [strata, groups]."""
    shape = (int(stratum.max()) + 1, GROUPS)
    at = np.ravel_multi_index((stratum, rows.group), shape)
    size = shape[0] * shape[1]
    return (
        np.bincount(at, weights=values, minlength=size).reshape(shape).astype(float),
        np.bincount(at, minlength=size).reshape(shape).astype(float),
    )


def called(rows: Rows, stratum: np.ndarray) -> Floats:
    """Return the adjusted p-values [groups] of rows that count once, as `match_flips` has them, for any strata."""
    return holm(StratifiedCounts.of(*tables(rows, stratum, rows.flipped.astype(float))).p_two_sided())


def matched_level(rng: Rng, size: int) -> Iterator[Found]:
    """Equal flip curves, unequal margins: some of 20 groups is found to flip more or less (corrected)."""
    for n in (2000, 40_000, 200_000):
        for scores in UNEQUAL:
            hits: list[list[bool]] = [[], [], [], []]
            for _ in range(size if n < 200_000 else max(size // 4, 60)):
                rows = draw(rng, n, scores)
                cuts = (
                    strata(rows.logit),
                    np.zeros(n, np.int64),
                    strata(rows.logit, power=1, count=10, by_side=False),
                    strata(rows.logit, power=1, count=10),
                )
                for out, stratum in zip(hits, cuts, strict=True):
                    out.append(bool((called(rows, stratum) <= 0.05).any()))
            setting = f"{n:,} rows, {scores.name}"
            matched, raw, deciles, by_side = hits
            yield found(
                "False finding about matched flips, 20 groups", setting, matched, 0.05, at_least=False
            )
            yield found("… about flips as they are (for comparison)", setting, raw)
            yield found("… in deciles of the distance (for comparison)", setting, deciles)
            yield found("… in deciles by side (for comparison)", setting, by_side)


def matched_people(rng: Rng, size: int) -> Iterator[Found]:
    """The same with people of 1 to 50 rows, which are alike."""
    for n_people in (200, 1000):
        for scores in UNEQUAL[:2]:
            hits, naive = [], []
            for _ in range(size):
                sizes = np.minimum(np.ceil(rng.pareto(1.2, n_people) + 0.5), 50).astype(int)
                rows = draw(rng, sizes.sum(), scores, np.repeat(np.arange(n_people), sizes))
                for table, out in ((rows, hits), (replace(rows, people=None), naive)):
                    groups = match_flips(counts(table), "a", ["b"], [GROUP])["b"][0].groups
                    out.append(any((g.matched.p_adjusted or 1) <= 0.05 for g in groups))
            setting = f"{n_people:,} people of 1 to 50 rows, {scores.name}"
            yield found("False finding about matched flips over people", setting, hits, 0.05, at_least=False)
            yield found("… as if rows were independent (for comparison)", setting, naive)


def matched_power(rng: Rng, size: int) -> Iterator[Found]:
    """Scores of the first group, 30 % of the rows, are moved more: is it found, and does the interval hold the truth?"""
    for n in (2000, 10_000, 40_000):
        for more in (1.5, 2.0):
            for scores in (replace(UNEQUAL[0], more=more), replace(UNEQUAL[3], more=more)):
                shown, hits, wald, small, widths, truths = [], [], [], [], [], []
                for _ in range(size):
                    rows = draw(rng, n, scores)
                    table = counts(rows)
                    groups = match_flips(table, "a", ["b"], [GROUP])["b"][0].groups
                    first, second = StratifiedCounts.of(*tables(rows, table.stratum, rows.chance)).rates()
                    truth = first - second
                    x = groups[0].matched
                    shown.append((x.p_adjusted or 1) <= 0.05 and (x.value or 0) > 0)
                    hits.append(x.low <= truth[0] <= x.high)
                    widths.append(x.high - x.low)
                    truths.append(truth[0])
                    small += [
                        g.matched.low <= t <= g.matched.high
                        for g, t in zip(groups[2:], truth[2:], strict=True)
                        if g.matched.low is not None
                    ]
                    wald += list(within_two_errors(rows, table.stratum, truth)[2:][np.isfinite(truth[2:])])
                setting = f"{n:,} rows, {scores.name}, {100 * np.mean(truths):.1f} points more"
                yield found("Group with more flips at equal closeness is found", setting, shown)
                yield found(
                    "Interval of its matched difference", setting, hits, 0.93, width=float(np.mean(widths))
                )
                yield found(
                    "Interval of the matched difference, groups of 2.8 % of the rows", setting, small, 0.93
                )
                yield found("… by Sato's variance (for comparison)", setting, wald)


def within_two_errors(rows: Rows, stratum: np.ndarray, truth: Floats) -> np.ndarray:
    """Return whether truths are within 1.96 standard errors of the difference (Sato, Biometrics 45, 1989)."""
    c = StratifiedCounts.of(*tables(rows, stratum, rows.flipped.astype(float)))
    n, (first, second) = c.n1 + c.n0, c.rates()
    p = (c.n1**2 * c.x0 - c.n0**2 * c.x1 + c.n1 * c.n0 * (c.n0 - c.n1) / 2) / n**2
    q = (c.x1 * (c.n0 - c.x0) + c.x0 * (c.n1 - c.x1)) / (2 * n)
    se = np.sqrt((first - second) * c.total(p) + c.total(q)) / c.total(c.weight)
    return np.asarray(np.abs(first - second - truth) <= 1.96 * se)


def counterfactual_pairs(rng: Rng, size: int) -> Iterator[Found]:
    """Templates of 2 to 12 rows, or 2 to 60 and very unequal: the change of the share of pairs that disagree, and shares."""
    identities = 8
    bias = np.linspace(-0.5, 0.5, identities)

    def simulated(templates: int, more: float, unequal: bool) -> tuple[np.ndarray, ...]:
        size_of = rng.integers(2, 13, templates)
        if unequal:
            size_of = np.minimum(2 + np.ceil(2 * rng.pareto(1.0, templates)).astype(int), 60)
        template = np.repeat(np.arange(templates), size_of)
        identity = rng.integers(0, identities, len(template))
        before = 1.5 * rng.standard_normal(templates)[template] + bias[identity]
        before = before + 0.3 * rng.standard_normal(len(template))
        after = before + more * bias[identity] + 0.3 * rng.standard_normal(len(template))
        return template, identity, (before > 0).astype(int), (after > 0).astype(int)

    for more, unequal in ((0.0, False), (1.0, False), (1.0, True)):
        population = simulated(200_000, more, unequal)
        whole, each = count_pairs(*population, np.ones(len(population[0])))
        truth = [x.change(g).value for x, g in ((whole, 1), (each, identities))]
        share = whole.shares(1)[1].value[0]
        for templates in (10, 30, 100, 300):
            hits, by_identity, shares, widths = [], [], [], []
            for _ in range(size):
                sample = simulated(templates, more, unequal)
                whole, each = count_pairs(*sample, np.ones(len(sample[0])))
                low, high = whole.change(1).interval()
                hits.append(low[0] <= truth[0][0] <= high[0])
                widths.append(high[0] - low[0])
                low, high = each.change(identities).interval()
                enough = each.templates(identities) > 1
                by_identity += list(((low <= truth[1]) & (truth[1] <= high))[enough])
                low, high = whole.shares(1)[1].interval()
                shares.append(low[0] <= share <= high[0])
            setting = f"{templates} templates{' of very unequal sizes' if unequal else ''}"
            setting += ", bias grows" if more else ", no more bias"
            name = "Counterfactual pairs: change of the share that disagrees"
            yield found(name, setting, hits, 0.93, width=float(np.mean(widths)))
            yield found(f"{name}, with one identity", setting, by_identity, 0.93)
            yield found("Counterfactual pairs: the share that disagrees", setting, shares, 0.93)
