"""Verdicts: how often they are wrong, and how often they are given where they should be."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from simulated.found import DELTA, Found, Rng, found

from fairpress.auditing.statistics.proportion_intervals import bonett_price, excess_loss
from fairpress.auditing.statistics.t_estimate import TEstimate
from fairpress.auditing.verdicts.rules import group_verdicts, judge, judge_excess, overall_verdict, run_tests

FINE = [(s, r) for s in range(2) for r in range(4)]
ATTRIBUTES = {
    "sex": [[i for i, (s, _) in enumerate(FINE) if s == g] for g in range(2)],
    "race": [[i for i, (_, r) in enumerate(FINE) if r == g] for g in range(4)],
    "sex*race": [[i] for i in range(8)],
}
METRICS = ("accuracy", "tpr", "fpr")
SHARES = np.array([0.25, 0.12, 0.08, 0.05, 0.25, 0.12, 0.08, 0.05])


def artifact(rng: Rng, size: int, rows: int, lost: np.ndarray) -> Iterator[tuple[str, bool | None]]:
    """Yield the verdict and `disparate` of `size` artifacts over sex, race and sex × race.

    `lost` [8] is the true loss of each intersection, the same in accuracy, TPR and FPR; 2 % flip besides, half each way.
    """
    n = np.round(rows * SHARES[:, None] * np.array([0.55, 0.45])).astype(int)
    p = np.stack([0.01 + lost, np.full(8, 0.01), 0.98 - lost], axis=-1)[:, None]
    flips = rng.multinomial(n, p, size=(size, 8, 2)).astype(float)
    losses: dict[tuple[str, str], TEstimate] = {}
    excess: dict[tuple[str, str], TEstimate] = {}
    moved: dict[tuple[str, str], np.ndarray] = {}
    for attribute, groups in ATTRIBUTES.items():
        for metric, labels in (("accuracy", [0, 1]), ("tpr", [1]), ("fpr", [0])):
            part = flips[:, :, labels].sum(axis=2)
            total = n[:, labels].sum(axis=1)
            down, up = (np.stack([part[:, g, i].sum(axis=1) for g in groups], axis=1) for i in (0, 1))
            size_of = np.array([total[g].sum() for g in groups])
            losses[attribute, metric] = bonett_price(down, up, size_of)
            moved[attribute, metric] = (down + up) / size_of
            excess[attribute, metric] = excess_loss(down, up, np.broadcast_to(size_of, down.shape))
    for i in range(size):
        tests = {k: run_tests(x[i], moved[k][i], DELTA) for k, x in losses.items()}
        judged = judge(tests)
        verdicts = [
            v
            for a in ATTRIBUTES
            for v in group_verdicts(
                [judged[a, m].verdict for m in METRICS],
                [tests[a, m].loss.value for m in METRICS],
                [tests[a, m].margin for m in METRICS],
            )
        ]
        disparate, _ = judge_excess({k: x[i] for k, x in excess.items()})
        yield overall_verdict(np.array(verdicts, dtype=object)), disparate


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
