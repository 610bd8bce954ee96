"""Estimates of bounded values (shares, errors of 0 and 1, bias scores): with pseudo-units; folded where distances count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fairpress.auditing.cells.grouping import Grouping
from fairpress.auditing.outcomes.evidence import OutcomeEvidence
from fairpress.auditing.outcomes.protocol import BoundedValues
from fairpress.auditing.statistics.bounded_means import of_share, with_pseudo_units
from fairpress.auditing.statistics.folded_change import folded_change, folded_excess, folded_level
from fairpress.auditing.statistics.skewed_estimate import SkewedEstimate, join_estimates
from fairpress.auditing.statistics.t_estimate import Floats
from fairpress.auditing.statistics.unit_means import excess_of_units
from fairpress.core.estimate import Estimate

_ANY = (-np.inf, np.inf)


@dataclass(frozen=True)
class BoundedEvidence(OutcomeEvidence):
    """Estimator of values with bounds (`protocol.BoundedValues`).

    Of a folded metric, a level is the distance of the mean from 0, and `RowValues.values` has the signed values.
    """

    @property
    def bounded(self) -> BoundedValues:
        """The values, whose type has what this estimator needs."""
        assert isinstance(self.row_values, BoundedValues)
        return self.row_values

    @property
    def trims(self) -> bool:
        """No: most rows do not change, and the trimmed mean of a few flips is 0."""
        return False

    def level(self, model: str, metric: str, grouping: Grouping) -> SkewedEstimate:
        """Return the level of each group under one model; of a folded metric, its distance from 0."""
        key = (model, metric, id(grouping))
        if key not in self._results:
            values = self.row_values.values(model, metric, grouping)
            x = self._bounded(values, [model], metric, grouping)
            self._results[key] = (grouping, folded_level(x) if metric in self.bounded.folded else x)
        return self._results[key][1]

    def loss(self, model: str, baseline: str, metric: str, grouping: Grouping) -> SkewedEstimate:
        """Return the paired loss of each group: positive is worse."""
        key = (model, baseline, metric, id(grouping))
        if key not in self._results:
            self._results[key] = (grouping, self._loss(model, baseline, metric, grouping))
        return self._results[key][1]

    def beyond(
        self, model: str, baseline: str, metric: str, grouping: Grouping, share: float
    ) -> SkewedEstimate:
        """Return loss − share·baseline's level of each group; folded metrics refuse relative margins beforehand."""
        before = self.row_values.values(baseline, metric, grouping)
        values = self._losses(model, baseline, metric, grouping) - share * before
        return self._bounded(values, [model, baseline], metric, grouping, 1 + share)

    def excess(self, model: str, baseline: str, metric: str, grouping: Grouping) -> SkewedEstimate:
        """Return each group's loss minus that of all other rows."""
        if metric in self.bounded.folded:
            return self._folded_excess(model, baseline, metric, grouping)
        parts = []
        for g in range(grouping.size):
            two = grouping.against_rest(g)
            x = excess_of_units(self._sums(self._losses(model, baseline, metric, two), two))[:1]
            models = [model, baseline]
            x = with_pseudo_units(x, self.bounded.reach(models, metric, two)[:1], _ANY)
            parts.append(of_share(x, self.bounded.share(models, metric, two).min()))
        return join_estimates(parts)

    def details(self, model: str, grouping: Grouping, confidence: float) -> Mapping[str, list[Estimate]]:
        """Return further levels of each group, shown and not judged."""
        return self.bounded.details(model, grouping, confidence)

    def _loss(self, model: str, baseline: str, metric: str, grouping: Grouping) -> SkewedEstimate:
        if metric in self.bounded.folded:
            return folded_change(*self._contrasts(model, baseline, metric, grouping))
        losses = self._losses(model, baseline, metric, grouping)
        return self._bounded(losses, [model, baseline], metric, grouping)

    def _contrasts(
        self, model: str, baseline: str, metric: str, grouping: Grouping
    ) -> tuple[SkewedEstimate, SkewedEstimate]:
        """Return θ₁ − θ₀ and θ₁ + θ₀ of each group."""
        before, after = (self.row_values.values(m, metric, grouping) for m in (baseline, model))
        models = [model, baseline]
        return (
            self._bounded(after - before, models, metric, grouping),
            self._bounded(after + before, models, metric, grouping),
        )

    def _folded_excess(self, model: str, baseline: str, metric: str, grouping: Grouping) -> SkewedEstimate:
        pairs = [
            self._contrasts(model, baseline, metric, grouping.against_rest(g)) for g in range(grouping.size)
        ]
        changes = [
            folded_change(*(join_estimates([pair[c][side : side + 1] for pair in pairs]) for c in (0, 1)))
            for side in (0, 1)
        ]
        return folded_excess(*changes)

    def _bounded(
        self, values: Floats, models: Sequence[str], metric: str, grouping: Grouping, factor: float = 1.0
    ) -> SkewedEstimate:
        reach = factor * self.bounded.reach(models, metric, grouping)
        x = with_pseudo_units(self._mean(values, grouping), reach, _ANY)
        return of_share(x, self.bounded.share(models, metric, grouping))
