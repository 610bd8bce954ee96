"""The recall of every class by group: which classes are judged, what is ruled out and shown, and the rates behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.cells.grouping import Grouping
from fairpress.auditing.class_recall import RARE_CLASSES, RECALL, class_metric, class_of, rare_classes
from fairpress.auditing.class_result import (
    BeforeAfter,
    ClassBound,
    ClassComparison,
    ClassRates,
    Confused,
    GroupClasses,
)
from fairpress.auditing.inference.denominators import denominator_sizes
from fairpress.auditing.inference.flip_strata import Key
from fairpress.auditing.inference.group_estimator import GroupEstimator, per_group
from fairpress.auditing.inference.to_estimates import to_estimates
from fairpress.auditing.judging import JudgedFamily, JudgingRules
from fairpress.auditing.result import Margin
from fairpress.auditing.statistics.largest_loss import bonferroni_lower_bounds
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate
from fairpress.core.attribute import OVERALL, Attribute
from fairpress.core.estimate import Estimate

_ABSENT = "no rows of this class in this group"
_UNPREDICTED = "this class is not predicted in this group"


def with_classes(
    rules: JudgingRules, evidence: GroupEstimator, margin: Margin, min_rows: int
) -> tuple[JudgingRules, tuple[str, ...]]:
    """Return rules that also judge the recall of every class, and the classes that are rare (`class_recall.rare_classes`).

    Labels decide both, before any prediction is looked at.
    """
    cells = evidence.cells
    everybody = cells.grouping(OVERALL)
    sizes = np.array(
        [float(denominator_sizes(evidence, class_metric(c), everybody)[0]) for c in cells.classes]
    )
    rare = rare_classes(sizes, cells.classes, min_rows)
    judged = [class_metric(c) for c, n in zip(cells.classes, sizes, strict=True) if n > 0]
    metrics = (*judged, *([RARE_CLASSES] if rare else []))
    return (
        replace(
            rules,
            classes=metrics,
            margins={**rules.margins, **dict.fromkeys((RECALL, *metrics), margin)},
            min_rows={**rules.min_rows, **dict.fromkeys((RECALL, *metrics), min_rows)},
        ),
        rare,
    )


def class_comparison(
    evidence: GroupEstimator,
    baseline: str,
    name: str,
    by: Sequence[Attribute],
    rules: JudgingRules,
    family: JudgedFamily,
) -> ClassComparison:
    """Return what is known of every class under one compressed model."""
    cells = evidence.cells
    keys: list[Key] = [(name, a, m) for a in (OVERALL, *by) for m in rules.classes]
    single = [key for key in keys if key[1] != OVERALL and key[2] != RARE_CLASSES]
    estimable = np.concatenate([family.tested[key].loss.estimable for key in single])
    assessed = np.concatenate([family.tested[key].assessed for key in single]) & estimable
    verdicts = np.concatenate([family.judged[key].verdict for key in single])
    rates = _ClassRates(evidence, baseline, name, rules.confidence)
    return ClassComparison(
        tuple(c for m in rules.classes if (c := class_of(m)) is not None),
        cells.rare_classes,
        _upper(family, keys, cells),
        _lower(family, keys, cells, rules.confidence),
        int(estimable.sum()),
        int(assessed.sum()),
        int((assessed & (verdicts == "no_harm")).sum()),
        tuple(group for attribute in (OVERALL, *by) for group in rates.of(cells.grouping(attribute))),
    )


def _upper(family: JudgedFamily, keys: Sequence[Key], cells: Cells) -> ClassBound | None:
    """Return the largest upper bound of an assessed class and group, or of one that is shown to lose."""
    bounds = []
    for key in keys:
        tested, judged = family.tested[key], family.judged[key]
        counts = tested.loss.estimable & (tested.assessed | np.isin(judged.verdict, ("harm", "loss")))
        bounds += [_bound(key, g, float(judged.upper[g]), cells) for g in np.flatnonzero(counts).tolist()]
    return max(bounds, key=lambda b: b.value, default=None)


def _lower(family: JudgedFamily, keys: Sequence[Key], cells: Cells, confidence: float) -> ClassBound | None:
    """Return the largest simultaneous lower bound of a loss that is shown (Bonferroni)."""
    lower = bonferroni_lower_bounds([family.tested[key].loss for key in keys], confidence)
    bounds = []
    for key, values in zip(keys, lower, strict=True):
        with np.errstate(invalid="ignore"):
            shown = (family.judged[key].p_loss_adjusted < 1 - confidence) & (values > 0)
        bounds += [_bound(key, g, float(values[g]), cells) for g in np.flatnonzero(shown).tolist()]
    return max(bounds, key=lambda b: b.value, default=None)


def _bound(key: Key, group: int, value: float, cells: Cells) -> ClassBound:
    return ClassBound(value, class_of(key[2]), cells.grouping(key[1]).values[group])


class _ClassRates:
    """Rates of every class, each with the estimator of the class against the rest."""

    def __init__(self, evidence: GroupEstimator, baseline: str, model: str, confidence: float) -> None:
        self.evidence, self.models, self.confidence = evidence, (baseline, model), confidence
        cells = evidence.cells
        self.single = [self._one(c) for c in range(len(cells.classes))]

    def of(self, grouping: Grouping) -> Iterator[GroupClasses]:
        """Yield every group of an attribute."""
        cells = self.evidence.cells
        classes = [self._class(c, grouping) for c in range(len(cells.classes))]
        macro = {
            rate: self._ratio(self.evidence, rate, grouping, "") for rate in ("macro_recall", "macro_f1")
        }
        confusion = self._confusion(grouping)
        for g, values in enumerate(grouping.values):
            present = [c for rates in classes if (c := rates[g]) is not None]
            yield GroupClasses(
                values,
                sum(c.n > 0 for c in present),
                macro["macro_recall"][g],
                macro["macro_f1"][g],
                tuple(present),
                confusion[g],
            )

    def _one(self, index: int) -> GroupEstimator | None:
        """Return the estimator of a class against the rest, over the rows that have it or are predicted so; None if none."""
        cells = self.evidence.cells
        lines = np.flatnonzero(
            (cells.label == index) | np.any([cells.predicted[m] == index for m in self.models], axis=0)
        )
        if not len(lines):
            return None
        if self.evidence.dependent:  # every seed has every row
            lines = np.arange(len(cells.label))
        one = replace(cells.select(lines), positive=cells.classes[index])
        return self.evidence.like(one)

    def _class(self, index: int, grouping: Grouping) -> list[ClassRates | None]:
        """Return a class in every group; None where no row has it or is predicted so."""
        estimator, cells = self.single[index], self.evidence.cells
        if estimator is None:
            return [None] * grouping.size
        groups = estimator.cells.grouping_as(cells, grouping.attribute)
        repeats = self.evidence.repeats
        rows = per_group(estimator.cells.weight * (estimator.cells.label == index), groups.index, groups.size)
        seen = np.bincount(groups.index, minlength=groups.size) > 0
        recall, precision = (
            self._recall(estimator, groups),
            self._ratio(estimator, "ppv", groups, _UNPREDICTED),
        )
        name = cells.classes[index]
        return [
            ClassRates(name, float(rows[g] / repeats), recall[g], precision[g]) if seen[g] else None
            for g in range(groups.size)
        ]

    def _recall(self, estimator: GroupEstimator, grouping: Grouping) -> list[BeforeAfter]:
        before, after = (self._rate(estimator, m, "tpr", grouping, _ABSENT) for m in self.models)
        change = estimator.change(self.models[1], self.models[0], "tpr", grouping)
        return _joined(before, after, to_estimates(change, self.confidence, _ABSENT))

    def _ratio(self, estimator: GroupEstimator, rate: str, grouping: Grouping, why: str) -> list[BeforeAfter]:
        change = estimator.ratio_change(self.models[1], self.models[0], rate, grouping)
        if rate == "ppv":
            before, after = (self._rate(estimator, m, rate, grouping, why) for m in self.models)
        else:
            before, after = (
                to_estimates(estimator.ratio(m, rate, grouping), self.confidence, why) for m in self.models
            )
        return _joined(before, after, to_estimates(_not_all_seeds(change), self.confidence, why))

    def _rate(
        self, estimator: GroupEstimator, model: str, rate: str, grouping: Grouping, why: str
    ) -> list[Estimate]:
        e = estimator.rate(model, rate, grouping, self.confidence)
        return [
            Estimate(float(v), float(low), float(high), float(n), e.method)
            if np.isfinite(v)
            else Estimate.not_estimable(why)
            for v, low, high, n in zip(e.value, e.low, e.high, e.n, strict=True)
        ]

    def _confusion(self, grouping: Grouping) -> list[tuple[Confused, ...]]:
        """Return the pairs of label and prediction of every group, those that occur under one of the models."""
        cells, size = self.evidence.cells, len(self.evidence.cells.classes)
        flat = [(grouping.index * size + cells.label) * size + cells.predicted[m] for m in self.models]
        codes, index = np.unique(np.concatenate(flat), return_inverse=True)
        weight = cells.weight / self.evidence.repeats
        before, after = (per_group(weight, part, len(codes)) for part in np.split(index.reshape(-1), 2))
        out: list[list[Confused]] = [[] for _ in range(grouping.size)]
        for code, a, b in zip(codes.tolist(), before.tolist(), after.tolist(), strict=True):
            rest, predicted = divmod(code, size)
            group, label = divmod(rest, size)
            out[group].append(Confused(cells.classes[label], cells.classes[predicted], a, b))
        return [tuple(pairs) for pairs in out]


def _joined(
    before: Sequence[Estimate], after: Sequence[Estimate], change: Sequence[Estimate]
) -> list[BeforeAfter]:
    return [BeforeAfter(*x) for x in zip(before, after, change, strict=True)]


def _not_all_seeds(change: TEstimate) -> TEstimate:
    """Return the change with NaN standard errors where there is no value."""
    se: Floats = np.where(np.isfinite(change.value), change.se, np.nan)
    return replace(change, se=se)
