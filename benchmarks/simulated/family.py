"""The family of all losses of one artifact: false findings, power and the largest loss, by Holm and by Westfall–Young.

The world: two sexes, seven races, three ages; everybody, every group and every pairwise intersection are tested in
accuracy, TPR and FPR, 162 hypotheses. Rows are a sample of people, so that counts of groups vary, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from simulated.found import Found, Rng, found

from fairpress.auditing.cells.cells import Cells, EncodedTable
from fairpress.auditing.inference.flip_strata import flip_strata
from fairpress.auditing.statistics.largest_loss import bonferroni_lower_bounds, dealt_lower_bounds
from fairpress.auditing.statistics.proportion_intervals import bonett_price
from fairpress.auditing.statistics.westfall_young import step_down_min_p
from fairpress.auditing.verdicts.multiplicity import holm
from fairpress.core.attribute import Attribute

SEX = np.array([0.5, 0.5])
RACE = np.array([0.30, 0.20, 0.15, 0.12, 0.1133, 0.07, 0.0467])
AGE = np.array([0.5, 0.3, 0.2])
POSITIVE = 0.45
SHAPE = (len(SEX), len(RACE), len(AGE))
SHARES = np.einsum("i,j,k->ijk", SEX, RACE, AGE)
BY = ((), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2))
STUDIED = tuple(map(Attribute.from_text, ("", "sex", "race", "sex*race")))
"""The attributes of a family of models."""
ALPHA = 0.05
DRAWS = 1999
"""Fewer than an audit takes: the level of a test by draws is the same for any number of them."""


def groups() -> np.ndarray:
    """Return which intersections [sex, race, age] each group has [groups, 42]: everybody, each attribute, each pair."""
    value = np.indices(SHAPE).reshape(3, -1)
    members = []
    for axes in BY:
        shape = tuple(SHAPE[a] for a in axes)
        code = np.ravel_multi_index(value[list(axes)], shape) if axes else np.zeros(value.shape[1], int)
        members += [code == g for g in range(int(np.prod(shape)))]
    return np.array(members)


GROUPS = groups()
METRICS = {"accuracy": (1, 1), "tpr": (0, 1), "fpr": (1, 0)}
"""Rows of which labels, negative and positive, a metric is about."""


def membership(metrics: tuple[str, ...] = tuple(METRICS)) -> np.ndarray:
    """Return the strata (intersection × label) [hypotheses, 84] of each metric and group."""
    return np.concatenate([np.kron(GROUPS, np.array([METRICS[m]])) for m in metrics]).astype(float)


class Sample(NamedTuple):
    """Rows, losses and gains of each stratum [84]."""

    rows: np.ndarray
    lost: np.ndarray
    gained: np.ndarray


def sample(rng: Rng, people: int, lost: np.ndarray, gained: np.ndarray) -> Sample:
    """Draw people; `lost` and `gained` are chances by stratum [sex, race, age, label], or broadcast to it."""
    share = SHARES[..., None] * np.array([1 - POSITIVE, POSITIVE])
    lost, gained = (np.broadcast_to(x, share.shape) for x in (lost, gained))
    chances = np.stack([share * lost, share * gained, share * (1 - lost - gained)], axis=-1)
    counts = rng.multinomial(people, chances.ravel() / chances.sum()).reshape(-1, 3).astype(float)
    return Sample(counts.sum(axis=1), counts[:, 0], counts[:, 1])


def adjusted(rng: Rng, s: Sample, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the adjusted p-values by Holm of Bonett–Price, and by Westfall–Young of exact McNemar tests."""
    losses = bonett_price(matrix @ s.lost, matrix @ s.gained, matrix @ s.rows)
    return holm(losses.p_above(0.0)), step_down_min_p(s.lost, s.gained, matrix, rng, DRAWS)


def _false_findings(
    rng: Rng,
    size: int,
    claim: str,
    setting: str,
    world: tuple[int, np.ndarray, np.ndarray],
    matrix: np.ndarray,
    true: np.ndarray | slice = slice(None),
) -> Iterator[Found]:
    """Yield the share of audits in which some true hypothesis is rejected; Holm's for comparison."""
    hits = []
    for _ in range(size):
        both = adjusted(rng, sample(rng, *world), matrix)
        hits.append([bool((p[true] < ALPHA).any()) for p in both])
    by_holm, by_deals = np.array(hits).T
    yield found(f"False `loss`, {claim}", setting, by_deals, ALPHA, at_least=False)
    yield found(f"… by Holm, {claim}", setting, by_holm, at_least=False)


def null(rng: Rng, size: int) -> Iterator[Found]:
    """Flips are even everywhere: the share of audits that find some loss."""
    for people in (1000, 6000):
        for flips in (0.02, 0.06):
            setting = f"{people:,} rows, {flips:.0%} flip, evenly in every stratum"
            world = (people, np.array(flips / 2), np.array(flips / 2))
            yield from _false_findings(rng, size, "flips even", setting, world, membership())


def weak_null(rng: Rng, size: int) -> Iterator[Found]:
    """No group loses on balance, while its strata gain or lose: the share of audits that find some loss."""
    # A three-way interaction: the net loss of every pairwise intersection, and so of every group, is 0.
    interaction = np.einsum(
        "i,j,k->ijk", np.array([1, -1]), np.array([2, -3, 1, 0.0, 1, -1, 0]), np.array([1, -0.4, -0.6])
    )
    net = interaction / SHARES
    net *= 0.1 / abs(net).max()
    by_label = np.array([-POSITIVE, 1 - POSITIVE]) * 0.06
    for people in (1000, 6000):
        for even in (0.0, 0.02):
            world = (people, np.maximum(net, 0)[..., None] + even, np.maximum(-net, 0)[..., None] + even)
            setting = f"{people:,} rows, intersections of three lose or gain up to 10 %, {even:.0%} both ways"
            yield from _false_findings(rng, size, "no net loss", setting, world, membership())
        world = (people, np.maximum(by_label, 0) + 0.001, np.maximum(-by_label, 0) + 0.001)
        setting = f"{people:,} rows, accuracy alone, positives lose what negatives gain"
        matrix = membership(("accuracy",))
        yield from _false_findings(rng, size, "no net loss", setting, world, matrix)


def partial_null(rng: Rng, size: int) -> Iterator[Found]:
    """Some groups lose: the share of audits that find a loss of a group without one."""
    matrix = membership()
    for race, loss in ((0, 0.06), (5, 0.06), (5, 0.2)):
        lost = np.full((*SHAPE, 2), 0.01)
        lost[:, race] += loss
        touched = np.zeros((*SHAPE, 2), dtype=bool)
        touched[:, race] = True
        true = matrix @ touched.ravel() == 0
        setting = f"6,000 rows, {RACE[race]:.0%} of them lose {loss:.0%}, 2 % flip evenly besides"
        world = (6000, lost, np.array(0.01))
        yield from _false_findings(rng, size, "beside true ones", setting, world, matrix, true)


def power(rng: Rng, size: int) -> Iterator[Found]:
    """One group loses: how often the loss of this group is found in any metric."""
    matrix = membership()
    cases = [
        ((0, 0), 0.03, "an intersection of 900 rows loses 3 points", 0.8),
        ((0, 6), 0.10, "an intersection of 140 rows loses 10 points", 0.75),
        ((slice(None), 5), 0.06, "a race of 420 rows loses 6 points", 0.9),
    ]
    for where, loss, setting, bound in cases:
        lost = np.full((*SHAPE, 2), 0.01)
        lost[where] += loss
        members = np.zeros(SHAPE, dtype=bool)
        members[where] = True
        group = np.flatnonzero((members.ravel() == GROUPS).all(axis=1))
        about = (group + len(GROUPS) * np.arange(len(METRICS))[:, None]).ravel()
        hits = []
        for _ in range(size):
            both = adjusted(rng, sample(rng, 6000, lost, np.array(0.01)), matrix)
            hits.append([bool((p[about] < ALPHA).any()) for p in both])
        by_holm, by_deals = np.array(hits).T
        yield found("Power: `loss`", setting, by_deals, bound)
        yield found("… by Holm, power", setting, by_holm)


def largest(rng: Rng, size: int) -> Iterator[Found]:
    """The bound Y of "some group loses at least Y" in accuracy: how often it exceeds the largest true loss."""
    matrix = membership(("accuracy",))
    for people in (1000, 6000):
        for loss, gain in ((0.0, 0.02), (0.01, 0.0), (0.01, 0.04), (0.03, 0.01), (0.1, 0.02)):
            dealt, simple = [], []
            for _ in range(size):
                s = sample(rng, people, np.array(loss + gain), np.array(gain))
                rows = matrix @ s.rows
                losses = bonett_price(matrix @ s.lost, matrix @ s.gained, rows)
                bounds = dealt_lower_bounds(s.lost, s.gained, matrix, rows, rng, draws=DRAWS)
                dealt.append(np.nanmax(bounds))
                simple.append(np.nanmax(bonferroni_lower_bounds([losses])[0]))
            setting = f"{people:,} rows, every group loses {loss:.0%}, {gain:.0%} flip either way besides"
            # The width is how far below the truth the bound lies.
            for claim, y in (("Y above the largest loss", dealt), ("… by Bonferroni, Y", simple)):
                above = np.array(y) > loss
                yield found(claim, setting, above, ALPHA, at_least=False, width=float(loss - np.median(y)))


def study(rng: Rng, size: int) -> Iterator[Found]:
    """Several models in one family: false findings where each is right as often as the baseline, on the same hard rows.

    Rows that flip under two models share the baseline's answer, so that losses and gains of such a pattern are uneven
    although no model loses anything.
    """
    names = [f"m{i}" for i in range(5)]
    for people, right in ((400, 0.8), (2000, 0.8), (2000, 0.5), (2000, 0.3)):
        by_deals, by_holm = [], []
        for _ in range(size):
            cells = _equal_models(rng, people, right, names)
            flips = flip_strata(cells, "base", names, STUDIED, tuple(METRICS))
            by_deals.append(_rejects(flips.p_adjusted(DRAWS)))
            p = flips.p_values()
            by_holm.append(_rejects({"": holm(np.concatenate(list(p.values())))}))
        setting = (
            f"{people:,} rows, five models and the baseline right on {right:.0%} of the hard rows (15 %)"
        )
        yield found("False `loss`, a family of models", setting, by_deals, ALPHA, at_least=False)
        yield found(
            "… by Holm of exact p-values, a family of models",
            setting,
            by_holm,
            at_least=False,
        )


def _equal_models(rng: Rng, people: int, right: float, names: list[str]) -> Cells:
    """Return rows of which each model and the baseline classify the hard ones rightly with the same chance."""
    sex, race = rng.choice(len(SEX), people, p=SEX), rng.choice(len(RACE), people, p=RACE / RACE.sum())
    label = (rng.random(people) < POSITIVE).astype(int)
    hard = rng.random(people) < 0.15
    predicted = {
        name: np.where(hard & (rng.random(people) >= right), 1 - label, label) for name in ("base", *names)
    }
    attributes = {
        "sex": EncodedTable(tuple("fm"), sex),
        "race": EncodedTable(tuple("abcdefg"), race),
    }
    ones = np.ones(people)
    return Cells(attributes, label, predicted, ones, ones, ones, ("no", "yes"), "yes")


def _rejects(adjusted: Mapping[Any, np.ndarray]) -> bool:
    return any(bool((p < ALPHA).any()) for p in adjusted.values())
