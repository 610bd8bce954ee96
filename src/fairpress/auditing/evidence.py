"""What a table says of each group: rates, paired changes and excess losses, with rows or people as the unit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fairpress.auditing.cells import Cells
from fairpress.auditing.clusters import ClusterSums, cluster_sums, design_effect
from fairpress.auditing.intervals import agresti_caffo, bonett_price, excess_loss, wilson
from fairpress.auditing.studentized import Floats, Studentized

RATES = ("accuracy", "selection_rate", "tpr", "fpr", "tnr", "fnr", "ppv", "npv")


class Rate(NamedTuple):
    """A rate of each group with its interval; NaN where there is none."""

    value: Floats
    low: Floats
    high: Floats
    n: Floats
    method: str


class _Sums(NamedTuple):
    """Σ of positive parts, of negative parts, and the denominator, per group; with the design effect."""

    up: Floats
    down: Floats
    n: Floats
    deff: Floats
    rest_deff: Floats
    df: Floats


class Evidence:
    """Evidence of one table: rows are random, or people where a subject has several rows, weighted or not.

    Weights and repeated subjects enter every closed form through the design effect n/deff (`clusters`).
    """

    dependent = False
    rates: tuple[str, ...] = RATES

    def __init__(self, cells: Cells) -> None:
        self.cells = cells
        self._subjects = cells.keys.get("subject")
        weighted = not np.array_equal(cells.weight, cells.rows)
        self.plain = self._subjects is None and not weighted

    def rate(self, model: str, name: str, index: np.ndarray, groups: int, confidence: float) -> Rate:
        """Return a rate of each group with Wilson's interval; `index` [combinations] is the group."""
        s = self._sums(self.cells.indicator(model, name), index, groups)
        low, high = wilson(s.up, s.n, confidence, s.deff)
        with np.errstate(invalid="ignore", divide="ignore"):
            value = np.where(s.n > 0, s.up / s.n, np.nan)
        return Rate(value, low, high, s.n, "wilson" if self.plain else "wilson-design-effect")

    def smoothed(self, model: str, name: str, index: np.ndarray, groups: int) -> Studentized:
        """Return a rate of each group, ready for gaps."""
        s = self._sums(self.cells.indicator(model, name), index, groups)
        return agresti_caffo(s.up, s.n, s.deff)

    def change(self, model: str, baseline: str, name: str, index: np.ndarray, groups: int) -> Studentized:
        """Return the paired change of a rate in each group."""
        s = self._sums(self._difference(model, baseline, name), index, groups)
        return bonett_price(s.up, s.down, s.n, s.deff, s.df)

    def excess(self, model: str, baseline: str, name: str, index: np.ndarray, groups: int) -> Studentized:
        """Return each group's loss minus the loss of everybody else."""
        s = self._sums(self._difference(model, baseline, name), index, groups)
        lost, gained = (s.up, s.down) if name == "fpr" else (s.down, s.up)
        return excess_loss(lost, gained, s.n, s.deff, s.rest_deff)

    def flips(self, model: str, baseline: str, index: np.ndarray, groups: int) -> dict[str, Floats]:
        """Return (weighted) rows per group: n, right to wrong, wrong to right, wrong to another wrong."""
        before, after = self.cells.correct(baseline), self.cells.correct(model)
        moved = self.cells.predicted[baseline] != self.cells.predicted[model]
        parts = {
            "n": np.ones(len(index), bool),
            "right_to_wrong": before & ~after,
            "wrong_to_right": ~before & after,
            "wrong_to_wrong": ~before & ~after & moved,
        }
        w = self.cells.weight / self.repeats
        return {k: per_group(w * v, index, groups) for k, v in parts.items()}

    def flip_share(self, model: str, baseline: str, name: str, index: np.ndarray, groups: int) -> Floats:
        """Return the share of a rate's denominator that flipped, per group; 0 where there are no rows."""
        d = self._difference(model, baseline, name)
        inside = ~np.isnan(d)
        w, g = self.cells.weight[inside], index[inside]
        moved, n = (per_group(x, g, groups) for x in (w * np.abs(d[inside]), w))
        return np.asarray(moved / np.where(n > 0, n, 1.0))

    @property
    def repeats(self) -> float:
        """How many times every row was counted (once per seed)."""
        return 1.0

    @property
    def table_rows(self) -> int:
        return round(float(self.cells.rows.sum()))

    @property
    def subjects(self) -> int | None:
        return None if self._subjects is None else len(np.unique(self._subjects))

    def _difference(self, model: str, baseline: str, name: str) -> Floats:
        return np.asarray(self.cells.indicator(model, name) - self.cells.indicator(baseline, name))

    def _sums(self, values: Floats, index: np.ndarray, groups: int) -> _Sums:
        inside = ~np.isnan(values)
        d, g = values[inside], index[inside]
        w, ww, rows = (x[inside] for x in (self.cells.weight, self.cells.weight_squares, self.cells.rows))

        def by_group(x: Floats) -> Floats:
            return per_group(x, g, groups)

        up, down, n = by_group(w * (d > 0)), by_group(w * (d < 0)), by_group(w)
        one = np.ones(groups)
        if self.plain:
            return _Sums(up, down, n, one, one, np.full(groups, np.inf))
        if self._subjects is None:
            sums = ClusterSums(
                by_group(rows), n, up - down, by_group(ww), by_group(ww * d**2), by_group(ww * d), up + down
            )
        else:
            subject = self._subjects[inside]
            entry, at = np.unique(subject * groups + g, return_inverse=True)
            size, total, squares = (per_group(x, at, len(entry)) for x in (w, w * d, w * d**2))
            sums = cluster_sums(size, total, squares, entry % groups, groups)
        own = design_effect(sums)
        return _Sums(up, down, n, _known(own.deff), _known(design_effect(sums.rest()).deff), own.df)


def per_group(values: Floats, index: np.ndarray, groups: int) -> Floats:
    """Return the sum of the values in each group."""
    return np.asarray(np.bincount(index, weights=values, minlength=groups), dtype=float)


def _known(deff: Floats) -> Floats:
    """Empty groups have no design effect; their estimates are NaN anyway."""
    return np.where(np.isfinite(deff), deff, 1.0)
