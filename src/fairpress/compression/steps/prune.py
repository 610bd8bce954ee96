"""Magnitude pruning along the cubic schedule of Zhu and Gupta (2017, arXiv 1710.01878), fine-tuned meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fairpress.compression.step import Network, Progress
from fairpress.compression.steps.finetune import FineTune
from fairpress.datasets.base import Dataset

if TYPE_CHECKING:
    from torch import Tensor


# The sparsity is raised so often: ranking the weights after every step would take as long as the step.
TIMES = 50


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
        round(sparsity · size) weights are dropped: those up to the threshold, so that equal ones go together.
    """
    import torch

    flat = torch.cat([w.abs().flatten(1) for w in weights], dim=1)
    dropped = round(sparsity * flat.shape[1])
    if not dropped:
        return [torch.ones_like(w) for w in weights]
    threshold = flat.kthvalue(dropped, dim=1).values
    return [(w.abs() > threshold.view(-1, *[1] * (w.dim() - 1))).to(w) for w in weights]


def prunable(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights [networks, out, in, …] among parameters [networks, …]: no biases, no scales of channels."""
    return {name: value for name, value in parameters.items() if value.dim() >= 3}


def keep_zeros(parameters: Mapping[str, Tensor]) -> Callable[[float, dict[str, Tensor]], None]:
    """Return what puts back to zero, after every step, the weights that are zero now."""
    masks = {name: (value.detach() != 0).to(value) for name, value in prunable(parameters).items()}

    def mask(_done: float, now: dict[str, Tensor]) -> None:
        for name, kept in masks.items():
            now[name].mul_(kept)

    return mask


@dataclass
class Pruning:
    """What happens after every step: the weights that are pruned are zero, and now and then they become more."""

    sparsity: float
    until: float
    scope: Literal["layer", "global"]
    raised: int = 0
    masks: dict[str, Tensor] = field(default_factory=dict)

    def __call__(self, done: float, parameters: dict[str, Tensor]) -> None:
        weights = prunable(parameters)
        due = int(min(done / self.until, 1.0) * TIMES)
        if due > self.raised:
            self.raised = due
            share = cubic(due / TIMES, self.sparsity, 1.0)
            for names in [list(weights)] if self.scope == "global" else [[n] for n in weights]:
                self.masks |= dict(zip(names, keep_largest([weights[n] for n in names], share), strict=True))
        for name, mask in self.masks.items():
            weights[name].mul_(mask)


class Prune(FineTune):
    """Set the smallest weights to zero, ever more of them while training goes on.

    Attributes
    ----------
    sparsity
        Share of weights that are zero in the end. Biases, scales of channels and the scaling of inputs are not
        pruned.
    until
        Share of training after which the sparsity is reached and the rest recovers.
    scope
        ``"layer"``: each layer loses this share of its weights. ``"global"``: the smallest of the whole network
        go, which can empty a layer of a small network and leave a constant predictor.
    """

    sparsity: float = Field(gt=0, lt=1)
    until: float = Field(default=0.7, gt=0, le=1)
    scope: Literal["layer", "global"] = "layer"

    def apply(
        self,
        networks: Sequence[Network],
        datasets: Sequence[Dataset],
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> list[Network]:
        """Prune all networks while they train on, small ones as one batch; zeros stay zeros."""
        made = self.train(
            networks, datasets, seeds, progress, lambda: Pruning(self.sparsity, self.until, self.scope)
        )
        return [replace(n, details={**n.details, "sparsity": _sparsity(n)}) for n in made]


def _sparsity(network: Network) -> float:
    weights = [v for v in network.state.values() if v.dim() >= 2]
    return sum(int((v == 0).sum()) for v in weights) / sum(v.numel() for v in weights)
