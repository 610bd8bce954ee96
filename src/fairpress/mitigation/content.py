"""The schema of mitigation.json: types of all fields that `predict` and `show` read."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from fairpress.core.card_content import Count, Share
from fairpress.mitigation.calibrated_equalized_odds import Calibration, Cost
from fairpress.mitigation.thresholds import Constraint


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Group(_Closed):
    values: dict[str, str]
    n: Count
    positives: Count
    reason: str = ""

    @model_validator(mode="after")
    def _check_counts(self) -> Self:
        if self.positives > self.n:
            raise ValueError("has more `positives` than rows `n`")
        return self


class _MixedGroup(_Group):
    slope: FiniteFloat = 1.0
    intercept: FiniteFloat = 0.0
    cost: FiniteFloat | None = None
    trivial_cost: FiniteFloat | None = None
    mixing_rate: Share = 0.0
    expected_cost: FiniteFloat | None = None
    feasible: bool = True
    base_rate: FiniteFloat | None = None

    @model_validator(mode="after")
    def _check_mixing(self) -> Self:
        if self.mixing_rate and not self.n:
            raise ValueError("has a `mixing_rate` and no rows whose base rate could be mixed in")
        if not self.feasible and self.cost is not None and self.trivial_cost is None:
            raise ValueError("is not `feasible` and has no `trivial_cost`")
        return self


class _Rule(_Closed):
    weight: Share
    above: bool
    threshold: FiniteFloat | Literal["inf", "-inf"]


class _ThresholdGroup(_Group):
    ignored: Share = 0.0
    constant: Share = 0.0
    rules: Annotated[list[_Rule], Field(max_length=2)] = Field(default_factory=list)


class _Content(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)

    model: str
    fitted_on: dict[str, Any]
    by: Annotated[list[str], Field(min_length=1)]
    seed: Count

    def _check_values(self, groups: list[Any]) -> None:
        for group in groups:
            if set(group.values) != set(self.by):
                raise ValueError("the `values` of a group are not those of `by`")


class MixingContent(_Content):
    """The schema for the method calibrated-equalized-odds."""

    cost: Cost
    calibration: Calibration
    groups: list[_MixedGroup]

    @model_validator(mode="after")
    def _check_group_values(self) -> Self:
        self._check_values(self.groups)
        return self


class ThresholdsContent(_Content):
    """The schema for the method thresholds."""

    constraint: Constraint
    groups: list[_ThresholdGroup]

    @model_validator(mode="after")
    def _check_group_values(self) -> Self:
        self._check_values(self.groups)
        return self
