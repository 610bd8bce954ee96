"""Gradual magnitude pruning during fine-tuning, with the cubic schedule of Zhu and Gupta (2017, arXiv 1710.01878)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from fairpress.compression.pruning.masks import prunable
from fairpress.compression.step import TrainedNetwork
from fairpress.compression.steps.finetune import TrainingContext
from fairpress.compression.steps.ranked import Importance, RankedPruning, measured_importance
from fairpress.core.progress import OnMessage
from fairpress.datasets.dataset import Dataset

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
    threshold = _kth_smallest(flat, dropped)
    return [(w.abs() > threshold.view(-1, *[1] * (w.dim() - 1))).to(w) for w in weights]


def _kth_smallest(values: Tensor, k: int) -> Tensor:
    """Return the k-th smallest value of each row [rows]: `Tensor.kthvalue`, by NumPy's faster selection on a processor."""
    import numpy as np
    import torch

    if values.device.type != "cpu":
        return values.kthvalue(k, dim=1).values
    return torch.from_numpy(np.partition(values.detach().numpy(), k - 1, axis=1)[:, k - 1].copy())


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


class Prune(RankedPruning):
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
        Of each weight (`RankedPruning`); ``"gradient"`` is the control of ``"groups"``.
    """

    empties: ClassVar[bool] = True

    sparsity: float = Field(gt=0, lt=1)
    until: float = Field(default=0.7, gt=0, le=1)
    scope: Literal["layer", "global"] = "layer"

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


def _sparsity(network: TrainedNetwork) -> float:
    weights = [v for v in network.state.values() if v.dim() >= 2]
    return sum(int((v == 0).sum()) for v in weights) / sum(v.numel() for v in weights)
