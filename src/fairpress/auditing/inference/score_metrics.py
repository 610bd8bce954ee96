"""Metrics of scores and their changes: AUC, log loss, calibration error, generalized rates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.cells.grouping import Grouping
from fairpress.auditing.inference.denominators import denominator_sizes
from fairpress.auditing.inference.group_estimator import GroupEstimator, Moments, per_group
from fairpress.auditing.inference.score_counts import SIDES, ScoreCounts
from fairpress.auditing.inference.seed_estimator import SeedGroupEstimator
from fairpress.auditing.metrics import calibration_error
from fairpress.auditing.metrics.roc_auc import placements, tied_within_bins
from fairpress.auditing.statistics.auc_interval import (
    FEW_MISRANKED,
    auc_change_interval,
    auc_interval,
    effective_rows,
)
from fairpress.auditing.statistics.rare_changes import ENOUGH, UNSEEN
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate
from fairpress.core.attribute import Attribute
from fairpress.core.estimate import Estimate

SCORE_METRICS = ("auc", "log_loss", "calibration_error", "generalized_fpr", "generalized_fnr")
MEANS = ("log_loss", "generalized_fpr", "generalized_fnr")
MAX_TIED_SHARE = 0.005
ROUNDING = 1e-7
"""A smaller standard error of an AUC is that of a perfect ranking, whose weights are summed with rounding errors."""
LIMITS = {"log_loss": (0.0, np.inf), "generalized_fpr": (0.0, 1.0), "generalized_fnr": (0.0, 1.0)}
UNDEFINED_BECAUSE = {
    "auc": "fewer than two positives or two negatives in this group",
    "log_loss": "fewer than two rows in this group",
    "calibration_error": "fewer than two rows (people) in this group",
    "generalized_fpr": "fewer than two negatives in this group",
    "generalized_fnr": "fewer than two positives in this group",
}


@dataclass(frozen=True)
class ScorePair:
    """The scores of a baseline and a compressed model (or one model twice), with their estimators.

    `evidence` infers from what depends on the ranks of both models, `ranked` on those of one, `summed` from means. One model
    twice is not `paired`, and only its `rates` of side 0 are defined.
    """

    lines: ScoreCounts
    evidence: GroupEstimator
    ranked: tuple[GroupEstimator, GroupEstimator]
    summed: GroupEstimator
    like: Cells
    paired: bool = True
    _areas: dict[tuple[Attribute, float], tuple[tuple[TEstimate, ...], list[Estimate]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _calibrations: dict[tuple[Attribute, float], list[tuple[Estimate, ...]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def build(cls, lines: ScoreCounts, like: Cells, source_name: str, paired: bool = True) -> ScorePair:
        """Return the pair, with seeds or people as random units if the cells have these keys."""

        def estimator(cells: Cells) -> GroupEstimator:
            return SeedGroupEstimator(cells, source_name) if "seed" in cells.keys else GroupEstimator(cells)

        evidence, before, after = (estimator(x.cells) for x in (lines, *lines.ranks))
        return cls(lines, evidence, (before, after), estimator(lines.sums.cells), like, paired)

    def rates(self, side: int, attribute: Attribute, confidence: float) -> dict[str, list[Estimate]]:
        """Return every score metric of one model, 0 the baseline and 1 the compressed one, per group of an attribute."""
        sums = self._grouping(self.lines.sums.cells, attribute)
        out = {}
        for name in MEANS:
            x = self.summed.mean(self._moments(SIDES[side], name), sums, 0.0, LIMITS[name])
            out[name] = _estimates(x, confidence, UNDEFINED_BECAUSE[name])
        out["auc"] = self._auc(side, attribute, confidence)
        out["calibration_error"] = [x[side] for x in self._calibration(attribute, confidence)]
        return {name: out[name] for name in SCORE_METRICS}

    def changes(self, attribute: Attribute, confidence: float) -> dict[str, list[Estimate]]:
        """Return compressed − baseline of every score metric, per group."""
        sums = self._grouping(self.lines.sums.cells, attribute)
        out = {}
        for name in MEANS:
            x = self._moments("change", name)
            change = self.summed.mean(x, sums, _rms_change(self.summed, x, sums), (-np.inf, np.inf))
            out[name] = _estimates(change, confidence, UNDEFINED_BECAUSE[name])
        out["auc"] = self._areas_of(attribute, confidence)[1]
        out["calibration_error"] = [x[2] for x in self._calibration(attribute, confidence)]
        return {name: out[name] for name in SCORE_METRICS}

    def _grouping(self, cells: Cells, attribute: Attribute) -> Grouping:
        """Return the audited groups of an attribute, and those of each combination of `cells`."""
        return cells.grouping_as(self.like, attribute)

    @staticmethod
    def _positive_of(cells: Cells) -> np.ndarray:
        return np.asarray(cells.binary(cells.label) == 1)

    def _moments(self, side: str, name: str) -> Moments:
        """Return the moments of the value whose mean is the metric; NaN outside its denominator."""
        cells, moments = self.lines.sums.cells, self.lines.sums.moments
        yes = self._positive_of(cells)
        if name == "log_loss":
            log, rest = (moments[side, v] for v in ("log", "log_rest"))
            a = [np.where(yes, p, q) for p, q in zip(log, rest, strict=True)]
            return Moments(-a[0], -a[1], a[2])
        x = moments[side, "score"]
        if name == "generalized_fpr":
            return Moments(*(np.where(yes, np.nan, v) for v in x))
        flipped = (-x.first, -x.crossed, x.second)  # of 1 − s, whose change is −Δs
        if side != "change":
            w, ww = cells.weight, cells.weight_squares
            flipped = (w - x.first, ww - x.crossed, ww - 2 * x.crossed + x.second)
        return Moments(*(np.where(yes, v, np.nan) for v in flipped))

    def _placements(self, side: int, attribute: Attribute) -> Floats:
        ranks, seeds = self.lines.ranks[side], round(self.evidence.repeats)
        grouping = self._grouping(ranks.cells, attribute)
        cells, index = ranks.cells, grouping.index
        stratum = index if seeds == 1 else index * seeds + cells.keys["seed"]
        return placements(
            ranks.bins,
            self._positive_of(cells),
            cells.weight,
            cells.rows,
            stratum,
            grouping.size * seeds,
        )

    def _area(self, side: int, attribute: Attribute, placed: Floats) -> TEstimate:
        grouping = self._grouping(self.lines.ranks[side].cells, attribute)
        moments = self.ranked[side].moments(placed)
        return self.ranked[side].mean(moments, grouping, 0.0, (0.0, 1.0), "delong")

    def _area_limits(
        self, x: TEstimate, side: int, attribute: Attribute, confidence: float
    ) -> tuple[Floats, Floats, tuple[Floats, Floats]]:
        """Return the AUCs without rounding errors, the effective number of rows of each, and its limits."""
        evidence = self.ranked[side]
        grouping = self._grouping(evidence.cells, attribute)
        sizes = [denominator_sizes(evidence, rate, grouping) for rate in ("tpr", "fpr")]
        ranked = x.se > ROUNDING
        area = np.where(ranked, x.value, np.round(x.value, 7))
        smaller = np.minimum(*sizes)
        rows = effective_rows(area, np.where(ranked, x.se, 0.0), smaller, np.maximum(*sizes))
        return area, rows, auc_interval(area, rows, smaller, confidence)

    def _areas_of(
        self, attribute: Attribute, confidence: float
    ) -> tuple[tuple[TEstimate, ...], list[Estimate]]:
        """Return the AUCs of both models and the estimates of their change, per group; computed once per attribute."""
        key = (attribute, confidence)
        if key not in self._areas:
            sides = (0, 1) if self.paired else (0,)
            placed = [self._placements(side, attribute) for side in sides]
            areas = tuple(self._area(side, attribute, z) for side, z in zip(sides, placed, strict=True))
            change = self._auc_change(placed, areas, attribute, confidence) if self.paired else []
            self._areas[key] = (areas, change)
        return self._areas[key]

    def _auc(self, side: int, attribute: Attribute, confidence: float) -> list[Estimate]:
        x = self._areas_of(attribute, confidence)[0][side]
        _, _, (low, high) = self._area_limits(x, side, attribute, confidence)
        method = "delong-wilson"
        if self.evidence.dependent:
            least, most = x.interval(confidence)
            low, high, method = np.fmin(low, least), np.fmax(high, most), x.method
        return self._without_tied_ranks(_estimates_within(x, low, high, method), (side,), attribute)

    def _auc_change(
        self, placed: Sequence[Floats], areas: Sequence[TEstimate], attribute: Attribute, confidence: float
    ) -> list[Estimate]:
        before, after = (z[ranks.index] for z, ranks in zip(placed, self.lines.ranks, strict=True))
        x, grouping = self.evidence.moments(after - before), self._grouping(self.lines.cells, attribute)
        negatives, positives = (denominator_sizes(self.evidence, rate, grouping) for rate in ("fpr", "tpr"))
        reach = _reach_of_unseen(self.evidence, x, grouping, (negatives, positives))
        change = self.evidence.mean(x, grouping, reach, (-1.0, 1.0), "delong")
        low, high = change.interval(confidence)
        if not self.evidence.dependent:
            noise = self.evidence.mean(x, grouping, 0.0, (-1.0, 1.0), "delong").se
            few, (least, most) = self._limits_of_both(areas, noise, attribute, confidence)
            low, high = np.where(few, np.fmin(low, least), low), np.where(few, np.fmax(high, most), high)
        estimates = _estimates_within(change, low, high, change.method)
        return self._without_tied_ranks(estimates, (0, 1), attribute)

    def _limits_of_both(
        self, areas: Sequence[TEstimate], change_se: Floats, attribute: Attribute, confidence: float
    ) -> tuple[np.ndarray, tuple[Floats, Floats]]:
        """Return where few rows are misranked, and the interval of the change of AUC by the limits of both models."""
        (first, rows, limits), (second, other_rows, other_limits) = (
            self._area_limits(x, side, attribute, confidence) for side, x in enumerate(areas)
        )
        misranked = np.minimum(*(np.minimum(a, 1 - a) * n for a, n in ((first, rows), (second, other_rows))))
        correlation = _correlation(areas, change_se)
        combined = auc_change_interval((first, second), (limits, other_limits), correlation)
        return misranked < FEW_MISRANKED, combined

    def _without_tied_ranks(
        self, estimates: list[Estimate], sides: tuple[int, ...], attribute: Attribute
    ) -> list[Estimate]:
        """Remove estimates of groups whose scores occupy too few bins for reliable ranks."""
        if self.lines.exact:
            return estimates
        shares = []
        for ranks in (self.lines.ranks[side] for side in sides):
            grouping = self._grouping(ranks.cells, attribute)
            positive = self._positive_of(ranks.cells)
            shares.append(
                tied_within_bins(ranks.bins, positive, ranks.cells.weight, grouping.index, grouping.size)
            )
        tied_share = np.max(shares, axis=0)
        reason = "the scores occupy too few of the bins that are used for large tables"
        return [
            Estimate.not_estimable(reason, e.n) if e.estimable and o > MAX_TIED_SHARE else e
            for e, o in zip(estimates, tied_share, strict=True)
        ]

    def _calibration(self, attribute: Attribute, confidence: float) -> list[tuple[Estimate, ...]]:
        """Return the calibration errors of both models and their change, per group; computed once per attribute."""
        key = (attribute, confidence)
        if key not in self._calibrations:
            self._calibrations[key] = list(
                self._calibrated(self._grouping(self.lines.sums.cells, attribute), confidence)
            )
        return self._calibrations[key]

    def _calibrated(self, grouping: Grouping, confidence: float) -> Iterator[tuple[Estimate, ...]]:
        sums = self.lines.sums
        cells, positive = sums.cells, self._positive_of(sums.cells)
        if self.evidence.dependent:
            reason = "calibration is not estimated over several seeds; audit the table of one seed"
            for n in per_group(cells.weight, grouping.index, grouping.size):
                yield (Estimate.not_estimable(reason, float(n)),) * 3
            return
        before, after = (sums.moments[side, "score"] for side in SIDES[:2])
        order = np.argsort(grouping.index, kind="stable")
        for members in np.split(order, np.cumsum(np.bincount(grouping.index, minlength=grouping.size))[:-1]):
            n = float(cells.weight[members].sum())
            people = cells.keys.get("subject")
            rows = float(cells.rows[members].sum()) if people is None else len(np.unique(people[members]))
            if rows < 2:
                yield (Estimate.not_estimable(UNDEFINED_BECAUSE["calibration_error"], n),) * 3
                continue
            d = calibration_error.deviations(
                (sums.scores["baseline"][members], sums.scores["compressed"][members]),
                (before.crossed[members], after.crossed[members]),
                (before.second[members], after.second[members], sums.product[members]),
                positive[members],
                cells.weight[members],
                cells.weight_squares[members],
                None if people is None else people[members],
            )
            drawn = calibration_error.noise(d, calibration_error.standard_draws())
            yield tuple(
                Estimate(*x, n, "least-favourable")
                for x in calibration_error.calibration(d, drawn, 1 - confidence)
            )


def _correlation(areas: Sequence[TEstimate], change_se: Floats) -> Floats:
    """Return DeLong's correlation of two AUCs, from 0 to 1; 0 where one of them has no variance."""
    first, second = (np.where(a.se > ROUNDING, a.se, np.nan) for a in areas)
    with np.errstate(invalid="ignore"):
        r = (first**2 + second**2 - change_se**2) / (2 * first * second)
    return np.asarray(np.clip(np.nan_to_num(r), 0.0, 1.0))


def _rms_change(evidence: GroupEstimator, x: Moments, grouping: Grouping, otherwise: float = 1.0) -> Floats:
    """Return the root mean square of a change in each group: a pseudo-row of that size; else where nothing changed."""
    inside = ~np.isnan(x.first)
    squares, ww = (
        per_group(v[inside], grouping.index[inside], grouping.size)
        for v in (x.second, evidence.cells.weight_squares)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        usual = np.sqrt(np.maximum(squares, 0) / ww)
    return np.where(usual > 0, usual, otherwise)


def _reach_of_unseen(
    evidence: GroupEstimator, x: Moments, grouping: Grouping, effective: tuple[Floats, Floats]
) -> Floats:
    """Return how far two pseudo-rows lie from the mean change, so that they stand for changes that no row shows [groups].

    m rows (people) of equal change d have (Σd²)²/Σd⁴ = m, and Σd⁴/Σd² = d². With fewer than `ENOUGH`, the two pseudo-rows
    are worth up to `UNSEEN` of them (`rare_changes`), and never less than two rows of the root mean square. Where no row
    changed, each is a row of the smaller class that lost everything. Unseen rows have the typical weight of their class.

    Parameters
    ----------
    effective
        Effective rows of the negatives and of the positives [groups].
    """
    cells, groups = evidence.cells, grouping.size
    inside = ~np.isnan(x.first) & (cells.weight > 0)
    side = 2 * grouping.index[inside] + (cells.binary(cells.label)[inside] == 1)  # the class in the group
    total = per_group(cells.weight[inside], side, 2 * groups) / evidence.repeats
    pseudo_row = _weight_of_pseudo_row(evidence, grouping)
    with np.errstate(divide="ignore", invalid="ignore"):
        worth = total / np.stack(effective, axis=1).reshape(-1) / np.repeat(pseudo_row, 2)
        square, rows, group = _squared_changes(evidence, x, inside, side, worth)
        squares, fourths = (per_group(rows * square**power, group, groups) for power in (1, 2))
        one = fourths / squares
        unseen = UNSEEN / 2 * np.maximum(0.0, 1 - squares / one / ENOUGH) * one
        usual = np.fmax(_rms_change(evidence, x, grouping, otherwise=0.0), np.sqrt(unseen))
        lost = total.reshape(groups, 2).sum(axis=1) / np.minimum(*effective) / pseudo_row
    return np.where(usual > ROUNDING, usual, np.where(lost > 0, lost, 1.0))


def _squared_changes(
    evidence: GroupEstimator, x: Moments, inside: np.ndarray, side: np.ndarray, worth: Floats
) -> tuple[Floats, Floats, np.ndarray]:
    """Return squares of the changes of rows (people) in units of pseudo-rows, how many rows have each, and their groups.

    A row has one change over all seeds, its mean, as a pseudo-row has the same under every seed. `side` is the group and the
    class of each combination that is `inside`, `worth` the weight of a row of each [groups · 2] over that of a pseudo-row.
    """
    keys = evidence.cells.keys
    first, second, weight, ww, rows = (
        v[inside]
        for v in (
            x.first,
            x.second,
            evidence.cells.weight,
            evidence.cells.weight_squares,
            evidence.cells.rows,
        )
    )
    unit = keys.get("subject", keys.get("row"))
    if unit is None:
        return second / ww * worth[side] ** 2, rows, side // 2
    entry, entry_index = np.unique(unit[inside] * len(worth) + side, return_inverse=True)
    total, size = (per_group(v, entry_index, len(entry)) for v in (first, weight))
    member, member_index = np.unique(
        entry // 2, return_inverse=True
    )  # a person may have rows of both classes
    change = per_group(total / size * worth[entry % len(worth)], member_index, len(member))
    return change**2, np.ones(len(member)), member % (len(worth) // 2)


def _weight_of_pseudo_row(evidence: GroupEstimator, grouping: Grouping) -> Floats:
    """Return the weight of a pseudo-row (person) of `evidence.mean` in one run [groups]: Σw²/Σw; over seeds, the mean."""
    cells, lines, groups = evidence.cells, evidence.one_run, grouping.size
    w, index = cells.weight[lines], grouping.index[lines]
    units = denominator_sizes(evidence, "accuracy", grouping)
    if evidence.dependent:
        person = cells.keys.get("subject", cells.keys["row"])[lines]
        entry = np.unique((person * groups + index)[w > 0])
        units = per_group(np.ones(len(entry)), entry % groups, groups)
    with np.errstate(divide="ignore", invalid="ignore"):
        return per_group(w, index, groups) / units


def _estimates(x: TEstimate, confidence: float, why: str) -> list[Estimate]:
    low, high = x.interval(confidence)
    return _estimates_within(x, low, high, x.method, why)


def _estimates_within(
    x: TEstimate, low: Floats, high: Floats, method: str, why: str = UNDEFINED_BECAUSE["auc"]
) -> list[Estimate]:
    return [
        Estimate(float(v), float(np.fmin(a, v)), float(np.fmax(b, v)), float(n), method)
        if ok
        else Estimate.not_estimable(why, float(np.nan_to_num(n)))
        for v, a, b, n, ok in zip(x.value, low, high, x.n, x.estimable, strict=True)
    ]
