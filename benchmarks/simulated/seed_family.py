"""Whole audits over seeds of a null: both models are runs of one recipe, so that no group loses on average over seeds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from simulated.found import DELTA, Found, Rng, found

from fairpress.auditing.cells.cells import Cells, EncodedTable
from fairpress.auditing.inference.seed_estimator import SeedGroupEstimator
from fairpress.auditing.verdicts.rules import judge, judge_excess, run_tests
from fairpress.core.attribute import OVERALL, Attribute

METRICS = ("accuracy", "tpr", "fpr")
SHARES = (0.55, 0.25, 0.12, 0.08)
ALPHA = 0.05


def null_runs(rng: Rng, seeds: int, rows: int, threshold_sd: float, row_sd: float) -> Cells:
    """Return stacked runs of two models of one recipe: a score per row, a threshold per network, noise per prediction.

    14 groups: two sexes, four races, and their intersections.
    """
    sex, race = rng.integers(0, 2, rows), rng.choice(4, rows, p=SHARES)
    label = (rng.random(rows) < 0.4).astype(int)
    score = 1.5 * label - 0.75 + row_sd * rng.standard_normal(rows)
    predicted = {}
    for name in ("a", "b"):
        threshold = threshold_sd * rng.standard_normal((seeds, 1))
        predicted[name] = (score + rng.standard_normal((seeds, rows)) > threshold).astype(int).reshape(-1)
    one = np.ones(seeds * rows)
    return Cells(
        {
            "sex": EncodedTable(("f", "m"), np.tile(sex, seeds)),
            "race": EncodedTable(("p", "q", "r", "s"), np.tile(race, seeds)),
        },
        np.tile(label, seeds),
        predicted,
        one,
        one,
        one,
        ("0", "1"),
        "1",
        {"seed": np.repeat(np.arange(seeds), rows), "row": np.tile(np.arange(rows), seeds)},
    )


def false_findings(cells: Cells, by: tuple[str, ...]) -> tuple[bool, bool, bool]:
    """Return whether an audit of `b` against `a` reports a loss or harm, a harm, and a disparity, as `comparison` does."""
    evidence = SeedGroupEstimator(cells, "simulated")
    losses, excess, moved = {}, {}, {}
    for attribute in (OVERALL, *map(Attribute.from_text, by)):
        grouping = cells.grouping(attribute)
        for metric in METRICS:
            query = ("b", "a", metric, grouping)
            change = evidence.change(*query)
            losses[attribute, metric] = change if metric == "fpr" else -change
            moved[attribute, metric] = evidence.flip_share(*query)
            if attribute != OVERALL:
                excess[attribute, metric] = evidence.excess(*query)
    verdicts = np.concatenate(
        [
            v.verdict
            for v in judge(
                {k: run_tests(x, moved[k], DELTA, 1 - ALPHA) for k, x in losses.items()}, 1 - ALPHA
            ).values()
        ]
    )
    disparate, _ = judge_excess(excess, 1 - ALPHA)
    return bool(np.isin(verdicts, ("loss", "harm")).any()), bool((verdicts == "harm").any()), bool(disparate)


def seed_families(rng: Rng, size: int) -> Iterator[Found]:
    """Family-wise errors over 14 groups × 3 metrics, where recipes do not differ and networks do."""
    for threshold_sd, row_sd in ((0.2, 1.0), (0.0, 2.0)):
        for seeds in (2, 3, 5, 6, 10):
            seen = [
                false_findings(null_runs(rng, seeds, 2000, threshold_sd, row_sd), ("sex", "race", "sex*race"))
                for _ in range(size)
            ]
            setting = f"{seeds} seeds × 2,000 rows, threshold sd {threshold_sd:g}, row sd {row_sd:g}"
            for what, hits in zip(
                ("`loss` or `harm`", "`harm`", "`disparate`"), zip(*seen, strict=True), strict=True
            ):
                yield found(f"False {what} of an audit over seeds", setting, hits, ALPHA, at_least=False)
