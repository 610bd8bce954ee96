"""The recall of ten classes in six groups, one of which has no row of one class: false findings, power, and the means.

The world: 12,000 rows; classes of 20 % down to 1 % of them, groups of 30 % down to 5 %. Accuracy and the recall of every
class are one family, of everybody and every group: 77 hypotheses.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from simulated.found import DELTA, Found, Rng, found

from fairpress.auditing.cells.cells import Cells, EncodedTable
from fairpress.auditing.class_comparison import with_classes
from fairpress.auditing.class_recall import class_metric
from fairpress.auditing.inference.flip_strata import flip_strata
from fairpress.auditing.inference.group_estimator import GroupEstimator
from fairpress.auditing.judging import JudgingRules, judge_family
from fairpress.auditing.result import Margin
from fairpress.core.attribute import OVERALL, Attribute

ROWS = 12_000
CLASSES = tuple(f"c{i}" for i in range(10))
CLASS_SHARE = np.array([0.2, 0.18, 0.15, 0.12, 0.1, 0.08, 0.07, 0.05, 0.04, 0.01])
GROUP_SHARE = np.array([0.3, 0.25, 0.2, 0.12, 0.08, 0.05])
ABSENT = (4, 5)
"""The class and the group that has none of it."""
BY = (OVERALL, Attribute.from_text("g"))
RIGHT = 0.85
ALPHA = 0.05
DRAWS = 1999
"""Fewer than an audit takes: the level of a test by draws is the same for any number of them."""
RULES = JudgingRules(("accuracy",), {"accuracy": Margin(DELTA)}, {"accuracy": 366}, correction="holm")
METRICS = ("accuracy", *map(class_metric, CLASSES))


def world(rng: Rng, lost: np.ndarray, gained: np.ndarray, rows: int = ROWS) -> Cells:
    """Draw rows; `lost` and `gained` [classes, groups]: of right rows, of wrong ones, the share whose answer changes.

    Right rows become wrong, and wrong rows right. Besides, 2 % of the wrong rows change to another wrong class.
    """
    label = rng.choice(10, rows, p=CLASS_SHARE)
    group = rng.choice(6, rows, p=GROUP_SHARE)
    group = np.where((label == ABSENT[0]) & (group == ABSENT[1]), 0, group)
    wrong = (label + rng.integers(1, 10, rows)) % 10
    base = np.where(rng.random(rows) < RIGHT, label, wrong)
    change = rng.random(rows)
    other = (label + rng.integers(1, 10, rows)) % 10
    after = np.where(
        base == label,
        np.where(change < lost[label, group], wrong, base),
        np.where(change < gained[label, group], label, np.where(change > 0.98, other, base)),
    )
    ones = np.ones(rows)
    attributes = {"g": EncodedTable(tuple("abcdef"), group)}
    return Cells(attributes, label, {"base": base, "int8": after}, ones, ones, ones, CLASSES, None)


def even(flips: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares by which as many rows of every class and group are lost as gained."""
    shape = (10, 6)
    return np.full(shape, flips / 2 / RIGHT), np.full(shape, flips / 2 / (1 - RIGHT))


def null(rng: Rng, size: int) -> Iterator[Found]:
    """Losses and gains are even in every class and group, or in all but one: audits that find another loss."""
    for flips in (0.02, 0.06):
        hits = []
        for _ in range(size):
            cells = world(rng, *even(flips))
            p = flip_strata(cells, "base", ["int8"], BY, METRICS).p_adjusted(DRAWS)
            hits.append(any(bool((x < ALPHA).any()) for x in p.values()))
        setting = f"{flips:.0%} of the rows flip, evenly in every class and group"
        yield found("False `loss`, recall of classes", setting, hits, ALPHA, at_least=False)
    lost, gained = even(0.02)
    lost[3, 2] += 0.15
    true = class_metric("c3")
    hits = []
    for _ in range(size):
        p = flip_strata(world(rng, lost, gained), "base", ["int8"], BY, METRICS).p_adjusted(DRAWS)
        others = [x for (_, a, m), x in p.items() if m not in (true, "accuracy")]
        others += [np.delete(x, 2) for (_, a, m), x in p.items() if m in (true, "accuracy") and a != OVERALL]
        hits.append(any(bool((x < ALPHA).any()) for x in others))
    setting = "class c3 of group c loses 13 points, all others nothing"
    yield found("False `loss`, recall of classes", setting, hits, ALPHA, at_least=False)


def at_the_margin(rng: Rng, size: int) -> Iterator[Found]:
    """Every class of every group loses just the margin: audits with a harm; one class that is cleared."""
    for gain in (0.0, 0.02):
        harms, cleared = [], []
        shape = (10, 6)
        lost = np.full(shape, (DELTA + gain) / RIGHT)
        gained = np.full(shape, gain / (1 - RIGHT))
        for _ in range(size):
            evidence = GroupEstimator(world(rng, lost, gained))
            rules, _ = with_classes(RULES, evidence, Margin(DELTA), 366)
            family = judge_family(evidence, "base", ["int8"], BY[1:], rules)
            harms.append(any((v.verdict == "harm").any() for v in family.judged.values()))
            largest = family.judged["int8", BY[1], class_metric("c0")]
            cleared.append(bool(largest.verdict[0] == "no_harm"))
        setting = f"every class of every group loses 2 points, {gain:.0%} of the rows gain"
        yield found("False `harm`, recall of classes", setting, harms, ALPHA, at_least=False)
        setting += ": class c0 of group a, 720 rows"
        yield found("False `no harm`, recall of a class", setting, cleared, ALPHA, at_least=False)


def power(rng: Rng, size: int) -> Iterator[Found]:
    """One class of one group loses: how often this is found."""
    cases = [(3, 2, 0.06, 288, 0.6), (3, 2, 0.1, 288, 0.95), (7, 4, 0.25, 48, 0.8), (0, 0, 0.04, 720, 0.8)]
    for c, g, loss, rows, bound in cases:
        lost, gained = even(0.02)
        lost[c, g] += loss / RIGHT
        hits = []
        for _ in range(size):
            p = flip_strata(world(rng, lost, gained), "base", ["int8"], BY, METRICS).p_adjusted(DRAWS)
            hits.append(bool(p["int8", BY[1], class_metric(CLASSES[c])][g] < ALPHA))
        setting = f"{rows} rows lose {100 * loss:.0f} points, 2 % flip evenly besides"
        yield found("Power: `loss` of a class in a group", setting, hits, bound)


def means(rng: Rng, size: int) -> Iterator[Found]:
    """Coverage of the change of macro recall and macro F1, among all rows and in a group of 12 % of them."""
    lost, gained = np.full((10, 6), 0.03), np.full((10, 6), 0.05)
    lost[3] = 0.12
    large = GroupEstimator(world(rng, lost, gained, 2_000_000))
    for rate in ("macro_recall", "macro_f1"):
        for where, index, name in ((OVERALL, 0, "all"), (BY[1], 3, "a group of 12 % of them")):
            truth = large.ratio_change("int8", "base", rate, large.cells.grouping(where)).value[index]
            for rows in (1500, 12_000):
                inside, widths = [], []
                for _ in range(size):
                    evidence = GroupEstimator(world(rng, lost, gained, rows))
                    x = evidence.ratio_change("int8", "base", rate, evidence.cells.grouping(where))
                    low, high = (float(v[index]) for v in x.interval())
                    inside.append(low <= truth <= high)
                    widths.append(high - low)
                claim = f"Change of {rate.replace('_', ' ')}"
                yield found(claim, f"{rows:,} rows, {name}", inside, 0.93, width=float(np.mean(widths)))
