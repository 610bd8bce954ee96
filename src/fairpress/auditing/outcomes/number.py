"""Numbers: errors of numeric predictions against a numeric label, and numbers that each model was given per row."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fairpress.auditing.cells.grouping import Grouping
from fairpress.auditing.measure import DIGITS, MAX_DECIMALS, Measure, decimals_for
from fairpress.auditing.outcome import OutcomeRequest
from fairpress.auditing.outcomes.row_table import TOO_FEW, RowTable
from fairpress.auditing.result import Margin
from fairpress.auditing.statistics.t_estimate import Floats
from fairpress.core.errors import UserError

LARGEST = 1e100
"""Values from here on have no variance that a computer can hold."""


@dataclass(frozen=True)
class NumberValues:
    """Numbers of one metric: model → value of each row; the level of a group is their mean."""

    metrics: tuple[str, ...]
    by_model: Mapping[str, Floats]
    higher_is_better: bool
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    undefined: str = TOO_FEW

    def values(self, model: str, metric: str, grouping: Grouping) -> Floats:
        """Return the numbers of a model [rows]; they are the same for every grouping."""
        return self.by_model[model]

    def row_losses(self, model: str, baseline: str, metric: str) -> Floats:
        """Return by how much each row is worse under a model than under the baseline [rows]."""
        difference = self.by_model[model] - self.by_model[baseline]
        return -difference if self.higher_is_better else difference


@dataclass(frozen=True)
class PredictionError:
    """``abs_error=age``, ``squared_error=age``: the distance of a model's prediction from the label of the row."""

    word: str
    squared: bool
    settings: frozenset[str] = frozenset()
    needs_margin: bool = True
    linear: bool = True

    def columns(
        self, request: OutcomeRequest, models: Sequence[str], label: str, present: Collection[str]
    ) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Return the label's column and those of the models."""
        name = self._label(request, label)
        if name in models:
            raise UserError(f"the label {name!r} is not a model; name the column that a model predicted.")
        roles = {m: f"the predictions of model {m!r}" for m in models}
        return {name: "the label"} | roles, {}

    def title(self, request: OutcomeRequest) -> str:
        """Return what a value is."""
        how = "squared distance" if self.squared else "distance"
        return f"The {how} of a model's prediction from {request.columns or 'the label'}, averaged over rows."

    def margin_of(self, given: str, request: OutcomeRequest) -> Margin | None:
        """Return None: a margin is a number in the unit of the label (squared, for squared errors)."""
        return None

    def measures(self, request: OutcomeRequest, margins: Mapping[str, Margin]) -> Mapping[str, Measure]:
        """Return the measure: a mean error in the label's unit."""
        name = "mean squared error" if self.squared else "mean absolute error"
        unit = request.settings.get("unit", "")
        if self.squared and unit:
            unit = f"{unit}²"
        return {self.word: Measure(name, "error", unit, unit, decimals=decimals_of(margins, self.word))}

    def bind(
        self, request: OutcomeRequest, table: RowTable, models: Sequence[str], label: str
    ) -> NumberValues:
        """Return the errors of every model."""
        truth = table.numbers[self._label(request, label)]
        with np.errstate(over="ignore"):
            errors = {m: np.abs(table.numbers[m] - truth) for m in models}
            if self.squared:
                errors = {m: e**2 for m, e in errors.items()}
        _refuse_overflow(errors, table.name)
        middle = np.median(truth) if not self.squared else truth.mean()
        constant = np.abs(truth - middle) ** (2 if self.squared else 1)
        return NumberValues(
            (self.word,), errors, False, tuple(_worse_than_constant(models[0], errors, constant, middle))
        )

    def _label(self, request: OutcomeRequest, label: str) -> str:
        if not request.columns:
            return label
        if label not in ("label", request.columns):
            raise UserError(
                f"the label is named twice: {label!r} with `label=`, and {request.columns!r} in "
                f"`outcome={str(request)!r}`; leave `label=` out."
            )
        return request.columns


@dataclass(frozen=True)
class PlainNumber:
    """``score,better=higher``, ``number,better=lower,unit=ms``: the column of a model holds the value of each row."""

    word: str
    settings: frozenset[str] = frozenset({"better"})
    needs_margin: bool = True
    linear: bool = True

    def columns(
        self, request: OutcomeRequest, models: Sequence[str], label: str, present: Collection[str]
    ) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Return the columns of the models; ``M`` or, with ``score=loss``, ``M.loss``."""
        if "better" not in request.settings:
            raise UserError(
                f"`outcome={str(request)!r}` does not say whether larger numbers are better; write "
                f"{self.word},better=higher (a score, a log-likelihood) or {self.word},better=lower (a latency, an error)."
            )
        return {column_of(m, request): f"the values of model {m!r}" for m in models}, {}

    def title(self, request: OutcomeRequest) -> str:
        """Return what a value is."""
        what = request.columns or ("score" if self.word == "score" else "number")
        better = request.settings["better"]
        return (
            f"The {what} that the table has for each row and model, averaged over rows; {better} is better."
        )

    def margin_of(self, given: str, request: OutcomeRequest) -> Margin | None:
        """Return None: a margin is a number in the unit of the values."""
        return None

    def measures(self, request: OutcomeRequest, margins: Mapping[str, Margin]) -> Mapping[str, Measure]:
        """Return the measure: a mean."""
        what = request.columns or ("score" if self.word == "score" else "value")
        unit = request.settings.get("unit", "")
        higher = request.settings.get("better") == "higher"
        decimals = decimals_of(margins, self.word)
        return {self.word: Measure(f"mean {what}", what, unit, unit, 1.0, decimals, higher)}

    def bind(
        self, request: OutcomeRequest, table: RowTable, models: Sequence[str], label: str
    ) -> NumberValues:
        """Return the numbers of every model."""
        by_model = {m: table.numbers[column_of(m, request)] for m in models}
        _refuse_overflow(by_model, table.name)
        return NumberValues((self.word,), by_model, request.settings["better"] == "higher")


def column_of(model: str, request: OutcomeRequest) -> str:
    """Return the column of a model's values: ``M``, or ``M.COLUMNS`` where the outcome names a column."""
    return f"{model}.{request.columns}" if request.columns else model


def decimals_of(margins: Mapping[str, Margin], metric: str, scale: float = 1.0) -> int:
    """Return the decimals in which a metric is written: those of its margin, if it is known and absolute."""
    margin = margins.get(metric, margins.get("default"))
    return (
        DIGITS if margin is None or margin.relative else min(decimals_for(scale * margin.value), MAX_DECIMALS)
    )


def _refuse_overflow(by_model: Mapping[str, Floats], source_name: str) -> None:
    for model, values in by_model.items():
        if not np.abs(values).max(initial=0) < LARGEST:
            raise UserError(
                f"{source_name}: values of model {model!r} reach {LARGEST:g}, too large to be squared; rescale them."
            )


def _worse_than_constant(
    baseline: str, errors: Mapping[str, Floats], constant: Floats, middle: float
) -> Sequence[str]:
    if errors[baseline].mean() <= constant.mean() * (1 + 1e-12):
        return ()
    return (
        f"The baseline {baseline!r} errs by {errors[baseline].mean():.4g} on average, more than always predicting "
        f"{middle:.4g} would ({constant.mean():.4g}): check that its column and the label are in the same unit.",
    )


KINDS = (
    PredictionError("abs_error", squared=False),
    PredictionError("squared_error", squared=True),
    PlainNumber("score"),
    PlainNumber("number"),
)
