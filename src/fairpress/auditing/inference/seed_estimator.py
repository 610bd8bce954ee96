"""Estimates per group over several training seeds: seeds and rows (or people) are both random."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.cells.grouping import Grouping
from fairpress.auditing.inference.affine_rates import affine, affine_ratio, is_affine
from fairpress.auditing.inference.group_estimator import (
    GroupEstimator,
    Moments,
    Rate,
    per_group,
    two_groups,
    without_gaps,
)
from fairpress.auditing.inference.seed_counts import MOST_COUNTS, Affine, SeedCounts
from fairpress.auditing.metrics.linearization import LINEARIZED, linearize
from fairpress.auditing.metrics.rates import loss_sign
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate, choose, concatenate
from fairpress.auditing.statistics.two_way import (
    CrossedSums,
    crossed_change,
    crossed_excess,
    crossed_mean,
    crossed_rate,
    crossed_sums,
)
from fairpress.core.errors import UserError


class SeedGroupEstimator(GroupEstimator):
    """Estimator for stacked runs in which each seed predicts each row exactly once.

    With subjects or weights the unit is the person, or the weighted row: with sizes m_j, sums u_sj of D over
    the rows of unit j, d = Σu/(SΣm) and m̄ the mean size, the crossed formulas take the linearised values
    z_sj = d + (u_sj − d·m_j)/m̄, whose mean is d (Cochran, *Sampling Techniques*, 1977, §11).

    Of two classes, without subjects and weights, every rate is a function of counts (`SeedCounts`).
    """

    dependent = True

    def __init__(self, cells: Cells, source_name: str) -> None:
        super().__init__(cells)
        seed, row = cells.keys["seed"], cells.keys["row"]
        self.seeds, self._rows = int(seed.max()) + 1, int(row.max()) + 1
        if self.seeds < 2:
            raise UserError(f"{source_name} has only one seed; leave out `seed_column=`, or stack more runs.")
        # A row with two values of the label or an attribute makes two combinations and is detected here, too.
        cell = seed * self._rows + row
        complete = len(seed) == self.seeds * self._rows
        if not (complete and (np.bincount(cell) == 1).all() and (cells.rows == 1).all()):
            raise UserError(
                f"{source_name}: each of the {self.seeds} seeds must have each of the {self._rows:,} rows exactly once "
                f"(the table has {cells.rows.sum():,.0f} rows); stack complete runs."
            )
        self._order: np.ndarray | slice = slice(None)
        if (cell[:-1] > cell[1:]).any():
            self._order = np.argsort(cell)
        units = [] if self.plain else [("weights", cells.weight)]
        if self._subjects is not None:
            units.append(("people", self._subjects))
        for description, values in [
            ("labels", cells.label),
            *((f"values of {n!r}", c.codes) for n, c in cells.attributes.items()),
            *units,
        ]:
            matrix = self.by_seed(values)
            differs = ~np.isclose(matrix, matrix[0]) if values.dtype.kind == "f" else matrix != matrix[0]
            if differs.any():
                raise UserError(
                    f"{source_name}: a row has different {description} under different seeds; check the row ids (`row_id=`)."
                )
        self._weight = self.by_seed(cells.weight)[0]
        if self._subjects is not None:
            self._unit = self.by_seed(self._subjects)[0]
        countable = self.plain and cells.positive is not None and len(cells.classes) == 2
        in_order = isinstance(self._order, slice)
        self._counts = SeedCounts(cells, self.seeds) if countable and in_order else None
        self._sums_known: dict[tuple[Any, ...], CrossedSums] = {}

    def like(self, cells: Cells) -> GroupEstimator:
        return type(self)(cells, "")

    @property
    def repeats(self) -> float:
        return float(self.seeds)

    @property
    def one_run(self) -> slice | np.ndarray:
        return slice(self._rows) if isinstance(self._order, slice) else self._order[: self._rows]

    @property
    def table_rows(self) -> int:
        return self._rows

    def rate(self, model: str, name: str, grouping: Grouping, confidence: float) -> Rate:
        """Return a rate of each group, averaged over seeds, with its crossed interval."""
        ratio = name in LINEARIZED
        estimate = (self.ratio if ratio else self.smoothed)(model, name, grouping)
        low, high = estimate.interval(confidence)
        return Rate(estimate.value, low, high, estimate.n, estimate.method)

    def smoothed(self, model: str, name: str, grouping: Grouping) -> TEstimate:
        counts = self._counts_of(name, grouping)
        if counts is not None:
            return crossed_rate(self._counted(counts, grouping, name, model))
        sums, n, effective = self._crossed(self.cells.indicator(model, name), grouping)
        return replace(crossed_rate(sums), n=n, effective_n=effective)

    def change(self, model: str, baseline: str, name: str, grouping: Grouping) -> TEstimate:
        if self.plain:
            return crossed_change(self._change_sums(model, baseline, name, grouping))
        sums, n, effective = self._crossed(self._difference(model, baseline, name), grouping)
        return replace(crossed_change(sums), n=n, effective_n=effective)

    def excess(self, model: str, baseline: str, name: str, grouping: Grouping) -> TEstimate:
        if self.plain:
            excess = crossed_excess(self._change_sums(model, baseline, name, grouping))
        else:
            values = self._difference(model, baseline, name)
            # Linearize the group and the rest separately, each about its mean.
            parts = []
            for g in range(grouping.size):
                sums, n, effective = self._crossed(values, grouping.against_rest(g))
                parts.append(replace(crossed_excess(sums), n=n, effective_n=effective)[0:1])
            excess = concatenate(parts)
        return excess if name == "fpr" else -excess

    def contrast(
        self, model: str, baseline: str, name: str, grouping: Grouping, pair: tuple[int, int]
    ) -> TEstimate:
        values, sides = two_groups(self._difference(model, baseline, name), grouping, pair)
        sums, n, effective = self._crossed(values, sides)
        return replace(crossed_excess(sums), n=n, effective_n=effective)[0:1]

    def ratio(self, model: str, name: str, grouping: Grouping) -> TEstimate:
        counts = self._counts_of(name, grouping)
        if counts is not None:
            x = affine_ratio(counts, model, name, grouping)
            whole = Affine((0, 1), x.offset, [(model, x.slope)])
            return _mean_of_counts(counts, whole, x.reach, (0.0, 1.0), grouping)
        values, reach = self._linearised(model, name, grouping)
        return self.mean(self.moments(values), grouping, reach, (0.0, 1.0), "crossed-linearised")

    def ratio_change(self, model: str, baseline: str, name: str, grouping: Grouping) -> TEstimate:
        counts = self._counts_of(name, grouping)
        if counts is not None:
            x, y = (affine_ratio(counts, m, name, grouping) for m in (model, baseline))
            difference = Affine((0, 1), x.offset - y.offset, [(model, x.slope), (baseline, -y.slope)])
            return _mean_of_counts(counts, difference, np.maximum(x.reach, y.reach), (-1.0, 1.0), grouping)
        after, reach = self._linearised(model, name, grouping)
        before, other = self._linearised(baseline, name, grouping)
        change = self.moments(after - before)
        return self.mean(change, grouping, np.maximum(reach, other), (-1.0, 1.0), "crossed-linearised")

    def mean(
        self,
        x: Moments,
        grouping: Grouping,
        reach: Floats | float = 0.0,
        limits: tuple[float, float] = (-np.inf, np.inf),
        method: str = "crossed-mean",
    ) -> TEstimate:
        """Return the mean of any value over seeds and rows, both random; see `GroupEstimator.mean`.

        A group without any value under some seed (no positive predictions) has no estimate.
        """
        index, groups = grouping.index, grouping.size
        values = x.first / self.cells.weight
        inside = without_gaps(values)
        incomplete = np.zeros(groups, dtype=bool)
        if not isinstance(inside, slice):
            has_value = self.by_seed(inside)
            partly = has_value.any(axis=0) & ~has_value.all(axis=0)
            incomplete = np.bincount(self.by_seed(index)[0][partly], minlength=groups) > 0
        n = per_group(self.cells.weight[inside], index[inside], groups)
        reach_by_group = np.broadcast_to(np.asarray(reach, dtype=float), (groups,))
        has_reach = reach_by_group > 0
        r = np.where(has_reach, reach_by_group, 1.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = per_group(x.first[inside], index[inside], groups) / n
            sums, n, effective = self._crossed((values - mean[index]) / r[index], grouping)
            errors = choose(has_reach, crossed_change(sums), crossed_mean(sums))
        mean = np.where(incomplete | ~(n > 0), np.nan, mean)
        errors = errors.scaled_errors(np.where(np.isnan(mean), np.nan, r))
        return replace(
            errors, value=mean, centre=mean, n=n, effective_n=effective, limits=limits, method=method
        )

    def loss_sums(self, model: str, baseline: str, name: str, grouping: Grouping) -> CrossedSums:
        """Return the crossed sums of the losses of rows [groups]; positive is worse."""
        return self._change_sums(model, baseline, name, grouping, loss_sign(name))

    def per_seed(self, model: str, baseline: str, name: str, grouping: Grouping) -> Floats:
        """Return the change of a rate under each seed [groups, seeds]; NaN where a group has no rows."""
        sums = self._change_sums(model, baseline, name, grouping)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(sums.seed_sums / sums.seed_counts)

    def flips(self, model: str, baseline: str, grouping: Grouping) -> dict[str, Floats]:
        counts = self._counts_of("accuracy", grouping)
        if counts is None:
            return super().flips(model, baseline, grouping)
        after, before, both = (
            x.sum(axis=-1)
            for x in (
                counts.positive(model, grouping),
                counts.positive(baseline, grouping),
                counts.both(model, baseline, grouping).diagonal(axis1=2, axis2=3),
            )
        )
        gained, lost = after - both, before - both
        return {
            "n": counts.rows(grouping).sum(axis=1),
            "right_to_wrong": (lost[:, 1] + gained[:, 0]) / self.seeds,
            "wrong_to_right": (gained[:, 1] + lost[:, 0]) / self.seeds,
            "wrong_to_wrong": np.zeros(grouping.size),
        }

    def flip_share(self, model: str, baseline: str, name: str, grouping: Grouping) -> Floats:
        if not self.plain:
            return super().flip_share(model, baseline, name, grouping)
        sums = self._change_sums(model, baseline, name, grouping)
        return sums.total_squares / np.maximum(self.seeds * sums.rows, 1.0)

    def _counts_of(self, name: str, grouping: Grouping) -> SeedCounts | None:
        """Return the counts of which a rate of these groups is a function, or None."""
        known = is_affine(name) or name in LINEARIZED
        return self._counts if self._counts is not None and known and self._counts.suits(grouping) else None

    def _counted(
        self,
        counts: SeedCounts,
        grouping: Grouping,
        name: str,
        model: str,
        baseline: str | None = None,
        sign: float = 1.0,
    ) -> CrossedSums:
        """Return the crossed sums of a rate, or of its change times a sign; they are asked for again and again."""
        key = (grouping, name, model, baseline, sign)
        if key not in self._sums_known:
            if len(self._sums_known) * grouping.size * self.seeds > MOST_COUNTS:
                self._sums_known.clear()
            self._sums_known[key] = counts.sums(affine(name, model, baseline, sign), grouping)
        return self._sums_known[key]

    def _change_sums(
        self, model: str, baseline: str, name: str, grouping: Grouping, sign: float = 1.0
    ) -> CrossedSums:
        """Return the crossed sums of the change of a rate, times a sign."""
        counts = self._counts_of(name, grouping)
        if counts is not None:
            return self._counted(counts, grouping, name, model, baseline, sign)
        return self._crossed(sign * self._difference(model, baseline, name), grouping)[0]

    def _linearised(self, model: str, name: str, grouping: Grouping) -> tuple[Floats, Floats]:
        """Return the values linearised within each seed, and the mean reach of each group."""
        stratum = grouping.index * self.seeds + self.cells.keys["seed"]
        linear = linearize(self.cells, model, name, stratum, grouping.size * self.seeds)
        return linear.values, linear.reach.reshape(grouping.size, self.seeds).mean(axis=1)

    def one_seed(self) -> GroupEstimator:
        """Return the estimator of a single run, for values that are functions of all seeds."""
        return GroupEstimator(self.cells.select(self.one_run))

    def by_seed(self, values: np.ndarray) -> np.ndarray:
        """Return values of the combinations as a matrix [seeds, rows]."""
        return np.asarray(values[self._order].reshape(self.seeds, self._rows))

    def _crossed(self, values: Floats, grouping: Grouping) -> tuple[CrossedSums, Floats, Floats]:
        """Return the crossed sums, the (weighted) rows, and the effective rows, per group."""
        groups = grouping.size
        d, group = self.by_seed(values), self.by_seed(grouping.index)[0]
        inside = ~np.isnan(d[0])
        w = self._weight
        if not inside.all():
            d, group, w = d[:, inside], group[inside], w[inside]
        n = per_group(w, group, groups)
        if self.plain:
            return crossed_sums(d, group, groups), n, n
        unit = np.arange(len(w)) if self._subjects is None else self._unit[inside]
        entry, entry_index = np.unique(unit * groups + group, return_inverse=True)
        entry_group = entry % groups
        size = per_group(w, entry_index, len(entry))
        u = np.stack([per_group(w * row, entry_index, len(entry)) for row in d])
        units = np.bincount(entry_group, minlength=groups)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = per_group(u.mean(axis=0), entry_group, groups) / n
            typical = n / units
            effective = n**2 / per_group(size**2, entry_group, groups)
        z = mean[entry_group] + (u - mean[entry_group] * size) / typical[entry_group]
        return crossed_sums(z, entry_group, groups), n, np.nan_to_num(effective)


def _mean_of_counts(
    counts: SeedCounts, values: Affine, reach: Floats, limits: tuple[float, float], grouping: Grouping
) -> TEstimate:
    """Return what `SeedGroupEstimator.mean` does, of values whose sums are functions of counts."""
    sums = counts.sums(values, grouping)
    has_reach = reach > 0
    r = np.where(has_reach, reach, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = sums.seed_sums.sum(axis=-1) / sums.seed_counts.sum(axis=-1)
        centred = (values.offset - mean[:, None, None]) / r[:, None, None]
        scaled = [(model, slope / r[:, None, None]) for model, slope in values.slopes]
        sums = counts.sums(Affine(values.labels, centred, scaled), grouping)
        errors = choose(has_reach, crossed_change(sums), crossed_mean(sums))
    n = np.where(np.isnan(values.offset[:, 0, 0]), 0.0, sums.rows)
    errors = errors.scaled_errors(np.where(np.isnan(mean), np.nan, r))
    return replace(
        errors, value=mean, centre=mean, n=n, effective_n=n, limits=limits, method="crossed-linearised"
    )
