"""Compression-identified exemplars: rows that populations of compressed and baseline models predict differently.

Hooker, Courville, Clark, Dauphin and Frome, *What do compressed deep neural networks forget?* (arXiv 1911.05248): the modal
class of each population; a row is an exemplar where the modes differ. Two populations of the *same* recipe differ, too
(STATISTICS: 2.4 % at ten models), so the excess over the difference between two halves of the baselines, of equal size, is
reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fairpress.auditing.cells.grouping import Grouping
from fairpress.auditing.inference.group_estimator import GroupEstimator, per_group
from fairpress.auditing.inference.seed_estimator import SeedGroupEstimator
from fairpress.auditing.result import Exemplars, GroupExemplars
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate, t_quantile
from fairpress.core.estimate import Estimate

MIN_MODELS = 10
SPLITS = 50
TIE = -1
VOTES = 2**23
"""Votes that are in memory at once, of two bytes each: one for each class, seed and row of both models."""


def modal_class(predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return the most frequent class of each row over models [models, rows]; −1 where two classes tie."""
    return _modal_of(np.stack([(predicted == c).sum(axis=0) for c in range(classes)]))


def _modal_of(counts: np.ndarray) -> np.ndarray:
    """Return the class with the largest count of each row [classes, rows]; −1 where two tie."""
    winners = counts == counts.max(axis=0)
    modal = np.zeros(counts.shape[1], dtype=np.int16)
    for c in range(1, len(counts)):
        modal += winners[c] * np.int16(c)
    np.putmask(modal, winners.sum(axis=0, dtype=np.int16) > 1, TIE)
    return modal


def differing_rows(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return where two modal classes differ; a tie never counts as a difference."""
    return np.asarray((a != b) & (a != TIE) & (b != TIE))


def exemplars(
    evidence: SeedGroupEstimator,
    baseline: str,
    model: str,
    groupings: Sequence[Grouping],
    confidence: float,
) -> Exemplars:
    """Return the exemplars of each group.

    The excess is a mean over random halvings A, B of the seeds: share of rows in which A's baselines and B's compressed
    models differ, minus the share in which A's and B's baselines do. Its variance is that of rows (or people), plus the
    jackknife's over seeds; Student's t with S − 1 degrees of freedom.
    """
    seeds, half = evidence.seeds, evidence.seeds // 2
    if half < MIN_MODELS:
        reason = (
            f"{seeds} models on each side; comparing two halves of {MIN_MODELS} baselines, as a control for "
            f"retraining, needs {2 * MIN_MODELS} seeds"
        )
        return Exemplars(seeds, half, reason=reason)
    classes = len(evidence.cells.classes)
    base, small = (evidence.by_seed(evidence.cells.predicted[m]) for m in (baseline, model))
    modal_classes = (modal_class(base, classes), modal_class(small, classes))
    rng = np.random.default_rng(0)
    orders = [rng.permutation(seeds) for _ in range(SPLITS)]
    halves = [(o[:half], o[half : 2 * half]) for o in orders]
    expected, excess, without = _excess(base, small, classes, halves)
    single_run = evidence.one_seed()
    out = []
    for grouping in groupings:
        rows = replace(grouping, index=evidence.by_seed(grouping.index)[0])
        out += _by_group(single_run, rows, modal_classes, expected, excess, without, confidence)
    return Exemplars(seeds, half, tuple(out))


def _excess(
    base: np.ndarray, small: np.ndarray, classes: int, halves: Sequence[tuple[np.ndarray, np.ndarray]]
) -> tuple[Floats, Floats, Floats]:
    """Return per row the share expected from retraining, the excess, and the excess without each seed [seeds, rows].

    All are means over the halvings. A seed is left out of the counts of its half, which alone are computed again.
    """
    seeds, rows = base.shape
    mixed = np.flatnonzero(
        (base != base[0]).any(axis=0) | (small != base[0]).any(axis=0)
    )  # others never differ
    means = np.zeros((2 + seeds, rows))
    at_once = max(1, VOTES // (2 * seeds * classes))
    for part in (mixed[start : start + at_once] for start in range(0, mixed.size, at_once)):
        means[:, part] = _excess_of_rows(base[:, part], small[:, part], classes, halves)
    return means[0], means[1], means[2:]


def _excess_of_rows(
    base: np.ndarray, small: np.ndarray, classes: int, halves: Sequence[tuple[np.ndarray, np.ndarray]]
) -> Floats:
    """Return what `_excess` does, one below the other [2 + seeds, rows], with every vote in memory."""
    seeds, rows = base.shape
    codes = np.arange(classes)[:, None, None]
    votes, small_votes = ((x == codes).astype(np.int16) for x in (base, small))
    expected, excess = np.zeros((2, rows), dtype=np.int16)
    without = np.zeros((seeds, rows), dtype=np.int16)
    for a, b in halves:
        counts = votes[:, a].sum(axis=1, dtype=np.int16)
        other_counts, small_counts = (v[:, b].sum(axis=1, dtype=np.int16) for v in (votes, small_votes))
        first, second, third = (_modal_of(x) for x in (counts, other_counts, small_counts))
        retrained = differing_rows(first, second)
        whole = np.subtract(differing_rows(first, third), retrained, dtype=np.int16)
        expected += retrained
        excess += whole
        without += whole  # corrected for the seeds of a half below
        for s in a:
            left = _modal_of(counts - votes[:, s])
            without[s] += (
                np.subtract(differing_rows(left, third), differing_rows(left, second), dtype=np.int16) - whole
            )
        for s in b:
            left, small_left = (
                _modal_of(other_counts - votes[:, s]),
                _modal_of(small_counts - small_votes[:, s]),
            )
            without[s] += (
                np.subtract(differing_rows(first, small_left), differing_rows(first, left), dtype=np.int16)
                - whole
            )
    return np.vstack([expected, excess, without]) / len(halves)


def _by_group(
    single_run: GroupEstimator,
    grouping: Grouping,
    modal_classes: tuple[np.ndarray, np.ndarray],
    expected: Floats,
    excess: Floats,
    without: Floats,
    confidence: float,
) -> list[GroupExemplars]:
    w = single_run.cells.weight
    n = per_group(w, grouping.index, grouping.size)

    def share(x: np.ndarray) -> Floats:
        return per_group(w * x, grouping.index, grouping.size) / n

    means = single_run.mean(single_run.moments(excess), grouping, reach=1.0)
    jackknife = np.stack([share(x) for x in without])
    s = len(without)
    seeds = (s - 1) / s * ((jackknife - jackknife.mean(axis=0)) ** 2).sum(axis=0)
    se, df = np.sqrt(means.se**2 + seeds), np.minimum(means.df, s - 1.0)
    reach = t_quantile(df, (1 + confidence) / 2) * se
    ties = share((modal_classes[0] == TIE) | (modal_classes[1] == TIE))
    shares, noise = (
        single_run.mean(single_run.moments(np.asarray(x, dtype=float)), grouping, 1.0, (0.0, 1.0))
        for x in (differing_rows(*modal_classes), expected)
    )
    return [
        GroupExemplars(
            group,
            float(n[g]),
            _row_estimate(shares, g, confidence),
            float(ties[g]),
            _row_estimate(noise, g, confidence),
            Estimate(
                float(means.value[g]),
                max(-1.0, float(means.value[g] - reach[g])),
                min(1.0, float(means.value[g] + reach[g])),
                float(n[g]),
                "rows-and-jackknife",
            ),
        )
        for g, group in enumerate(grouping.values)
    ]


def _row_estimate(x: TEstimate, g: int, confidence: float) -> Estimate:
    low, high = x.interval(confidence)
    return Estimate(float(x.value[g]), float(low[g]), float(high[g]), float(x.n[g]), "rows")
