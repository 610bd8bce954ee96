"""Rates, score metrics and gaps of one model, each with an interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.cells.grouping import Grouping
from fairpress.auditing.inference.degenerate_models import degenerate
from fairpress.auditing.inference.group_estimator import GroupEstimator
from fairpress.auditing.inference.score_metrics import ScorePair
from fairpress.auditing.inference.to_estimates import UNDEFINED_REASONS, gap_estimate, to_estimates
from fairpress.auditing.metrics.fairness import fairness_intervals
from fairpress.auditing.result import Fairness, GroupRates, ModelResult
from fairpress.auditing.statistics.t_estimate import t_quantile
from fairpress.core.attribute import OVERALL, Attribute
from fairpress.core.estimate import Estimate

GAP_RATES = ("accuracy", "selection_rate", "tpr", "fpr")


@dataclass(frozen=True)
class PredictionProvenance:
    """The runtime and threshold that produced a model's predictions, where known."""

    runtime: str | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class ModelRates:
    """Estimates the rates of each model from the same table.

    `scores` maps a model to a pair of score columns and its side in it (`ScorePair.rates`); `runs` to its provenance;
    `margin` is the distance from guessing below which a model is degenerate (`degenerate`).
    """

    evidence: GroupEstimator
    cells: Cells
    by: tuple[Attribute, ...]
    confidence: float
    scores: Mapping[str, tuple[ScorePair, int]] = field(default_factory=dict)
    runs: Mapping[str, PredictionProvenance] = field(default_factory=dict)
    margin: float = 0.02

    def model(self, name: str) -> ModelResult:
        """Return the rates of one model, for all rows and for each group."""
        groups = [g for attribute in self.by for g in self._rates(name, attribute)]
        run = self.runs.get(name, PredictionProvenance())
        degeneracy = degenerate(self.evidence, name, self.margin, self.confidence)
        return ModelResult(
            name,
            self._rates(name, OVERALL)[0],
            tuple(groups),
            runtime=run.runtime,
            threshold=run.threshold,
            degenerate=None if degeneracy is None else degeneracy.sentence,
        )

    def fairness(self, name: str) -> list[Fairness]:
        """Return every fairness metric of one model over the groups of each attribute."""
        out = []
        for attribute in self.by:
            grouping = self.cells.grouping(attribute)
            intervals = fairness_intervals(
                {r: self.evidence.smoothed(name, r, grouping) for r in self.cells.rates_of(GAP_RATES)},
                np.random.default_rng(0),
                self.confidence,
                self.evidence.dependent,
            )
            out += [
                Fairness(name, str(attribute), metric, gap_estimate(gap, grouping.size))
                for metric, gap in intervals.items()
            ]
        return out

    def _rates(self, name: str, attribute: Attribute) -> list[GroupRates]:
        grouping = self.cells.grouping(attribute)
        per_rate: dict[str, list[Estimate]] = {}
        for rate in self.cells.rates_of(self.evidence.rates):
            estimate = self.evidence.rate(name, rate, grouping, self.confidence)
            per_rate[rate] = [
                Estimate(float(v), float(low), float(high), float(n), estimate.method)
                if np.isfinite(v)
                else Estimate.not_estimable(UNDEFINED_REASONS[rate])
                for v, low, high, n in zip(
                    estimate.value, estimate.low, estimate.high, estimate.n, strict=True
                )
            ]
        if self.cells.positive is not None:
            per_rate["balanced_accuracy"] = self._balanced_accuracy(name, grouping)
        if name in self.scores:
            pair, side = self.scores[name]
            per_rate |= pair.rates(side, attribute, self.confidence)
        n = self.evidence.flips(name, name, grouping)["n"]
        counts: dict[str, np.ndarray] = {}
        if self.cells.positive is not None:
            pair_counts = self.cells.pair(name, name, grouping).sum(axis=-1) / self.evidence.repeats
            counts = {
                "tn": pair_counts[:, 0, 0],
                "fp": pair_counts[:, 0, 1],
                "fn": pair_counts[:, 1, 0],
                "tp": pair_counts[:, 1, 1],
            }
        return [
            GroupRates(
                group,
                float(n[g]),
                {rate: estimates[g] for rate, estimates in per_rate.items()},
                **{key: float(count[g]) for key, count in counts.items()},
            )
            for g, group in enumerate(grouping.values)
        ]

    def _balanced_accuracy(self, name: str, grouping: Grouping) -> list[Estimate]:
        """Return (TPR + TNR)/2. Positives and negatives are disjoint, so the variances of independent rows add."""
        why = UNDEFINED_REASONS["balanced_accuracy"]
        if self.evidence.dependent or not self.evidence.plain:
            x = self.evidence.ratio(name, "balanced_accuracy", grouping)
            return to_estimates(x, self.confidence, why)
        tpr, tnr = (self.evidence.smoothed(name, rate, grouping) for rate in ("tpr", "tnr"))
        centre, se = (tpr.centre + tnr.centre) / 2, np.sqrt(tpr.se**2 + tnr.se**2) / 2
        reach = t_quantile(np.fmin(tpr.df, tnr.df), (1 + self.confidence) / 2) * se
        value = (tpr.value + tnr.value) / 2
        low, high = np.fmin(centre - reach, value), np.fmax(centre + reach, value)
        return [
            Estimate(
                float(value[g]),
                max(0.0, float(low[g])),
                min(1.0, float(high[g])),
                float(tpr.n[g] + tnr.n[g]),
                f"{tpr.method}-sum",
            )
            if np.isfinite(value[g])
            else Estimate.not_estimable(why)
            for g in range(grouping.size)
        ]
