"""Gradual magnitude pruning during fine-tuning, with the cubic schedule of Zhu and Gupta (2017, arXiv 1710.01878)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from fairpress.compression.pruning.masks import prunable
from fairpress.compression.step import TrainedNetwork
from fairpress.compression.steps.finetune import FineTune, TrainingContext
from fairpress.core.output_kind import OutputKind
from fairpress.core.progress import OnMessage
from fairpress.datasets.dataset import Dataset
from fairpress.training.constraint_config import ConstraintConfig

if TYPE_CHECKING:
    from torch import Tensor


# Number of times that the sparsity is raised: ranking the weights after every step would take as long as the step.
N_UPDATES = 50


def cubic(progress: float, final: float, until: float) -> float:
    """Return the sparsity at a share `progress` of training: s = s_f − s_f(1 − t/t_end)³, s_f from `until` on."""
    return final * (1 - (1 - min(progress / until, 1.0)) ** 3)


def keep_largest(weights: Sequence[Tensor], sparsity: float) -> list[Tensor]:
    """Return masks that keep each network's largest |w| over all these weights together.

    Parameters
    ----------
    weights
        Tensors [networks, …] that compete with one another.
    sparsity
        round(sparsity · size) weights are dropped: those up to the threshold, including ties.
    """
    import torch

    flat = torch.cat([w.abs().flatten(1) for w in weights], dim=1)
    dropped = round(sparsity * flat.shape[1])
    if not dropped:
        return [torch.ones_like(w) for w in weights]
    threshold = flat.kthvalue(dropped, dim=1).values
    return [(w.abs() > threshold.view(-1, *[1] * (w.dim() - 1))).to(w) for w in weights]


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


@dataclass
class Pruning:
    """A function called after every step: it zeroes the pruned weights, and raises the sparsity on schedule."""

    sparsity: float
    until: float
    scope: Literal["layer", "global"]
    importance: Importance | None = None
    raised: int = 0
    masks: dict[str, Tensor] = field(default_factory=dict)

    def __call__(self, done: float, parameters: dict[str, Tensor]) -> None:
        weights = prunable(parameters)
        due = int(min(done / self.until, 1.0) * N_UPDATES)
        if due > self.raised:
            self.raised = due
            share = cubic(due / N_UPDATES, self.sparsity, 1.0)
            importances = None if self.importance is None else self.importance.compute(weights)
            for names in [list(weights)] if self.scope == "global" else [[n] for n in weights]:
                group_weights = [weights[n] for n in names]
                if self.importance is None or importances is None:
                    masks = keep_largest(group_weights, share)
                else:
                    masks = self.importance.keep(group_weights, [importances[n] for n in names], share)
                self.masks |= dict(zip(names, masks, strict=True))
        for name, mask in self.masks.items():
            weights[name].mul_(mask)


class Prune(FineTune):
    """Set the smallest weights to zero, increasingly many during fine-tuning.

    Attributes
    ----------
    sparsity
        Share of weights that are zero at the end. Biases, scales of channels and the scaling of inputs are not pruned.
    until
        Share of training after which the sparsity is reached; the remaining training lets the network recover.
    scope
        ``"layer"``: each layer loses this share of its weights. ``"global"``: the smallest weights of the whole network are
        dropped, which can empty a layer of a small network and leave a constant predictor.
    importance
        ``"magnitude"``: drop the smallest weights. ``"groups"``: maximise the smallest share of importance that any group
        of `by` retains (`group_importance`). ``"gradient"``: drop the weights least important to all rows together, by the
        same measure; the control of ``"groups"``.
    """

    empties: ClassVar[bool] = True

    sparsity: float = Field(gt=0, lt=1)
    until: float = Field(default=0.7, gt=0, le=1)
    scope: Literal["layer", "global"] = "layer"
    importance: Literal["magnitude", "gradient", "groups"] = "magnitude"

    @model_validator(mode="after")
    def _importance_needs_groups(self) -> Self:
        if self.importance == "groups" and self.by is None:
            raise ValueError("importance=groups needs a sensitive attribute, such as by=race")
        return self

    @property
    def reads_groups(self) -> bool:
        return self.importance == "groups" or super().reads_groups

    def plain(self) -> Prune:
        """Return the same step without a constraint; importance by groups becomes importance over all rows."""
        plain = super().plain()
        assert isinstance(plain, Prune)
        pooled = "gradient" if self.importance == "groups" else self.importance
        return plain.model_copy(update={"importance": pooled})

    def apply(
        self,
        networks: Sequence[TrainedNetwork],
        datasets: Sequence[Dataset],
        seeds: Sequence[int],
        on_message: OnMessage | None = None,
    ) -> list[TrainedNetwork]:
        """Prune all networks during fine-tuning, small ones as one batch; zeros stay zeros."""
        trained = self.train(
            networks,
            datasets,
            seeds,
            on_message,
            lambda context: Pruning(self.sparsity, self.until, self.scope, self._importance(context)),
        )
        return [replace(n, details={**n.details, "sparsity": _sparsity(n)}) for n in trained]

    def _importance(self, context: TrainingContext) -> Importance | None:
        return None if self.importance == "magnitude" else measured_importance(self, self.importance, context)


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


def _sparsity(network: TrainedNetwork) -> float:
    weights = [v for v in network.state.values() if v.dim() >= 2]
    return sum(int((v == 0).sum()) for v in weights) / sum(v.numel() for v in weights)
