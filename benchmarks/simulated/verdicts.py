"""Verdicts: how often they are wrong, and how often they are given where they should be."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from simulated.found import DELTA, Found, Rng, found

from fairpress.auditing.cells.cells import Cells, EncodedTable
from fairpress.auditing.comparison import CompressionComparison
from fairpress.auditing.inference.group_estimator import GroupEstimator
from fairpress.auditing.judging import JudgingRules
from fairpress.auditing.result import Margin
from fairpress.auditing.statistics.proportion_intervals import bonett_price
from fairpress.auditing.verdicts.eligibility import min_rows_for
from fairpress.auditing.verdicts.rules import judge, run_tests
from fairpress.core.attribute import Attribute

BY = tuple(map(Attribute.from_text, ("sex", "race", "sex*race")))
METRICS = ("accuracy", "tpr", "fpr")
RULES = JudgingRules(
    METRICS, {m: Margin(DELTA) for m in METRICS}, {m: min_rows_for(DELTA, 0.95) for m in METRICS}
)
SHARES = np.array([0.25, 0.12, 0.08, 0.05, 0.25, 0.12, 0.08, 0.05])
"""Of sex × race, two sexes of four races each."""


def artifact(rng: Rng, size: int, rows: int, lost: np.ndarray) -> Iterator[tuple[str, bool | None]]:
    """Yield the verdict and `disparate` of `size` artifacts over sex, race and sex × race, by the functions of an audit.

    `lost` [8] is the true loss of each intersection, the same in accuracy, TPR and FPR; 2 % flip besides, half each way.
    """
    n = np.round(rows * SHARES[:, None] * np.array([0.55, 0.45])).astype(int)
    p = np.stack([0.01 + lost, np.full(8, 0.01), np.full(8, 0.09), 0.89 - lost], axis=-1)[:, None]
    for _ in range(size):
        counts = rng.multinomial(n, p).astype(float)  # [intersections, label, lost, gained, wrong, right]
        intersection, label, outcome = (x.ravel() for x in np.indices(counts.shape))
        before, after = (np.where(np.isin(outcome, right), label, 1 - label) for right in ([0, 3], [1, 3]))
        sexes, races = (
            EncodedTable(("f", "m"), intersection // 4),
            EncodedTable(tuple("pqrs"), intersection % 4),
        )
        weights = (counts.ravel(),) * 3
        cells = Cells(
            {"sex": sexes, "race": races}, label, {"a": before, "b": after}, *weights, ("0", "1"), "1"
        )
        comparison = CompressionComparison(GroupEstimator(cells), cells, BY, "a", RULES)
        (judged,) = comparison.compare(["b"])
        yield judged.verdict, judged.disparate


def verdict_errors(rng: Rng, size: int) -> Iterator[Found]:
    """False harm and false disparity over all attributes and intersections of one artifact; power; false all-clear."""
    for rows in (2000, 8000):
        for loss, name in ((0.0, "0"), (DELTA / 2, "δ/2"), (DELTA, "δ")):
            seen = list(artifact(rng, size, rows, np.full(8, loss)))
            setting = f"{rows:,} rows, true loss {name} in every group"
            yield found("False `harm`", setting, [v == "harm" for v, _ in seen], 0.05, at_least=False)
            yield found("False `disparate`", setting, [d is True for _, d in seen], 0.05, at_least=False)
            if loss == 0:
                yield found(
                    "False `loss`", setting, [v in ("harm", "loss") for v, _ in seen], 0.05, at_least=False
                )
            if loss == DELTA:
                yield found(
                    "False `no_harm`", setting, [v == "no_harm" for v, _ in seen], 0.05, at_least=False
                )
    # 2,000 rows in the group that loses 3δ: sex 0 and race 1, an eighth of the rows.
    lost = np.zeros(8)
    lost[1] = 3 * DELTA
    seen = list(artifact(rng, size, round(2000 / SHARES[1]), lost))
    setting = "one intersection of 2,000 rows loses 3δ"
    yield found("Power: `harm` or `loss`", setting, [v in ("harm", "loss") for v, _ in seen], 0.8)
    yield found("Power: `harm`", setting, [v == "harm" for v, _ in seen], 0.8)
    yield found("Power: `disparate`", setting, [d is True for _, d in seen], 0.8)
    # No group loses; every one has 2,000 rows or more.
    seen = list(artifact(rng, size, round(2000 / SHARES.min()), np.zeros(8)))
    yield found(
        "Power: `no_harm`", "true loss 0, 2,000 rows or more a group", [v == "no_harm" for v, _ in seen], 0.8
    )


def all_clear(rng: Rng, size: int) -> Iterator[Found]:
    """One group in one metric whose true loss is exactly the margin: the chance to be told that it is below."""
    for n in (150, 300, 1000, 3000, 10_000):
        for up in (0.0, 0.01, 0.05):
            flips = rng.multinomial(n, [DELTA + up, up, 1 - DELTA - 2 * up], size=size)
            losses = {("g", "accuracy"): bonett_price(flips[:, 0], flips[:, 1], n)}
            moved = {("g", "accuracy"): flips[:, :2].sum(axis=1) / n}
            tests = {k: run_tests(x, moved[k], DELTA) for k, x in losses.items()}
            verdict = judge(tests)["g", "accuracy"].verdict
            setting = f"n = {n:,}, {DELTA + up:.0%} lose and {up:.0%} gain a right answer"
            yield found(
                "`no_harm` of one group at a loss of exactly δ",
                setting,
                verdict == "no_harm",
                0.05,
                at_least=False,
            )
