"""What a model must keep to: every limit that a search knows, by the name a user gives it."""

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
"""Gap → the rates whose largest difference between two groups it is."""


class Limits(BaseModel):
    """Limits on what is shipped; None where nothing is asked.

    Attributes
    ----------
    max_group_loss
        What no group may lose: of accuracy and TPR, or gain in FPR, against the baseline on the same rows. Shares.
    max_loss, min_accuracy
        What everybody together may lose of accuracy; the accuracy that must be left.
    max_dp_gap, max_eo_gap, max_eodds_gap, max_accuracy_gap
        Largest difference between two groups of one attribute in selection rate, TPR, TPR or FPR, accuracy.
    max_dp_gap_rise, …
        By how much compression may drive any two groups further apart in the same rates.
    max_bytes, max_latency_ms
        Of the shipped file; of a call with one row on this machine.
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
    def _something_is_asked(self) -> Limits:
        if not self.on_rows():
            raise ValueError(
                "nothing is asked for any group: say at least one of max_group_loss, max_loss, min_accuracy, "
                "max_dp_gap … (bytes and latency alone need no search for fairness)"
            )
        return self

    def said(self) -> dict[str, float]:
        """Return name → limit of what is asked."""
        return {name: value for name, value in self.model_dump().items() if value is not None}

    def on_rows(self) -> dict[str, float]:
        """Return name → limit of what is estimated from rows, which has a confidence bound."""
        return {n: v for n, v in self.said().items() if n not in ("max_bytes", "max_latency_ms")}


def limits_of(said: Mapping[str, Any]) -> Limits:
    """Return the limits a user said. Raises UserError for a name that is none, and what was probably meant."""
    return parse(Limits, {k: v for k, v in said.items() if v is not None}, "constraints")


def check_rates(limits: Limits, positive: str | None) -> None:
    """Raise UserError where a limit is on rates of a positive class and the task has none."""
    if positive is not None:
        return
    for name in limits.on_rows():
        gap = name.removeprefix("max_").removesuffix("_rise").removesuffix("_gap")
        if "_gap" in name and gap != "accuracy":
            raise UserError(
                f"{name} speaks of a positive class and this task has none; take max_accuracy_gap or max_group_loss."
            )
