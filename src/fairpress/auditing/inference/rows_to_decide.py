"""What would settle the verdicts that are open: more rows of a group or more training seeds."""

from __future__ import annotations

import numpy as np

from fairpress.auditing.cells.grouping import Grouping
from fairpress.auditing.inference.group_estimator import GroupEstimator
from fairpress.auditing.inference.seed_estimator import SeedGroupEstimator
from fairpress.auditing.result import RowsToDecide
from fairpress.auditing.verdicts.assurance import CAP, VerdictRule, decide_with, effective_counts
from fairpress.auditing.verdicts.rules import Tested, Verdicts
from fairpress.auditing.verdicts.seed_assurance import SeedVerdictRule, decide_with_seeds

MIN_ROWS = 30
"""An extrapolation from fewer people is not useful advice."""
OPEN = ("inconclusive", "not_estimable")


def rows_to_decide(
    evidence: GroupEstimator,
    query: tuple[str, str, str, Grouping],
    tested: Tested,
    judged: Verdicts,
    confidence: float,
    min_rows: int,
    tests: int,
) -> list[RowsToDecide | None]:
    """Return for each group what more rows, on top of the present ones, or more seeds would do; None where it is decided.

    Parameters
    ----------
    query
        Compressed model, baseline, metric, grouping.
    tested, judged
        The losses of this metric, with an absolute margin, and their verdicts [groups].
    tests
        Number of tests that are corrected together.
    """
    grouping = query[3]
    rows = evidence.flips(query[0], query[1], grouping)["n"]
    undecided = np.isin(judged.verdict, OPEN) & (rows >= MIN_ROWS) & (tested.loss.n > 0)
    if not undecided.any():
        return [None] * grouping.size
    margin, level = float(tested.margin[0]), (1 - confidence) / tests
    with np.errstate(divide="ignore", invalid="ignore"):
        per_row = np.nan_to_num(tested.loss.effective_n / rows)
    if isinstance(evidence, SeedGroupEstimator):
        if not evidence.plain:
            return [None] * grouping.size
        over_seeds = decide_with_seeds(
            evidence.loss_sums(*query),
            SeedVerdictRule(margin, confidence, level, level, min_rows),
            undecided=undecided,
            per_row=per_row,
        )
        return [
            None
            if x is None
            else RowsToDecide(
                x.both[0] if x.both is not None else x.more_rows,
                x.decided,
                x.no_harm,
                x.loss,
                CAP,
                x.both[1] if x.both is not None else x.more_seeds,
            )
            for x in over_seeds
        ]
    answers = decide_with(
        *effective_counts(tested.loss, tested.flip_share),
        VerdictRule(margin, confidence, level, level, tested.loss.df, min_rows),
        scale=margin,
        undecided=undecided,
        per_row=per_row,
    )
    return [
        None if x is None else RowsToDecide(x.more_rows, x.decided, x.no_harm, x.loss, CAP) for x in answers
    ]
