"""Fairness options of a training, shared by training and recipes that fine-tune; does not import torch."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Method = Literal["penalty", "fairalm", "ceag"]
Constraint = Literal["demographic_parity", "equal_opportunity", "predictive_equality", "equalized_odds"]
# Option → the methods that read it.
READ_BY: dict[str, tuple[Method, ...]] = {
    "constraint": ("penalty", "fairalm"),
    "strength": ("penalty",),
    "step": ("fairalm", "ceag"),
    "variant": ("fairalm",),
    "inner": ("fairalm",),
    "tolerance": ("ceag",),
    "hold": ("fairalm", "ceag"),
}


class ConstraintConfig(BaseModel):
    """Fairness options of a training; without effect if `method` is None.

    Attributes
    ----------
    method
        ``"penalty"`` on differences between groups; ``"fairalm"``, an augmented Lagrangian on them; ``"ceag"``, a bound on
        what each group loses against the network that is trained on.
    constraint
        Which differences: ``"demographic_parity"`` of scores, ``"equal_opportunity"`` among positives,
        ``"predictive_equality"`` among negatives, ``"equalized_odds"`` among both.
    by
        A sensitive attribute, or an intersection such as ``"sex*race"``.
    strength
        Weight λ of the penalty (10).
    step
        Dual step η: by default 0.05 for FairALM as in the paper, 20 in its variant ``celeba``, 1 for CEAG.
    variant
        FairALM as in the ``"paper"`` (Algorithm 2), or as its authors' ``"celeba"`` experiments do it.
    inner
        Steps on one batch between two dual steps: 1, in the variant ``celeba`` 5.
    tolerance
        What a group may lose beyond the average loss of accuracy (0.01).
    hold
        Multipliers stay 0: the control, whose loss has every other term.
    least
        Groups with fewer training rows under a constraint are not constrained, and named on the card.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Method | None = None
    constraint: Constraint | None = None
    by: str | None = None
    strength: float | None = Field(default=None, ge=0, le=1e9)
    step: float | None = Field(default=None, ge=0, le=1e9)
    variant: Literal["paper", "celeba"] | None = None
    inner: int | None = Field(default=None, ge=1, le=1_000_000)
    tolerance: float | None = Field(default=None, ge=0, le=1e9)
    hold: bool = False
    least: int = Field(default=30, ge=1, le=10**9)

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        for name, methods in READ_BY.items():
            if getattr(self, name) not in (None, False) and self.method not in methods:
                raise ValueError(f"{name} belongs to method={' or method='.join(methods)}")
        if self.method is None:
            return self
        if self.by is None:
            raise ValueError(f"method={self.method} needs a sensitive attribute, such as by=race")
        if self.constraint is None and self.method in READ_BY["constraint"]:
            raise ValueError(f"method={self.method} needs a constraint, such as constraint=equal_opportunity")
        return self

    def fairness(self) -> dict[str, Any]:
        """Return the fairness options, for another config."""
        return {name: getattr(self, name) for name in ConstraintConfig.model_fields}

    def control(self) -> dict[str, Any]:
        """Return the fairness options of the control: every term of the loss, and no multiplier or weight that acts.

        That of FairALM keeps its quadratic term, which re-weights groups by itself; the others leave plain training.
        """
        return {**self.fairness(), "hold": True} if self.method == "fairalm" else {}
