"""Estimates of rates, paired changes and excess losses per group, with rows or people as the unit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.cells.grouping import Grouping
from fairpress.auditing.metrics.linearization import linearize
from fairpress.auditing.statistics.design_effect import ClusterSums, cluster_sums, design_effect
from fairpress.auditing.statistics.proportion_intervals import (
    agresti_caffo,
    bonett_price,
    excess_loss,
    wilson,
)
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate

RATES = ("accuracy", "selection_rate", "tpr", "fpr", "tnr", "fnr", "ppv", "npv")


class Rate(NamedTuple):
    """A rate of each group with its interval; NaN where it is undefined."""

    value: Floats
    low: Floats
    high: Floats
    n: Floats
    method: str


class Moments(NamedTuple):
    """Moments of a value x of rows, per combination: Σw·x, Σw²·x, Σw²·x². NaN outside the denominator."""

    first: Floats
    crossed: Floats
    second: Floats


class _Sums(NamedTuple):
    """Σ of positive parts, of negative parts, and the denominator, per group; with the design effect."""

    up: Floats
    down: Floats
    n: Floats
    deff: Floats
    rest_deff: Floats
    df: Floats


class GroupEstimator:
    """Estimator for one table whose rows, or people with several rows, are random; with or without weights.

    Weights and repeated subjects enter every closed form through the design effect n/deff (`design_effect`).
    """

    dependent = False
    rates: tuple[str, ...] = RATES

    def __init__(self, cells: Cells) -> None:
        self.cells = cells
        self._subjects = cells.keys.get("subject")
        # The squares too: weights of 0.5 and 1.5 in one combination sum to its rows.
        weighted = not all(
            np.allclose(w, cells.rows, rtol=1e-9, atol=0) for w in (cells.weight, cells.weight_squares)
        )
        self.plain = self._subjects is None and not weighted

    def like(self, cells: Cells) -> GroupEstimator:
        """Return the same estimator of other cells of this table."""
        return type(self)(cells)

    def rate(self, model: str, name: str, grouping: Grouping, confidence: float) -> Rate:
        """Return a rate of each group with Wilson's interval."""
        s = self._sums(self.cells.indicator(model, name), grouping)
        low, high = wilson(s.up, s.n, confidence, s.deff)
        with np.errstate(invalid="ignore", divide="ignore"):
            value = np.where(s.n > 0, s.up / s.n, np.nan)
        return Rate(value, low, high, s.n, "wilson" if self.plain else "wilson-design-effect")

    def smoothed(self, model: str, name: str, grouping: Grouping) -> TEstimate:
        """Return a rate of each group as an estimate for differences and gaps."""
        s = self._sums(self.cells.indicator(model, name), grouping)
        return agresti_caffo(s.up, s.n, s.deff)

    def change(self, model: str, baseline: str, name: str, grouping: Grouping) -> TEstimate:
        """Return the paired change of a rate in each group."""
        s = self._sums(self._difference(model, baseline, name), grouping)
        return bonett_price(s.up, s.down, s.n, s.deff, s.df)

    def excess(self, model: str, baseline: str, name: str, grouping: Grouping) -> TEstimate:
        """Return each group's loss minus the loss of all other rows."""
        s = self._sums(self._difference(model, baseline, name), grouping)
        lost, gained = (s.up, s.down) if name == "fpr" else (s.down, s.up)
        return excess_loss(lost, gained, s.n, s.deff, s.rest_deff)

    def contrast(
        self, model: str, baseline: str, name: str, grouping: Grouping, pair: tuple[int, int]
    ) -> TEstimate:
        """Return the change of a rate in one group minus that in another: a difference in differences [1]."""
        s = self._sums(*two_groups(self._difference(model, baseline, name), grouping, pair))
        change = bonett_price(s.up, s.down, s.n, s.deff, s.df)
        return change[0:1] - change[1:2]

    def ratio(self, model: str, name: str, grouping: Grouping) -> TEstimate:
        """Return a rate of `linearization.LINEARIZED` in each group."""
        linear = linearize(self.cells, model, name, grouping.index, grouping.size)
        return self.mean(self.moments(linear.values), grouping, linear.reach, (0.0, 1.0), "linearised")

    def ratio_change(self, model: str, baseline: str, name: str, grouping: Grouping) -> TEstimate:
        """Return the paired change of a rate of `linearization.LINEARIZED`."""
        after, before = (
            linearize(self.cells, m, name, grouping.index, grouping.size) for m in (model, baseline)
        )
        reach = np.maximum(after.reach, before.reach)
        change = self.moments(after.values - before.values)
        return self.mean(change, grouping, reach, (-1.0, 1.0), "linearised")

    def moments(self, values: Floats) -> Moments:
        """Return the moments of a value that is constant within each combination."""
        w, ww = self.cells.weight, self.cells.weight_squares
        return Moments(w * values, ww * values, ww * values**2)

    def mean(
        self,
        x: Moments,
        grouping: Grouping,
        reach: Floats | float = 0.0,
        limits: tuple[float, float] = (-np.inf, np.inf),
        method: str = "mean",
    ) -> TEstimate:
        """Return the mean of any value in each group, with Student's t over rows, or over people.

        `reach` adds two pseudo-rows (or people of typical size), at this distance above and below the mean, because
        unobserved values are not impossible. NaN where there are no rows; the standard error is NaN where there is one.
        """
        groups = grouping.size
        inside = without_gaps(x.first)
        g = grouping.index[inside]
        first, crossed, second, w, ww, rows = (
            v[inside] for v in (*x, self.cells.weight, self.cells.weight_squares, self.cells.rows)
        )
        n = per_group(w, g, groups)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = per_group(first, g, groups) / n
            if self._subjects is None:
                units, squares = per_group(rows, g, groups), per_group(ww, g, groups)
                between = per_group(second - 2 * mean[g] * crossed + mean[g] ** 2 * ww, g, groups)
            else:
                entry, entry_index = np.unique(self._subjects[inside] * groups + g, return_inverse=True)
                entry_group = entry % groups
                size, total = (per_group(v, entry_index, len(entry)) for v in (w, first))
                units, squares = (
                    per_group(np.ones(len(entry)), entry_group, groups),
                    per_group(size**2, entry_group, groups),
                )
                between = per_group((total - mean[entry_group] * size) ** 2, entry_group, groups)
            typical = squares / n
            between = np.maximum(between, 0) * units / (units - 1)
            pseudo = np.where(np.asarray(reach) > 0, 2 * typical, 0.0)
            se = np.sqrt(between + pseudo * typical * np.asarray(reach) ** 2) / (n + pseudo)
            effective = n**2 / squares
        df = np.maximum(units - 1, 1)
        return TEstimate(mean, mean, se, n, np.nan_to_num(effective), df, limits, method)

    def flips(self, model: str, baseline: str, grouping: Grouping) -> dict[str, Floats]:
        """Return (weighted) rows per group: n, right to wrong, wrong to right, wrong to another wrong."""
        before, after = self.cells.correct(baseline), self.cells.correct(model)
        changed = self.cells.predicted[baseline] != self.cells.predicted[model]
        parts = {
            "n": np.ones(len(before), bool),
            "right_to_wrong": before & ~after,
            "wrong_to_right": ~before & after,
            "wrong_to_wrong": ~before & ~after & changed,
        }
        w = self.cells.weight / self.repeats
        return {k: per_group(w * v, grouping.index, grouping.size) for k, v in parts.items()}

    def flip_share(self, model: str, baseline: str, name: str, grouping: Grouping) -> Floats:
        """Return the share of a rate's denominator that flipped, per group; 0 where there are no rows."""
        d = self._difference(model, baseline, name)
        inside = ~np.isnan(d)
        w, g = self.cells.weight[inside], grouping.index[inside]
        flipped, n = (per_group(x, g, grouping.size) for x in (w * np.abs(d[inside]), w))
        return np.asarray(flipped / np.where(n > 0, n, 1.0))

    @property
    def repeats(self) -> float:
        """The number of times that each row is counted: once per seed."""
        return 1.0

    @property
    def one_run(self) -> slice | np.ndarray:
        """The combinations that count each row once: those of one seed."""
        return slice(None)

    @property
    def table_rows(self) -> int:
        return round(float(self.cells.rows.sum()))

    @property
    def subjects(self) -> int | None:
        return None if self._subjects is None else len(np.unique(self._subjects))

    def _difference(self, model: str, baseline: str, name: str) -> Floats:
        return np.asarray(self.cells.indicator(model, name) - self.cells.indicator(baseline, name))

    def _sums(self, values: Floats, grouping: Grouping) -> _Sums:
        groups = grouping.size
        inside = ~np.isnan(values)
        d, g = values[inside], grouping.index[inside]
        w, ww, rows = (x[inside] for x in (self.cells.weight, self.cells.weight_squares, self.cells.rows))

        def by_group(x: Floats) -> Floats:
            return per_group(x, g, groups)

        up, down, n = by_group(w * (d > 0)), by_group(w * (d < 0)), by_group(w)
        ones = np.ones(groups)
        if self.plain:
            return _Sums(up, down, n, ones, ones, np.full(groups, np.inf))
        if self._subjects is None:
            sums = ClusterSums(
                by_group(rows),
                by_group(rows),
                n,
                up - down,
                by_group(ww),
                by_group(ww * d**2),
                by_group(ww * d),
                up + down,
            )
        else:
            subject = self._subjects[inside]
            entry, entry_index = np.unique(subject * groups + g, return_inverse=True)
            count, size, total, squares = (
                per_group(x, entry_index, len(entry)) for x in (rows, w, w * d, w * d**2)
            )
            sums = cluster_sums(count, size, total, squares, entry % groups, groups)
        effect = design_effect(sums)
        return _Sums(
            up,
            down,
            n,
            _fill_undefined(effect.deff),
            _fill_undefined(design_effect(sums.rest()).deff),
            effect.df,
        )


def two_groups(values: Floats, grouping: Grouping, pair: tuple[int, int]) -> tuple[Floats, Grouping]:
    """Return the values [combinations], NaN outside the two groups, and the grouping by the side of the pair."""
    return np.where(np.isin(grouping.index, pair), values, np.nan), grouping.pair(*pair)


def per_group(values: Floats, index: np.ndarray, groups: int) -> Floats:
    """Return the sum of the values in each group."""
    return np.asarray(np.bincount(index, weights=values, minlength=groups), dtype=float)


def without_gaps(values: Floats) -> np.ndarray | slice:
    """Return where there are values, as an index; all of an array is taken without a copy."""
    inside = ~np.isnan(values)
    return slice(None) if inside.all() else inside


def _fill_undefined(deff: Floats) -> Floats:
    """Replace undefined design effects by 1: they belong to empty groups, whose estimates are NaN."""
    return np.where(np.isfinite(deff), deff, 1.0)
