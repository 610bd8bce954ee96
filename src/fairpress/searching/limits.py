"""The limits that a search supports, by the names that users give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fairpress.core.config import parse
from fairpress.core.errors import UserError

Objective = Literal["bytes", "latency", "accuracy"]

GAPS: Mapping[str, tuple[str, ...]] = {
    "dp": ("selection_rate",),
    "eo": ("tpr",),
    "eodds": ("tpr", "fpr"),
    "accuracy": ("accuracy",),
}
"""Gap → the rates whose largest difference between two groups defines it."""


class Limits(BaseModel):
    """Limits on the shipped model; None for no limit.

    Attributes
    ----------
    max_group_loss
        Largest loss of any group compared with the baseline on the same rows, as a share: a decrease in accuracy or TPR,
        or an increase in FPR.
    max_loss, min_accuracy
        Largest loss of overall accuracy; smallest overall accuracy.
    max_dp_gap, max_eo_gap, max_eodds_gap, max_accuracy_gap
        Largest difference between two groups of one attribute in selection rate, TPR, TPR or FPR, accuracy.
    max_dp_gap_rise, …
        Largest increase of these gaps by compression.
    max_bytes, max_latency_ms
        Size of the shipped file; latency of a call with one row on this machine.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_group_loss: float | None = Field(default=None, gt=0, lt=1)
    max_loss: float | None = Field(default=None, gt=0, lt=1)
    min_accuracy: float | None = Field(default=None, gt=0, lt=1)
    max_dp_gap: float | None = Field(default=None, gt=0, lt=1)
    max_eo_gap: float | None = Field(default=None, gt=0, lt=1)
    max_eodds_gap: float | None = Field(default=None, gt=0, lt=1)
    max_accuracy_gap: float | None = Field(default=None, gt=0, lt=1)
    max_dp_gap_rise: float | None = Field(default=None, gt=0, lt=1)
    max_eo_gap_rise: float | None = Field(default=None, gt=0, lt=1)
    max_eodds_gap_rise: float | None = Field(default=None, gt=0, lt=1)
    max_accuracy_gap_rise: float | None = Field(default=None, gt=0, lt=1)
    max_bytes: int | None = Field(default=None, ge=1, le=2**63 - 1)
    max_latency_ms: float | None = Field(default=None, gt=0, le=1e9)

    @model_validator(mode="after")
    def _check_not_empty(self) -> Limits:
        if not self.on_rows():
            raise ValueError(
                "no limit is set on any group: set at least one of max_group_loss, max_loss, min_accuracy, "
                "max_dp_gap … (limits on bytes and latency alone do not need a search)"
            )
        return self

    def given(self) -> dict[str, float]:
        """Return name → value of the limits that are set."""
        return {name: value for name, value in self.model_dump().items() if value is not None}

    def on_rows(self) -> dict[str, float]:
        """Return name → value of the limits on quantities that are estimated from rows."""
        return {n: v for n, v in self.given().items() if n not in ("max_bytes", "max_latency_ms")}


def limits_of(given: Mapping[str, Any]) -> Limits:
    """Return the limits given by the user. Raises UserError for an unknown name, with a suggestion."""
    return parse(Limits, {k: v for k, v in given.items() if v is not None}, "constraints")


def check_rates(limits: Limits, positive: str | None) -> None:
    """Raise UserError if a limit is on rates of a positive class and the task has none."""
    if positive is not None:
        return
    for name in limits.on_rows():
        gap = name.removeprefix("max_").removesuffix("_rise").removesuffix("_gap")
        if "_gap" in name and gap != "accuracy":
            raise UserError(
                f"{name} needs a positive class, and this task has none; use max_accuracy_gap or max_group_loss."
            )
