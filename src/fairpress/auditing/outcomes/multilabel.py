"""Several labels of each row (CelebA's 40 attributes): the error of every label, and the share of a row's that is wrong.

The labels of a row are of one person and go wrong together, so that the pooled error is a mean of one number for each row,
its share of wrong labels. Every label is judged besides, as an error of 0 or 1; all are one family.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fairpress.auditing.cells.cells import EncodedTable
from fairpress.auditing.cells.grouping import Grouping
from fairpress.auditing.measure import Measure
from fairpress.auditing.outcome import OutcomeRequest
from fairpress.auditing.outcomes.number import decimals_of
from fairpress.auditing.outcomes.preference import margin_in_points
from fairpress.auditing.outcomes.row_table import TOO_FEW, RowTable
from fairpress.auditing.result import Margin
from fairpress.auditing.statistics.t_estimate import Floats
from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.estimate import Estimate

LABELS = "labels"
_PREFIX = "label:"


class LabelMeasures(dict[str, Measure]):
    """Measures by metric; that of a single label is made when it is looked up."""

    def __init__(self, decimals: int) -> None:
        self.decimals = decimals
        super().__init__({LABELS: self._measure("share of wrong labels", "labels")})

    def __missing__(self, metric: str) -> Measure:
        name = metric.removeprefix(_PREFIX)
        return self._measure(f"error rate of {name}", name)

    def _measure(self, name: str, short: str) -> Measure:
        return Measure(name, short, "points", "percentage points", 100.0, self.decimals)


@dataclass(frozen=True)
class LabelValues:
    """Where each label of each row is wrong, by model: arrays [labels, rows] of 0 and 1."""

    labels: tuple[str, ...]
    wrong: Mapping[str, Floats]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    undefined: str = TOO_FEW
    folded: frozenset[str] = frozenset()

    @property
    def metrics(self) -> tuple[str, ...]:
        """The share of wrong labels, which decides, and the error of every label."""
        return (LABELS, *(_PREFIX + name for name in self.labels))

    def values(self, model: str, metric: str, grouping: Grouping) -> Floats:
        """Return the share of wrong labels of each row, or whether one label is wrong [rows]."""
        if metric == LABELS:
            return np.asarray(self.wrong[model].mean(axis=0))
        return np.asarray(self.wrong[model][self.labels.index(metric.removeprefix(_PREFIX))])

    def reach(self, models: Sequence[str], metric: str, grouping: Grouping) -> Floats:
        """Return 1: a label, or all labels of a row, go wrong."""
        return np.ones(grouping.size)

    def share(self, models: Sequence[str], metric: str, grouping: Grouping) -> Floats:
        """Return 1: every row counts."""
        return np.ones(grouping.size)

    def row_losses(self, model: str, baseline: str, metric: str) -> Floats:
        """Return by how much the share of wrong labels of each row grows [rows]."""
        return np.asarray((self.wrong[model] - self.wrong[baseline]).mean(axis=0))

    def details(self, model: str, grouping: Grouping, confidence: float) -> Mapping[str, list[Estimate]]:
        """Return nothing more."""
        return {}


@dataclass(frozen=True)
class MultiLabel:
    """``multilabel``: columns label.X and M.X for every label X; ``multilabel=X/Y`` only these labels."""

    word: str = "multilabel"
    settings: frozenset[str] = frozenset()
    needs_margin: bool = True
    linear: bool = False

    def columns(
        self, request: OutcomeRequest, models: Sequence[str], label: str, present: Collection[str]
    ) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Return the columns of the labels and of every model's predictions."""
        names = self._labels(request, label, present)
        texts = {f"{label}.{x}": f"the label {x!r}" for x in names}
        texts |= {f"{m}.{x}": f"the predictions of {x!r} by model {m!r}" for m in models for x in names}
        return {}, texts

    def title(self, request: OutcomeRequest) -> str:
        """Return what a value is."""
        return "The share of a row's labels that a model predicts wrongly, averaged over rows; and the error of every label."

    def margin_of(self, given: str, request: OutcomeRequest) -> Margin | None:
        """Return a margin in percentage points: ``2pp`` is 0.02."""
        return margin_in_points(given)

    def measures(self, request: OutcomeRequest, margins: Mapping[str, Margin]) -> Mapping[str, Measure]:
        """Return the measures: points of the share of wrong labels, and of every label's error."""
        return LabelMeasures(decimals_of(margins, LABELS, 100.0))

    def bind(
        self, request: OutcomeRequest, table: RowTable, models: Sequence[str], label: str
    ) -> LabelValues:
        """Return where labels are wrong. Raises UserError where a model predicts what is never a label."""
        names = self._labels(request, label, table.texts)
        wrong = {}
        for m in models:
            rows = []
            for x in names:
                truth, predicted = table.texts[f"{label}.{x}"], table.texts[f"{m}.{x}"]
                unknown = [v for v in predicted.names if v not in truth.names]
                if unknown and len(truth.names) > 1:
                    raise UserError(
                        f"{table.name}: {f'{m}.{x}'!r} holds {unknown[0]!r}, which the label {x!r} never is "
                        f"({', '.join(truth.names[:5])}); write both alike."
                    )
                rows.append(_differ(truth, predicted))
            wrong[m] = np.array(rows, dtype=float)
        constant = [x for x in names if len(table.texts[f"{label}.{x}"].names) == 1]
        notes = (f"Labels that are the same in every row: {', '.join(constant)}.",) if constant else ()
        return LabelValues(names, wrong, notes)

    def _labels(self, request: OutcomeRequest, label: str, present: Collection[str]) -> tuple[str, ...]:
        names_present = [c.removeprefix(f"{label}.") for c in present if c.startswith(f"{label}.")]
        if not request.columns:
            if len(names_present) < 2:
                raise UserError(
                    f"`outcome='{self.word}'` needs columns such as {label}.smiling and {label}.young, and int8.smiling and "
                    "int8.young of every model; several labels in one column must be split."
                )
            return tuple(names_present)
        names = tuple(x.strip() for x in request.columns.split("/"))
        unknown = next((x for x in names if x not in names_present), None)
        if unknown is not None:
            raise UserError(
                f"`outcome={str(request)!r}`: there is no column {f'{label}.{unknown}'!r}."
                + did_you_mean(unknown, names_present)
            )
        if len(set(names)) < len(names):
            raise UserError(f"`outcome={str(request)!r}` names a label twice.")
        return names


def _differ(first: EncodedTable, second: EncodedTable) -> np.ndarray:
    """Return where two columns have different texts [rows]."""
    lookup = {name: i for i, name in enumerate(first.names)}
    codes = np.array([lookup.get(name, -1) for name in second.names], dtype=np.int64)
    return np.asarray(codes[second.codes] != first.codes)


KINDS = (MultiLabel(),)
