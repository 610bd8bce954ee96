"""People with several rows, and weighted rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.special import ndtr
from simulated.found import Found, Rng, found

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.inference.group_estimator import GroupEstimator
from fairpress.auditing.statistics.t_estimate import TEstimate
from fairpress.core.attribute import OVERALL

METRICS = ("accuracy", "ppv", "balanced_accuracy")
CHANGES = (-1.3, -1.1)  # how often the baseline and the compressed model err, as probits


def cells(label: np.ndarray, wrong: list[np.ndarray], weight: np.ndarray, **keys: np.ndarray) -> Cells:
    """Return the cells of rows as they are, one combination a row."""
    a, b = (np.where(w, 1 - label, label) for w in wrong)
    scaled = weight / weight.mean()
    return Cells(
        {}, label, {"a": a, "b": b}, np.ones(len(label)), scaled, scaled**2, ("0", "1"), "1", dict(keys)
    )


def change(found_: GroupEstimator, metric: str) -> TEstimate:
    """Return the paired change of everybody."""
    everybody = found_.cells.grouping(OVERALL)
    if metric == "accuracy":
        return found_.change("b", "a", metric, everybody)
    return found_.ratio_change("b", "a", metric, everybody)


def truths() -> dict[str, float]:
    """Return the true changes: errors are as frequent in positives as in negatives, which are as many."""
    right = [1 - float(ndtr(c / np.sqrt(2))) for c in CHANGES]
    return dict.fromkeys(METRICS, right[1] - right[0])


def people_coverage(rng: Rng, size: int) -> Iterator[Found]:
    """Rows of a person are alike: one effect a person, on both models."""
    for people, rows in ((100, 3), (300, 3), (300, 10)):
        hits: dict[str, list[bool]] = {m: [] for m in METRICS}
        naive: list[bool] = []
        widths: dict[str, list[float]] = {m: [] for m in METRICS}
        for _ in range(size):
            who = np.repeat(np.arange(people), rng.integers(1, 2 * rows, people))
            n = len(who)
            label = rng.integers(0, 2, people)[who]
            effect, moves = (rng.standard_normal(people)[who] for _ in range(2))
            wrong = [
                rng.standard_normal(n) < np.sqrt(2) * (c / np.sqrt(2)) + 0.8 * effect + 0.6 * k * moves
                for k, c in zip((0.0, 1.0), CHANGES, strict=True)
            ]
            # The spread of the latent effects, so that the share of errors is known.
            p = [float(ndtr(c / np.sqrt(1 + 0.64 + 0.36 * k))) for k, c in zip((0, 1), CHANGES, strict=True)]
            truth = p[0] - p[1]
            table = cells(label, wrong, np.ones(n), subject=who)
            for m in METRICS:
                low, high = change(GroupEstimator(table), m).interval()
                hits[m].append(bool(low[0] <= truth <= high[0]))
                widths[m].append(float(high[0] - low[0]))
            low, high = change(GroupEstimator(cells(label, wrong, np.ones(n))), "accuracy").interval()
            naive.append(bool(low[0] <= truth <= high[0]))
        setting = f"{people} people, {rows} rows each on average"
        for m in METRICS:
            name = f"Change over people with several rows: {m.replace('_', ' ')}"
            yield found(name, setting, hits[m], 0.93, width=float(np.mean(widths[m])))
        yield found(
            "Change over people with several rows: accuracy, as if rows were independent (for comparison)",
            setting,
            naive,
        )


def weight_coverage(rng: Rng, size: int) -> Iterator[Found]:
    """Rows with weights from 0.2 to 5; the truth is that of the weighted population."""
    for n in (200, 1000):
        hits: dict[str, list[bool]] = {m: [] for m in METRICS}
        widths: dict[str, list[float]] = {m: [] for m in METRICS}
        for _ in range(size):
            weight = rng.choice([0.2, 1.0, 5.0], n)
            label = rng.integers(0, 2, n)
            easy = rng.standard_normal(n)
            wrong = [rng.standard_normal(n) < c + easy for c in CHANGES]
            truth = truths()["accuracy"]
            table = cells(label, wrong, weight)
            for m in METRICS:
                low, high = change(GroupEstimator(table), m).interval()
                hits[m].append(bool(low[0] <= truth <= high[0]))
                widths[m].append(float(high[0] - low[0]))
        for m in METRICS:
            name = f"Change over weighted rows: {m.replace('_', ' ')}"
            yield found(
                name, f"n = {n:,}, weights 0.2, 1 and 5", hits[m], 0.93, width=float(np.mean(widths[m]))
            )
