"""The decision about an artifact, by the functions of an audit: who is cleared, and what is wrongly called harmless."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from simulated.found import DELTA, Found, Rng, found

from fairpress.auditing.cells.cells import Cells, EncodedTable
from fairpress.auditing.comparison import CompressionComparison
from fairpress.auditing.inference.group_estimator import GroupEstimator
from fairpress.auditing.judging import JudgingRules
from fairpress.auditing.result import Comparison, Margin
from fairpress.auditing.verdicts.eligibility import min_rows_for
from fairpress.auditing.verdicts.rules import judge, overall_verdict, run_tests
from fairpress.core.attribute import Attribute

SIZES = np.array([200, 300, 500, 800, 1300, 2000, 3200, 5000])
POSITIVE = 0.4
RIGHT = 0.85
METRICS = ("accuracy", "tpr", "fpr")
BY = Attribute(("g",))
RULES = JudgingRules(
    METRICS, {m: Margin(DELTA) for m in METRICS}, {m: min_rows_for(DELTA, 0.95) for m in METRICS}
)


class Decision(NamedTuple):
    """What an audit of one simulated artifact decided, with the truth that it is about.

    `worst_judged` is the largest true loss of an assessed group or pool, `worst` that of any group; `all_metrics` is
    whether every group is clear in all three metrics, the rule that this one replaced.
    """

    comparison: Comparison
    worst_judged: float
    worst: float
    all_metrics: bool


def sample(rng: Rng, lost: np.ndarray, flips: float) -> Cells:
    """Return cells of eight groups; `lost` [8] is the true loss in every metric, and `flips` flip besides, half each way."""
    positive = np.round(SIZES * POSITIVE).astype(int)
    n = np.stack([SIZES - positive, positive], axis=1)
    half = np.full(8, flips / 2)
    kept_right = RIGHT - half - lost
    chances = np.stack([half + lost, half, kept_right, 1 - half - lost - half - kept_right], axis=-1)
    counts = rng.multinomial(n, chances[:, None]).astype(float)  # [groups, label, lost, gained, right, wrong]
    group, label, outcome = (x.ravel() for x in np.indices(counts.shape))
    before = np.where(np.isin(outcome, (0, 2)), label, 1 - label)
    after = np.where(np.isin(outcome, (1, 2)), label, 1 - label)
    rows = counts.ravel()
    names = tuple(f"{size:,}" for size in SIZES)
    table = {"g": EncodedTable(names, group)}
    return Cells(table, label, {"a": before, "b": after}, rows, rows, rows, ("0", "1"), "1")


def decide(cells: Cells, lost: np.ndarray) -> Decision:
    """Return the decision of an audit by group, in accuracy, TPR and FPR at two points."""
    evidence = GroupEstimator(cells)
    (comparison,) = CompressionComparison(evidence, cells, (BY,), "a", RULES).compare(["b"])
    enough = RULES.min_rows["accuracy"] <= SIZES
    pooled = SIZES[~enough] @ lost[~enough] / SIZES[~enough].sum()
    grouping = cells.grouping(BY)
    tests = {}
    for metric in METRICS:
        change = evidence.change("b", "a", metric, grouping)
        loss = change if metric == "fpr" else -change
        tests[BY, metric] = run_tests(loss, evidence.flip_share("b", "a", metric, grouping), DELTA)
    verdicts = np.concatenate([x.verdict for x in judge(tests).values()])
    return Decision(
        comparison,
        max(float(lost[enough].max()), float(pooled)),
        float(lost.max()),
        overall_verdict(verdicts) == "no_harm",
    )


def decisions(rng: Rng, size: int) -> Iterator[Found]:
    """Artifacts that change nothing, and artifacts that harm one group: cleared, X below the truth, Y above it."""
    worlds = [
        (np.zeros(8), "nothing truly changes"),
        (np.where(SIZES == 500, 0.04, 0.0), "a group of 500 loses 4 points"),
        (np.where(SIZES == 200, 0.08, 0.0), "a group of 200, pooled with 300, loses 8 points"),
        (np.full(8, DELTA), "every group loses 2 points"),
    ]
    for lost, world in worlds:
        for flips, least in ((0.01, 0.9), (0.03, 0.5)):
            seen = [decide(sample(rng, lost, flips), lost) for _ in range(size)]
            setting = f"{world}, {flips:.0%} flip"
            cleared = [d.comparison.verdict == "no_harm" for d in seen]
            harmless = not lost.any()
            if harmless:
                yield found("Power: `no_harm` of an artifact", setting, cleared, least)
            else:
                yield found("False `no_harm` of an artifact", setting, cleared, 0.01, at_least=False)
            old = [d.all_metrics for d in seen]
            yield found("… where all metrics decide in every group (for comparison), `no_harm`", setting, old)
            bounds = [d.comparison.bounds[0] for d in seen]
            upper = np.array([b.upper for b in bounds], float)
            lower = np.array([np.nan if b.lower is None else b.lower for b in bounds], float)
            truth = np.array([d.worst_judged for d in seen])
            width = float(np.median(upper))
            yield found("X below the truth", setting, upper < truth, 0.05, at_least=False, width=width)
            above = lower > np.array([d.worst for d in seen])
            yield found("Y above the truth", setting, above, 0.05, at_least=False)
