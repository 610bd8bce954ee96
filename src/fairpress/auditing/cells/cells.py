"""Cells: counts of each combination of group, label and the predictions of all models, the basis of every estimate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from fairpress.auditing.cells.grouping import Grouping
from fairpress.auditing.cells.positive_class import Origin
from fairpress.auditing.class_recall import is_class_metric, rows_of_class
from fairpress.auditing.statistics.t_estimate import Floats
from fairpress.core.attribute import Attribute


@dataclass(frozen=True)
class EncodedTable:
    """A column as sorted names and, per cell, the index of its name."""

    names: tuple[str, ...]
    codes: np.ndarray


@dataclass(frozen=True)
class Cells:
    """Counts of combinations, coded; every array has one entry per combination.

    Attributes
    ----------
    attributes
        Name → groups; a missing value is its own group, ``"(missing)"``.
    label, predicted
        Index of the class in `classes`, of the label and of each model.
    rows
        Rows of each combination.
    weight, weight_squares
        Σw and Σw² over those rows, scaled so that weights have mean one; equal to `rows` without weights.
    weight_scale
        What the weights were multiplied by.
    classes, positive
        All classes as text, and the positive one; None when there are more than two classes and none was named.
    positive_from
        How the positive class was chosen (`positive_class.PositiveClass`).
    rare_classes
        Classes that are judged together because each has too few rows (`class_recall.rare_classes`).
    keys
        Index of the subject, seed and row of each combination, where these columns were requested.
    """

    attributes: Mapping[str, EncodedTable]
    label: np.ndarray
    predicted: Mapping[str, np.ndarray]
    rows: Floats
    weight: Floats
    weight_squares: Floats
    classes: tuple[str, ...]
    positive: str | None
    keys: Mapping[str, np.ndarray] = field(default_factory=dict)
    weight_scale: float = 1.0
    positive_from: Origin | None = None
    rare_classes: tuple[str, ...] = ()
    _groupings: dict[Attribute, Grouping] = field(default_factory=dict, init=False, repr=False, compare=False)

    def grouping(self, attribute: Attribute) -> Grouping:
        """Return the groups of an attribute in sorted order, and each combination's; computed once per attribute."""
        if attribute not in self._groupings:
            self._groupings[attribute] = self._group_by(attribute)
        return self._groupings[attribute]

    def _group_by(self, attribute: Attribute) -> Grouping:
        if not attribute.names:
            return Grouping(attribute, ({},), np.zeros(len(self.label), dtype=np.int64))
        shape, flat = self._flat(attribute)
        present, index = np.unique(flat, return_inverse=True)
        columns = [self.attributes[name].names for name in attribute.names]
        groups = (
            {name: texts[int(c)] for name, texts, c in zip(attribute.names, columns, position, strict=True)}
            for position in zip(*np.unravel_index(present, shape), strict=True)
        )
        return Grouping(attribute, tuple(groups), index.reshape(-1))

    def _flat(self, attribute: Attribute) -> tuple[tuple[int, ...], np.ndarray]:
        """Return the number of values per name, and each combination's position in their product."""
        parts = [self.attributes[name] for name in attribute.names]
        shape = tuple(len(p.names) for p in parts)
        return shape, np.ravel_multi_index(tuple(p.codes for p in parts), shape)

    def grouping_as(self, other: Cells, attribute: Attribute) -> Grouping:
        """Return the groups of other cells of the same names, and the group of each combination of these cells."""
        if not attribute.names:
            return self.grouping(attribute)
        index = np.searchsorted(np.unique(other._flat(attribute)[1]), self._flat(attribute)[1])
        return Grouping(attribute, other.grouping(attribute).values, index)

    def select(self, lines: np.ndarray | slice) -> Cells:
        """Return the cells of the given combinations only."""
        rows, weight, weight_squares = self._counts_of(lines)
        return replace(
            self,
            attributes={k: EncodedTable(c.names, c.codes[lines]) for k, c in self.attributes.items()},
            label=self.label[lines],
            predicted={k: v[lines] for k, v in self.predicted.items()},
            rows=rows,
            weight=weight,
            weight_squares=weight_squares,
            keys={k: v[lines] for k, v in self.keys.items()},
        )

    def _counts_of(self, lines: np.ndarray | slice) -> tuple[Floats, Floats, Floats]:
        """Return the rows and weights of some combinations; without weights all three are one array, and stay so."""
        rows = self.rows[lines]
        if self.weight is self.rows and self.weight_squares is self.rows:
            return rows, rows, rows
        return rows, self.weight[lines], self.weight_squares[lines]

    def with_counts(self, rows: Floats, weight: Floats, weight_squares: Floats) -> Cells:
        """Return the same combinations with other numbers of rows and weights."""
        return replace(self, rows=rows, weight=weight, weight_squares=weight_squares)

    def rates_of(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the rates that are defined: without a positive class, only accuracy."""
        return names if self.positive is not None else ("accuracy",)

    def correct(self, model: str) -> np.ndarray:
        """Return where the model predicts the label."""
        return np.asarray(self.predicted[model] == self.label)

    def binary(self, codes: np.ndarray) -> np.ndarray:
        """Return 1 where a class index is the positive class, else 0."""
        if self.positive is None:
            raise ValueError("there is no positive class")
        return np.asarray(codes == self.classes.index(self.positive), dtype=np.int64)

    def indicator(self, model: str, rate: str) -> Floats:
        """Return the indicator whose mean is the rate: 0 or 1, and NaN outside the rate's denominator.

        Accuracy is over all classes, the recall of a class (`class_recall`) over the rows of that class; the others are the
        positive class against the rest.
        """
        if rate == "accuracy":
            return np.asarray(self.correct(model), dtype=float)
        if is_class_metric(rate):
            return np.where(self.rows_in(rate), self.correct(model), np.nan)
        if self.positive is None:
            raise ValueError("there is no positive class")
        positive = self.classes.index(self.positive)
        y, p = self.label == positive, self.predicted[model] == positive
        match rate:
            case "selection_rate":
                return np.asarray(p, dtype=float)
            case "tpr" | "fnr":
                return np.where(y, p if rate == "tpr" else ~p, np.nan)
            case "fpr" | "tnr":
                return np.where(y, np.nan, p if rate == "fpr" else ~p)
            case "ppv":
                return np.where(p, y, np.nan)
            case "npv":
                return np.where(p, np.nan, ~y)
        raise ValueError(f"there is no rate {rate!r}")

    def rows_in(self, metric: str) -> np.ndarray:
        """Return where a row is in the denominator of a judged metric, which labels alone determine [combinations]."""
        if is_class_metric(metric):
            return rows_of_class(metric, self.label, self.classes, self.rare_classes)
        if metric in ("tpr", "fpr"):
            return np.asarray(self.binary(self.label) == (1 if metric == "tpr" else 0))
        return np.ones(len(self.label), bool)

    def pair(self, baseline: str, compressed: str, grouping: Grouping) -> Floats:
        """Return weighted cells [groups, label, ŷ baseline, ŷ compressed] of the positive class against the rest."""
        y, a, b = (self.binary(v) for v in (self.label, self.predicted[baseline], self.predicted[compressed]))
        cell = ((grouping.index * 2 + y) * 2 + a) * 2 + b
        sums = np.bincount(cell, weights=self.weight, minlength=8 * grouping.size)
        return np.asarray(sums, dtype=float).reshape(grouping.size, 2, 2, 2)
