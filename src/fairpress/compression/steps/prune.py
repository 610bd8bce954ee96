"""Magnitude pruning along the cubic schedule of Zhu and Gupta (2017, arXiv 1710.01878), fine-tuned meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import Field

from fairpress.compression.step import Network, Progress
from fairpress.compression.steps.finetune import FineTune
from fairpress.datasets.base import Dataset

if TYPE_CHECKING:
    from torch import Tensor


def cubic(progress: float, final: float, until: float) -> float:
    """Return the sparsity at a share `progress` of training: s = s_f − s_f(1 − t/t_end)³, s_f from `until` on."""
    return final * (1 - (1 - min(progress / until, 1.0)) ** 3)


def keep_largest(weight: Tensor, sparsity: float) -> Tensor:
    """Return masks [networks, …] that keep each network's largest |w| and drop round(sparsity·size) others."""
    import torch

    flat = weight.abs().flatten(1)
    dropped = round(sparsity * flat.shape[1])
    mask = torch.ones_like(flat)
    if dropped:
        mask.scatter_(1, flat.topk(dropped, dim=1, largest=False).indices, 0.0)
    return mask.view_as(weight)


class Prune(FineTune):
    """Set the smallest weights of every layer to zero, a little more with every step.

    Per layer: pruning 80-90 % of a small MLP globally can empty a whole layer, which leaves a constant
    predictor. Biases and the input scaling are not pruned.
    """

    sparsity: float = Field(gt=0, lt=1)
    until: float = Field(default=0.7, gt=0, le=1)

    def apply(
        self,
        networks: Sequence[Network],
        datasets: Sequence[Dataset],
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> list[Network]:
        """Prune and fine-tune all networks as one batch; zeros stay zeros."""

        def prune(done: float, parameters: dict[str, Tensor]) -> None:
            share = cubic(done, self.sparsity, self.until)
            for value in parameters.values():
                if value.dim() >= 3:  # [networks, out, in, …]: weights, not biases
                    value.mul_(keep_largest(value, share))

        trained = self.train(networks, datasets, seeds, progress, prune)
        return [replace(n, details={**n.details, "sparsity": _sparsity(n)}) for n in trained]

    def placebo(self) -> FineTune:
        """Return the same training without pruning."""
        return FineTune(**{k: getattr(self, k) for k in FineTune.model_fields})


def _sparsity(network: Network) -> float:
    weights = [v for v in network.state.values() if v.dim() >= 2]
    return sum(int((v == 0).sum()) for v in weights) / sum(v.numel() for v in weights)
