"""Estimates of an outcome by group: levels of each model, paired losses, excess over the rest, changes of gaps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from fairpress.auditing.cells.grouping import Grouping
from fairpress.auditing.measure import Measure
from fairpress.auditing.outcomes.protocol import RowValues
from fairpress.auditing.outcomes.row_table import RowTable
from fairpress.auditing.statistics.range_bounds import Bounds, range_bounds
from fairpress.auditing.statistics.range_change import (
    MAX_GROUPS,
    maximum_change_bounds,
    pair_differences,
    paired_errors,
    selection_level,
)
from fairpress.auditing.statistics.rare_changes import (
    unseen_variance,
    unseen_variance_of_rest,
    with_variance,
)
from fairpress.auditing.statistics.skewed_estimate import SkewedEstimate, join_estimates
from fairpress.auditing.statistics.t_estimate import Floats
from fairpress.auditing.statistics.unit_means import (
    UnitSums,
    excess_of_units,
    mean_of_units,
    trimmed_mean,
    unit_sums,
)
from fairpress.core.estimate import Estimate

TRIMMED = 0.1
"""Share of the rows that the trimmed mean leaves out at either end."""


@dataclass(frozen=True)
class OutcomeEvidence:
    """Estimator of an outcome over the rows, or people, of one table."""

    table: RowTable
    baseline: str
    row_values: RowValues
    measures: Mapping[str, Measure]
    linear: bool
    _results: dict[tuple[object, ...], tuple[Grouping, SkewedEstimate]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @property
    def trims(self) -> bool:
        """Whether a trimmed mean is informative; of values of which most are equal it is not."""
        return True

    def level(self, model: str, metric: str, grouping: Grouping) -> SkewedEstimate:
        """Return the level of each group under one model."""
        key = (model, metric, id(grouping))
        if key not in self._results:  # the grouping is kept, so that no other has its id
            values = self.row_values.values(model, metric, grouping)
            self._results[key] = (grouping, self._mean(values, grouping))
        return self._results[key][1]

    def loss(self, model: str, baseline: str, metric: str, grouping: Grouping) -> SkewedEstimate:
        """Return the paired loss of each group: positive is worse."""
        key = (model, baseline, metric, id(grouping))
        if key not in self._results:
            sums = self._sums(self._losses(model, baseline, metric, grouping), grouping)
            unseen = unseen_variance(sums, *self._changes(model, baseline, metric, grouping))
            self._results[key] = (grouping, with_variance(mean_of_units(sums), unseen))
        return self._results[key][1]

    def beyond(
        self, model: str, baseline: str, metric: str, grouping: Grouping, share: float
    ) -> SkewedEstimate:
        """Return loss − share·|baseline's level| of each group: below 0 where such a relative loss is ruled out."""
        before = self.row_values.values(baseline, metric, grouping)
        sign = np.sign(self.level(baseline, metric, grouping).value)[grouping.index]
        losses = self._losses(model, baseline, metric, grouping)
        unseen = unseen_variance(
            self._sums(losses, grouping), *self._changes(model, baseline, metric, grouping)
        )
        return with_variance(self._mean(losses - share * sign * before, grouping), unseen)

    def excess(self, model: str, baseline: str, metric: str, grouping: Grouping) -> SkewedEstimate:
        """Return each group's loss minus that of all other rows."""
        if self.linear:
            return self._excess(model, baseline, metric, grouping)
        parts = []
        for g in range(grouping.size):
            parts.append(self._excess(model, baseline, metric, grouping.against_rest(g))[:1])
        return join_estimates(parts)

    def trimmed_loss(
        self, model: str, baseline: str, metric: str, grouping: Grouping
    ) -> tuple[Floats, Floats]:
        """Return the 10 % trimmed mean of the losses of each group's units, and its standard error."""
        losses = self._losses(model, baseline, metric, grouping)
        if self.unit is None:
            return trimmed_mean(losses, grouping.index, grouping.size, TRIMMED)
        s = self._sums(losses, grouping)
        means = np.where(s.weight > 0, s.total / np.where(s.weight > 0, s.weight, 1.0), np.nan)
        return trimmed_mean(means, s.group, grouping.size, TRIMMED)

    def changed(
        self, model: str, baseline: str, metric: str, grouping: Grouping
    ) -> tuple[Floats, Floats] | None:
        """Return how many (weighted) rows of each group are worse, and how many better; None where rows have no values."""
        losses = self.row_values.row_losses(model, baseline, metric)
        if losses is None:
            return None
        inside = grouping.index >= 0
        w, g, d = self.table.cells.weight[inside], grouping.index[inside], losses[inside]
        worse, better = (np.bincount(g, weights=w * x, minlength=grouping.size) for x in (d > 0, d < 0))
        return np.asarray(worse, float), np.asarray(better, float)

    def units(self, metric: str, grouping: Grouping) -> Floats:
        """Return the effective number of units of each group that a metric has; no model influences it."""
        return self.level(self.baseline, metric, grouping).effective_n

    def details(self, model: str, grouping: Grouping, confidence: float) -> Mapping[str, list[Estimate]]:
        """Return further levels of each group, shown and not judged."""
        return {}

    def rows(self, grouping: Grouping) -> Floats:
        """Return the (weighted) rows of each group."""
        inside = grouping.index >= 0
        counts = np.bincount(
            grouping.index[inside], weights=self.table.cells.weight[inside], minlength=grouping.size
        )
        return np.asarray(counts, float)

    def gap(self, model: str, metric: str, grouping: Grouping, alpha: float) -> Bounds:
        """Return bounds of the largest minus the smallest level (`range_bounds`)."""
        x = self.level(model, metric, grouping)
        return range_bounds(x[x.estimable], alpha, self._shared(grouping))

    def gap_change(
        self, model: str, baseline: str, metric: str, grouping: Grouping, alpha: float
    ) -> Bounds | None:
        """Return bounds of the change of the gap (`range_change`); None with more groups than its pairs can be searched."""
        if grouping.size > MAX_GROUPS:
            return None
        before, after = (self.level(m, metric, grouping) for m in (baseline, model))
        sign = -1.0 if self.measures[metric].higher_is_better else 1.0
        loss = self.loss(model, baseline, metric, grouping)
        change = loss if sign > 0 else -loss
        keep = before.estimable & after.estimable & change.estimable
        if keep.sum() < 2:
            return None
        triple = (before[keep], after[keep], change[keep])
        shared, level = self._shared(grouping), selection_level(alpha)
        low, high = maximum_change_bounds(
            pair_differences([triple[1]], level, shared),
            pair_differences([triple[0]], level, shared),
            paired_errors([triple], shared),
            alpha,
        )
        return Bounds(low, high)

    @property
    def unit(self) -> np.ndarray | None:
        """The person of each row; None where rows are the unit."""
        return self.table.cells.keys.get("subject")

    @property
    def people(self) -> int:
        """The number of people, or of rows where these are the unit."""
        return self.table.rows if self.unit is None else len(np.unique(self.unit))

    def _losses(self, model: str, baseline: str, metric: str, grouping: Grouping) -> Floats:
        before, after = (self.row_values.values(m, metric, grouping) for m in (baseline, model))
        return before - after if self.measures[metric].higher_is_better else after - before

    def _excess(self, model: str, baseline: str, metric: str, grouping: Grouping) -> SkewedEstimate:
        sums = self._sums(self._losses(model, baseline, metric, grouping), grouping)
        changes = self._changes(model, baseline, metric, grouping)
        unseen = unseen_variance(sums, *changes) + unseen_variance_of_rest(sums, *changes)
        return with_variance(excess_of_units(sums), unseen)

    def _changes(self, model: str, baseline: str, metric: str, grouping: Grouping) -> tuple[Floats, float]:
        """Return 1 for each entry of the losses' sums with a row that changed, else 0; and the baseline's variance.

        All entries are 1 where rows have no values of their own.
        """
        losses = self.row_values.row_losses(model, baseline, metric)
        changed = np.ones(self.table.rows) if losses is None else (losses != 0).astype(float)
        before = self.row_values.values(baseline, metric, grouping)
        defined = ~np.isnan(self._losses(model, baseline, metric, grouping))
        entries = self._sums(np.where(defined, changed, np.nan), grouping).total
        return (entries > 0).astype(float), float(np.nanvar(before)) if defined.any() else 0.0

    def _sums(self, values: Floats, grouping: Grouping) -> UnitSums:
        return unit_sums(values, grouping.index, grouping.size, self.table.cells.weight, self.unit)

    def _mean(self, values: Floats, grouping: Grouping) -> SkewedEstimate:
        return mean_of_units(self._sums(values, grouping))

    def _shared(self, grouping: Grouping) -> bool:
        """Return whether some person has rows in several groups, so that these are not independent."""
        return self.unit is not None and self._sums(self.table.cells.rows, grouping).shared
