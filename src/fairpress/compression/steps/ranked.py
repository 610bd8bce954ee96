"""What weights, neurons, channels or heads are worth, as an option of every step that removes the least of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Self

from pydantic import model_validator

from fairpress.compression.steps.finetune import FineTune, TrainingContext
from fairpress.core.output_kind import OutputKind
from fairpress.training.constraint_config import ConstraintConfig

if TYPE_CHECKING:
    from torch import Tensor


class RankedPruning(FineTune):
    """Remove what has the least importance, then, or meanwhile, fine-tune.

    Attributes
    ----------
    importance
        ``"magnitude"``: of the weights. ``"gradient"``: what the loss of training rows depends on it, by (w · ∂L/∂w)² of its
        weights (Molchanov et al. 2019, arXiv 1906.10771). ``"groups"``: the same, a group of `by` at a time, and the
        smallest share of importance that any group retains is maximised (`group_importance`).
    """

    importance: Literal["magnitude", "gradient", "groups"] = "magnitude"

    @model_validator(mode="after")
    def _importance_needs_groups(self) -> Self:
        if self.importance == "groups" and self.by is None:
            raise ValueError("importance=groups needs a sensitive attribute, such as by=race")
        return self

    @property
    def reads_groups(self) -> bool:
        return self.importance == "groups" or super().reads_groups

    def plain(self) -> FineTune:
        """Return the same step without a constraint; importance by groups becomes importance over all rows."""
        pooled = "gradient" if self.importance == "groups" else self.importance
        return super().plain().model_copy(update={"importance": pooled})


@dataclass(frozen=True)
class Importance:
    """Importance of the weights to each group (`group_importance`); `active` [networks, groups] are counted.

    `outputs` is what the network predicts, which determines the loss.
    """

    forward: Callable[[Tensor], Tensor]
    parameters: Mapping[str, Tensor]
    batches: Sequence[tuple[Tensor, Tensor]]
    active: Tensor
    outputs: OutputKind = "classes"

    def compute(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the importance of weights [networks, …] to groups, as [groups, networks, …]."""
        from fairpress.compression.pruning.group_importance import importance

        return importance(self.forward, weights, self.parameters, self.batches, self.outputs)

    def keep(self, weights: Sequence[Tensor], importances: Sequence[Tensor], sparsity: float) -> list[Tensor]:
        """Return masks of weights that compete with one another, as `keep_largest` does."""
        import torch

        from fairpress.compression.pruning.group_importance import keep_for_all_groups

        flat = torch.cat([w.abs().flatten(1) for w in weights], dim=1)
        n_retained = flat.shape[1] - round(sparsity * flat.shape[1])
        mask = keep_for_all_groups(
            torch.cat([w.flatten(2) for w in importances], dim=2), flat, n_retained, self.active
        )
        parts = mask.split([w[0].numel() for w in weights], dim=1)
        return [part.view_as(w) for part, w in zip(parts, weights, strict=True)]


def measured_importance(
    step: ConstraintConfig, importance: Literal["gradient", "groups"], context: TrainingContext
) -> Importance:
    """Return the importance of weights by gradients on training rows: to all rows, or to each group of the step's `by`."""
    import torch

    from fairpress.compression.pruning.group_importance import POOLED_ROWS, batches_of_groups
    from fairpress.training.group_objective import constrained_groups

    if importance == "gradient":
        pooled = [replace(r, groups=torch.zeros(len(r.labels), dtype=torch.long)) for r in context.rows]
        batches = batches_of_groups(pooled, 1, context.seeds, POOLED_ROWS)
        active = torch.ones(len(pooled), 1, dtype=torch.bool)
        return Importance(context.forward, context.parameters, batches, active, context.rows[0].outputs)
    task = context.datasets[0].task
    groups = constrained_groups(
        step, context.datasets, None if task.positive is None else task.classes.index(task.positive)
    )
    rows = [replace(r, groups=codes) for r, codes in zip(context.rows, groups.codes, strict=True)]
    return Importance(
        context.forward,
        context.parameters,
        batches_of_groups(rows, len(groups.names), context.seeds),
        groups.active,
        rows[0].outputs,
    )
