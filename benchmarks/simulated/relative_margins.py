"""Margins relative to the baseline's own error: verdicts where the truth is exactly the margin, and their power."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from simulated.found import Found, Rng, found

from fairpress.auditing.cells.cells import Cells, EncodedTable
from fairpress.auditing.inference.group_estimator import GroupEstimator
from fairpress.auditing.inference.relative_margins import with_relative_margin
from fairpress.auditing.verdicts.rules import Tested, run_tests
from fairpress.core.attribute import Attribute

ROWS = (400, 1000, 4000)
ERRORS = (0.1, 0.2, 0.4)
SHARES = (0.05, 0.1, 0.2)
REPAIRED = (0.0, 0.01, 0.05)
LEVEL = 0.05
HOLM = 14


def samples(rng: Rng, size: int, n: int, error: float, loss: float, repaired: float) -> Cells:
    """Return `size` samples of n positives each, as the groups of one attribute.

    `error` is the baseline's false negative rate; `repaired` of the rows are right after compression only, `loss + repaired`
    before it only.
    """
    shares = [error - repaired, repaired, loss + repaired, 1 - error - loss - repaired]
    rows = rng.multinomial(n, shares, size=size).astype(float).ravel()
    groups = EncodedTable(tuple(f"{i:07d}" for i in range(size)), np.repeat(np.arange(size), 4))
    predicted = {"before": np.tile([0, 0, 1, 1], size), "after": np.tile([0, 1, 0, 1], size)}
    positives = np.ones(4 * size, int)
    return Cells({"sample": groups}, positives, predicted, rows, rows, rows, ("no", "yes"), "yes")


def judged(cells: Cells, share: float) -> Tested:
    """Return what judges the loss of each sample at a share of the baseline's false negative rate."""
    evidence, grouping = GroupEstimator(cells), cells.grouping(Attribute(("sample",)))
    query = ("after", "before", "tpr", grouping)
    loss, flips = -evidence.change(*query), evidence.flip_share(*query)
    absolute = run_tests(loss, flips, 0.02, 1 - LEVEL, np.ones(len(flips), bool))
    return with_relative_margin(absolute, evidence, query, share, 1 - LEVEL)


def relative_margin(rng: Rng, size: int) -> Iterator[Found]:
    """One group whose true loss is exactly a share of the baseline's error, or none; flips in one direction and in both."""
    for share in SHARES:
        for error in ERRORS:
            for n in ROWS:
                for repaired in REPAIRED:
                    x = judged(samples(rng, size, n, error, share * error, repaired), share)
                    setting = f"n = {n:,}, baseline errs in {error:.0%}, margin {share:.0%} of it, {repaired:.0%} repaired"
                    yield found(
                        "`no_harm` at a loss of exactly a relative margin", setting, x.cleared, LEVEL, False
                    )
                    for level, name in ((LEVEL, ".05"), (LEVEL / HOLM, f".05/{HOLM}")):
                        yield found(
                            f"`harm` at a loss of exactly a relative margin, level {name}",
                            setting,
                            x.p_harm < level,
                            level,
                            False,
                        )
    for share, error, n in ((0.1, 0.2, 400), (0.2, 0.1, 400), (0.05, 0.4, 400), (0.1, 0.1, 1100)):
        x = judged(samples(rng, size, n, error, 0.0, 0.005), share)
        setting = f"no loss, 1 % flip, n = {n:,}, baseline errs in {error:.0%}, margin {share:.0%} of it"
        yield found("Power of `no_harm` at a relative margin", setting, x.cleared, 0.8)
