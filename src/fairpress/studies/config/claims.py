"""The schema of a claim."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Quantity = Literal[
    "accuracy",
    "accuracy_gap",
    "worst_group_accuracy",
    "demographic_parity_difference",
    "equal_opportunity_difference",
    "predictive_equality_difference",
    "equalized_odds_difference",
    "average_odds_difference",
    "pairwise_bias",
    "loss",
    "worst_group_loss",
    "loss_gap",
    "flips",
    "worst_group_flips",
    "flips_gap",
    "lost_answers",
    "sensitivity_depth",
]
FLIPS = ("flips", "worst_group_flips", "flips_gap")
"""Shares of rows whose answer differs from the baseline's."""
LOSSES = ("loss", "worst_group_loss", "loss_gap", *FLIPS, "lost_answers")
"""Quantities relative to the baseline on the same rows; they need no other reference."""
METRIC_LOSSES = ("loss", "worst_group_loss", "loss_gap")
"""Quantities that are the loss of a metric; the names of all others define what is measured."""
SINGLE_NETWORK = ("sensitivity_depth",)
"""Quantities of a single network, compared with 0."""
OVERALL = ("accuracy", "flips", "lost_answers")
"""Quantities over all rows; `loss` is one too, unless it is of a group."""
REFERENCES = ("baseline", "placebo", "plain")


class Claim(BaseModel):
    """A statement about a quantity in two sets of trials, such as "pruning by 80 % raises the bias by race".

    The effect is the mean of the quantity over `of` minus its mean over `against`, or with `along` the slope per step.

    Attributes
    ----------
    says
        The statement in words.
    source
        The source of the statement.
    published
        The number or evidence of the source, in words.
    of, against
        Filters in the syntax of ``only`` (dataset, model, recipe): ``recipe=prune-80`` or
        ``[model=resnet50, recipe=int4]``. Without a recipe they select baselines. `against` may also be ``baseline`` (the
        default: fp32 of the same dataset and model), ``placebo`` or ``plain`` (the placebo or plain counterpart of each
        recipe).
    along
        ``recipe`` or ``model`` → at least three of them, in the order in which the quantity is claimed to rise or fall.
    quantity
        The quantity. Losses are relative to the baseline on the same rows; positive is worse.
    metric
        For `loss`, `worst_group_loss` and `loss_gap`: the metric.
    by
        A sensitive attribute of the audit, or an intersection; by default the first of the audit.
    groups
        The groups compared; by default all with at least 30 rows of each label.
    group, against_group, times
        For `loss`: a group by name (``Female, 60+`` of an intersection) or ``smallest``; the group whose loss, multiplied
        by `times`, is subtracted: ``rest`` or the name of a group.
    change
        Use the change of the quantity relative to the baseline of the same dataset and model.
    expect, than
        ``more``, ``less`` or ``differs``: the claimed relation of the effect to `than`.
    recovers
        Instead of `expect`: `of` recovers at least this share of what `against` loses relative to the baseline.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    says: str = Field(min_length=1)
    source: str = ""
    published: str = ""
    of: tuple[str, ...] = ()
    against: tuple[str, ...] | Literal["baseline", "placebo", "plain"] | None = None
    along: dict[Literal["recipe", "model"], tuple[str, ...]] | None = Field(
        default=None, min_length=1, max_length=1
    )
    quantity: Quantity
    metric: Literal["accuracy", "tpr", "fpr"] = "accuracy"
    by: str | None = None
    groups: tuple[str, ...] | None = Field(default=None, min_length=2)
    group: str | None = None
    against_group: str | None = None
    times: float = Field(default=1.0, gt=0, le=1e9)
    change: bool = False
    expect: Literal["more", "less", "differs"] = "more"
    than: float = 0.0
    recovers: float | None = Field(default=None, gt=0, le=1)

    @field_validator("of", "against", mode="before", json_schema_input_type=str | list[str])
    @classmethod
    def _listed(cls, value: object) -> object:
        return [value] if isinstance(value, str) and value not in REFERENCES else value

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if self.metric != "accuracy" and self.quantity not in METRIC_LOSSES:
            raise ValueError(f"`metric` applies only to the quantities {', '.join(METRIC_LOSSES)}")
        if self.quantity in SINGLE_NETWORK and (self.against is not None or self.along is not None):
            raise ValueError(f"{self.quantity} is compared with 0; remove `against` and `along`")
        if self.along is not None:
            if self.against is not None or self.recovers is not None:
                raise ValueError("`along` cannot be combined with `against` or `recovers`; remove them")
            if any(len(set(v)) < 3 for v in self.along.values()):
                raise ValueError(
                    "`along` needs three or more different entries; for two write `of` and `against`"
                )
        elif not self.of:
            raise ValueError("the claim names no trials; add `of`, such as recipe=int8, or `along`")
        if self.group is not None and self.quantity != "loss":
            raise ValueError("`group` applies only to the quantity `loss`")
        if self.against_group is not None and self.group is None:
            raise ValueError("`against_group` needs `group`")
        if self.groups is not None:
            if self.quantity in (*OVERALL, *SINGLE_NETWORK) or (
                self.quantity == "loss" and self.group is None
            ):
                raise ValueError(f"{self.quantity} is over all rows; remove `groups`")
            if self.quantity == "loss" and self.group != "smallest":
                raise ValueError("with `loss`, `groups` needs `group: smallest`, which is chosen among them")
        if self.times != 1.0 and self.against_group is None:
            raise ValueError("`times` needs `against_group`, the group whose loss it multiplies")
        if self.change and self.quantity in (*LOSSES, *SINGLE_NETWORK):
            raise ValueError(f"{self.quantity} is not defined as a change from the baseline; remove `change`")
        if self.recovers is not None and (self.against is None or self.quantity in SINGLE_NETWORK):
            raise ValueError("`recovers` needs `against`, the trials whose loss `of` recovers")
        if self.recovers is not None and self.quantity in ("accuracy", "worst_group_accuracy"):
            raise ValueError("`recovers` needs a quantity that is worse when larger, such as loss or a gap")
        return self
