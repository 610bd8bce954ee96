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
"""Votes and counts of votes in memory at once: of each class, row and seed of both models, and of each half of theirs."""


def modal_class(predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return the most frequent class of each row over models [models, rows]; −1 where two classes tie."""
    return _modal_of(np.stack([(predicted == c).sum(axis=0) for c in range(classes)]))[0]


def _modal_of(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the class with the largest count [classes, …], −1 where two tie, and by how much it leads the second."""
    modal = np.zeros(counts.shape[1:], dtype=np.int16)
    largest, second = counts[0], np.full_like(counts[0], -1)
    for c in range(1, len(counts)):
        modal[counts[c] > largest] = c
        second = np.maximum(second, np.minimum(largest, counts[c]))
        largest = np.maximum(largest, counts[c])
    modal[largest == second] = TIE
    return modal, largest - second


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
    at_once = max(1, VOTES // ((2 * seeds + 3 * len(halves)) * classes))
    for part in (mixed[start : start + at_once] for start in range(0, mixed.size, at_once)):
        means[:, part] = _excess_of_rows(base[:, part], small[:, part], classes, halves)
    return means[0], means[1], means[2:]


def _excess_of_rows(
    base: np.ndarray, small: np.ndarray, classes: int, halves: Sequence[tuple[np.ndarray, np.ndarray]]
) -> Floats:
    """Return what `_excess` does, one below the other [2 + seeds, rows], with every vote in memory."""
    seeds, rows = base.shape
    codes = np.arange(classes)[:, None, None]
    votes, small_votes = ((x == codes).astype(np.float32) for x in (base, small))
    in_a, in_b = np.zeros((2, len(halves), seeds), dtype=np.float32)
    for k, (a, b) in enumerate(halves):
        in_a[k, a] = in_b[k, b] = 1
    # [classes, halvings, rows]
    counts, other_counts, small_counts = (
        (half @ x).astype(np.int16) for half, x in ((in_a, votes), (in_b, votes), (in_b, small_votes))
    )
    expected, excess = np.zeros((2, rows), dtype=np.int16)
    without = np.zeros((seeds, rows), dtype=np.int16)
    for k, (a, b) in enumerate(halves):
        (first, lead), (second, second_lead), (third, third_lead) = (
            _modal_of(x[:, k]) for x in (counts, other_counts, small_counts)
        )
        retrained = differing_rows(first, second)
        whole = np.subtract(differing_rows(first, third), retrained, dtype=np.int16)
        expected += retrained
        excess += whole
        without += whole  # corrected below where one vote can change a mode: a lead of two holds without it
        near = np.flatnonzero(lead <= 1)
        left = _without_each(counts[:, k], votes, a, near)
        without[np.ix_(a, near)] += (
            np.subtract(differing_rows(left, third[near]), differing_rows(left, second[near]), dtype=np.int16)
            - whole[near]
        )
        near = np.flatnonzero(np.minimum(second_lead, third_lead) <= 1)
        left = _without_each(other_counts[:, k], votes, b, near)
        small_left = _without_each(small_counts[:, k], small_votes, b, near)
        without[np.ix_(b, near)] += (
            np.subtract(
                differing_rows(first[near], small_left), differing_rows(first[near], left), dtype=np.int16
            )
            - whole[near]
        )
    return np.vstack([expected, excess, without]) / len(halves)


def _without_each(counts: np.ndarray, votes: np.ndarray, half: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the modal class of some rows without the vote of each seed of a half [seeds of the half, rows]."""
    return _modal_of(counts[:, None, rows] - votes[:, half[:, None], rows].astype(np.int16))[0]


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
    mixed = np.flatnonzero(without.any(axis=0))
    weights, index = w[mixed], grouping.index[mixed]
    jackknife = np.stack([per_group(weights * x, index, grouping.size) for x in without[:, mixed]]) / n
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
