"""Bounded values: selective risk and bias scores of answers, reciprocal ranks with ties, several labels of each row.

Many tables of one world are the groups of one table, so that each setting is one call of the functions that an audit calls.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from simulated.found import DELTA, Found, Rng, found

from fairpress.auditing.cells.cells import Cells, EncodedTable
from fairpress.auditing.measure import Measure
from fairpress.auditing.outcomes.abstention import BIAS_AMBIGUOUS, BIAS_DISAMBIGUATED, RISK, AnswerValues
from fairpress.auditing.outcomes.bounded_evidence import BoundedEvidence
from fairpress.auditing.outcomes.multilabel import LabelValues
from fairpress.auditing.outcomes.protocol import RowValues
from fairpress.auditing.outcomes.ranking import RANKING, RankingValues
from fairpress.auditing.outcomes.row_table import RowTable
from fairpress.auditing.statistics.skewed_estimate import SkewedEstimate
from fairpress.auditing.verdicts.multiplicity import holm
from fairpress.core.attribute import Attribute

ALPHA = 0.05
SIZES = ((100, 1), (300, 1), (1000, 1), (1000, 5))
"""Rows of a table, and rows of a person, who has the same answers in half of them."""


def tables(count: int, rows: int, size: int) -> RowTable:
    """Return tables of rows, `size` of a person, without columns."""
    group, ones = np.repeat(np.arange(count), rows), np.ones(count * rows)
    names = tuple(f"{t:06d}" for t in range(count))
    keys = {"subject": np.arange(count * rows) // size} if size > 1 else {}
    cells = Cells({"t": EncodedTable(names, group)}, group * 0, {}, ones, ones, ones, (), None, keys)
    return RowTable("", cells, {}, {})


def loss_of(table: RowTable, values: RowValues, metric: str, *, higher: bool = False) -> SkewedEstimate:
    """Return the loss in a metric of each table."""
    measures = {metric: Measure("", "", higher_is_better=higher)}
    evidence = BoundedEvidence(table, "base", values, measures, False)
    return evidence.loss("int8", "base", metric, table.cells.grouping(Attribute.from_text("t")))


def together(rng: Rng, values: np.ndarray, size: int) -> np.ndarray:
    """Let the rows of a person take the values of the first of them, each with a chance of one half [..., rows]."""
    if size == 1:
        return values
    rows = np.arange(values.shape[-1])
    return np.asarray(values[..., np.where(rng.random(len(rows)) < 0.5, rows // size * size, rows)])


def _levels(claim: str, setting: str, x: SkewedEstimate, truth: float) -> Iterator[Found]:
    """Yield the errors of both decisions at a margin that is the true loss, and the coverage of the interval."""
    known = x.estimable
    low, high = x.interval()
    inside = (low <= truth) & (high >= truth)
    width = float(np.mean((high - low)[known]))
    yield found(
        f"False `no harm`, {claim}", setting, (x.upper(1 - ALPHA) < truth)[known], ALPHA, at_least=False
    )
    yield found(f"False `harm`, {claim}", setting, (x.p_above(truth) < ALPHA)[known], ALPHA, at_least=False)
    yield found(f"Coverage, {claim}", setting, inside[known], 0.93, width=width)


def _answers(rng: Rng, table: RowTable, size: int, chance: float) -> AnswerValues:
    """Draw answers: right, wrong or none; what was left unanswered is now wrong with a chance; half of the wrong ones and
    of the right ones are along the stereotype, of those that are new all."""
    rows = table.rows
    before = rng.choice(3, rows, p=[0.6, 0.1, 0.3])
    after = np.where((before == 2) & (rng.random(rows) < chance), 1, before)
    swap = rng.random(rows) < 0.04
    after = np.where(swap & (before < 2), 1 - before, after)
    side = rng.choice([-1.0, 1.0], rows)
    along = np.where((before == 2) & (after == 1), 1.0, side)
    drawn = np.stack([before, after, side, along])
    before, after, side, along = together(rng, drawn, size)
    wrong = {"base": (before != 0) * 1.0, "int8": (after != 0) * 1.0}
    answered = {"base": (before != 2) * 1.0, "int8": (after != 2) * 1.0}
    signed = {"base": side * answered["base"], "int8": along * answered["int8"]}
    return AnswerValues(table, np.zeros(rows, bool), wrong, answered, signed)


def answers(rng: Rng, size: int) -> Iterator[Found]:
    """Silence is traded for errors at equal accuracy: selective risk, and the bias score that the new answers have."""
    for chance in (0.1, 0.3):
        # Σ wrong/Σ answered before and after: .1 of .7 rows; the swaps make right and wrong answers of each other.
        new = 0.3 * chance
        risk = (0.1 * 0.96 + 0.6 * 0.04 + new) / (0.7 + new) - 0.1 / 0.7
        bias = new / (0.7 + new)
        for rows, people in SIZES:
            table = tables(size, rows, people)
            setting = f"{rows:,} rows, {chance:.0%} of the unanswered become wrong" + _people(people)
            values = _answers(rng, table, people, chance)
            yield from _levels("selective risk", setting, loss_of(table, values, RISK), risk)
            yield from _levels(
                "bias score, disambiguated", setting, loss_of(table, values, BIAS_DISAMBIGUATED), bias
            )
            values = AnswerValues(
                table, np.ones(table.rows, bool), values.wrong, values.answered, values.along
            )
            yield from _levels("bias score, ambiguous", setting, loss_of(table, values, BIAS_AMBIGUOUS), new)


def rankings(rng: Rng, size: int) -> Iterator[Found]:
    """Reciprocal ranks, of which most do not change, and those that do lose much."""
    ranks = 1 / np.arange(1, 51)
    share = 0.5 ** np.arange(1, 51)
    share /= share.sum()
    for ties, jump in ((0.6, 1), (0.95, 20)):
        drop = (1 - ties) * float(share @ (ranks - 1 / (np.arange(1, 51) + jump)))
        for rows, people in SIZES:
            table = tables(size, rows, people)
            rank = rng.choice(50, table.rows, p=share) + 1
            worse = rank + jump * (rng.random(table.rows) >= ties)
            rank, worse = together(rng, np.stack([rank, worse]), people)
            values = RankingValues({"base": 1 / rank, "int8": 1 / worse})
            setting = f"{rows:,} queries, {ties:.0%} keep their rank, others fall by {jump}" + _people(people)
            yield from _levels("reciprocal rank", setting, loss_of(table, values, RANKING, higher=True), drop)


def labels(rng: Rng, size: int) -> Iterator[Found]:
    """Ten labels that go wrong together, six groups: some loss where none loses, some harm where all lose the margin."""
    shares = np.array([0.35, 0.25, 0.15, 0.1, 0.1, 0.05])
    for loss, claim in ((0.0, "loss"), (DELTA, "harm")):
        for rows in (1000, 6000):
            hits = []
            for _ in range(size):
                p = _label_tests(rng, rows, shares, loss)
                hits.append(bool((holm(p) < ALPHA).any()))
            setting = f"{rows:,} rows, 10 labels × 6 groups, each loses {100 * loss:.0f} points"
            yield found(f"False `{claim}`, several labels", setting, hits, ALPHA, at_least=False)


def _label_tests(rng: Rng, rows: int, shares: np.ndarray, loss: float) -> np.ndarray:
    """Return the p-values of a loss of at most `loss` of each label, and of all, by group."""
    group = rng.choice(len(shares), rows, p=shares)
    # Rows that are hard have more flips of every label; as many are lost as gained, and the loss besides.
    hard = np.where(rng.random(rows) < 0.3, 0.05, 0.005)
    wrong = (rng.random((10, rows)) < 0.2).astype(float)
    change = rng.random((10, rows))
    lost, gained = (hard + loss) / 0.8, hard / 0.2
    after = np.where(wrong == 0, (change < lost) * 1.0, (change >= gained) * 1.0)
    ones = np.ones(rows)
    cells = Cells({"g": EncodedTable(tuple("abcdef"), group)}, group * 0, {}, ones, ones, ones, (), None)
    table = RowTable("", cells, {}, {})
    values = LabelValues(tuple(f"l{i}" for i in range(10)), {"base": wrong, "int8": after})
    measures: Mapping[str, Measure] = {m: Measure("", "") for m in values.metrics}
    evidence = BoundedEvidence(table, "base", values, measures, False)
    grouping = cells.grouping(Attribute.from_text("g"))
    return np.concatenate([evidence.loss("int8", "base", m, grouping).p_above(loss) for m in values.metrics])


def _people(size: int) -> str:
    return f", {size} of a person" if size > 1 else ""
