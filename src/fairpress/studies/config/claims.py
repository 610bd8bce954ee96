"""What a claim may say."""

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
    "lost_answers",
    "sensitivity_depth",
]
LOSSES = ("loss", "worst_group_loss", "loss_gap", "flips", "lost_answers")
"""Quantities that are measured against the baseline on the same rows, so that nothing else is needed."""
OF_A_METRIC = ("loss", "worst_group_loss", "loss_gap")
"""Quantities that are the loss of a metric; all others say themselves what is measured."""
SINGLE = ("sensitivity_depth",)
"""Quantities of one network by itself that 0 is the yardstick of."""
OF_EVERYBODY = ("accuracy", "flips", "lost_answers")
"""Quantities of all rows together; `loss` is one too, unless it is of a group."""
OTHERS = ("baseline", "placebo", "plain")


class Claim(BaseModel):
    """A statement on two sets of trials and a quantity, such as "pruning by 80 % raises the bias by race".

    The effect is the mean of the quantity over `of` minus its mean over `against`, or with `along` the slope per step.

    Attributes
    ----------
    says
        The statement in words.
    source
        Who says so.
    published
        Their number or evidence, in words.
    of, against
        Filters with the words of ``--only`` (dataset, model, recipe): ``recipe=prune-80`` or
        ``[model=resnet50, recipe=int4]``. Without a recipe, baselines are meant. `against` may be ``baseline`` (the
        default: fp32 of the same dataset and model), ``placebo`` or ``plain`` (each recipe's own control, its own plain
        counterpart).
    along
        ``recipe`` or ``model`` → at least three, in the order in which the quantity is said to rise or fall.
    quantity
        What is measured. Losses are oriented so that positive is worse, and are against the baseline on the same rows.
    metric
        Of `loss`, `worst_group_loss` and `loss_gap`: what is lost.
    by
        A sensitive attribute of the audit, or an intersection of it; the first of the audit where nothing is said.
    groups
        The groups compared; all with 30 rows of either label where nothing is said.
    group, against_group, times
        Of `loss`: a group by its name (``Female, 60+`` of an intersection) or ``smallest``; what is taken off: ``rest`` or
        another group, so many times.
    change
        Take the quantity's change against the baseline of the same dataset and model.
    expect, than
        ``more``, ``less`` or ``differs``: how the effect is said to be to `than`.
    recovers
        Claim that `of` wins back at least this share of what `against` loses against the baseline. In place of `expect`.
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

    @field_validator("of", "against", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return [value] if isinstance(value, str) and value not in OTHERS else value

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if self.metric != "accuracy" and self.quantity not in OF_A_METRIC:
            raise ValueError(f"`metric` goes with the quantities {', '.join(OF_A_METRIC)}")
        if self.quantity in SINGLE and (self.against is not None or self.along is not None):
            raise ValueError(f"{self.quantity} is held against 0; leave `against` and `along` out")
        if self.along is not None:
            if self.against is not None or self.recovers is not None:
                raise ValueError("a claim with `along` has no `against` and no `recovers`")
            if any(len(set(v)) < 3 for v in self.along.values()):
                raise ValueError(
                    "`along` needs three or more different entries; for two write `of` and `against`"
                )
        elif not self.of:
            raise ValueError("say `of`, such as recipe=int8, or `along`")
        if self.group is not None and self.quantity != "loss":
            raise ValueError("`group` goes with the quantity `loss`")
        if self.against_group is not None and self.group is None:
            raise ValueError("`against_group` needs `group`")
        if self.groups is not None:
            if self.quantity in (*OF_EVERYBODY, *SINGLE) or (self.quantity == "loss" and self.group is None):
                raise ValueError(f"{self.quantity} is of everybody together; leave `groups` out")
            if self.quantity == "loss" and self.group != "smallest":
                raise ValueError("`groups` are those that `group: smallest` is looked for among")
        if self.times != 1.0 and self.against_group is None:
            raise ValueError("`times` needs `against_group`: whose loss is taken so many times")
        if self.change and self.quantity in (*LOSSES, *SINGLE):
            raise ValueError(f"{self.quantity} is no level that could change; leave `change` out")
        if self.recovers is not None and (self.against is None or self.quantity in SINGLE):
            raise ValueError("`recovers` needs `against`: what lost something that `of` wins back")
        if self.recovers is not None and self.quantity in ("accuracy", "worst_group_accuracy"):
            raise ValueError("`recovers` needs a quantity of which more is worse, such as loss or a gap")
        return self
