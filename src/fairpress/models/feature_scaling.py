"""Feature scaling as part of the network, so that the model file takes raw values."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LIMIT = 5.0


class Standardize(nn.Module):
    """(x − mean)/scale, clipped to ±5, so that a single outlier does not set the range of an 8-bit grid."""

    mean: Tensor
    scale: Tensor

    def __init__(self, n_inputs: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_inputs))
        self.register_buffer("scale", torch.ones(n_inputs))

    def forward(self, x: Tensor) -> Tensor:
        return ((x - self.mean) / self.scale).clamp(-LIMIT, LIMIT)


def fit_robust(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and scale [columns] as `fit_standardize` does, except for columns dominated by outliers.

    These have a standard deviation above the range of their middle 90 %. Their scale is that range, and their mean that of
    the values clipped to it. A column whose middle 90 % are one value (mostly zero, one-hot) keeps its standard deviation.
    """
    estimates = [_robust(column.double()) for column in x.T]
    return torch.tensor([m for m, _ in estimates]), torch.tensor([s for _, s in estimates])


def _robust(x: Tensor) -> tuple[float, float]:
    ordered = x.sort().values
    low, high = (float(ordered[round(share * (len(x) - 1))]) for share in (0.05, 0.95))
    scale = float(x.std(unbiased=False)) or 1.0
    if low < high and scale > high - low:
        return float(x.clamp(low, high).mean()), high - low
    return float(x.mean()), scale


def fit_standardize(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and scale [columns] of training rows [rows, columns]; a constant column keeps scale 1."""
    scale = x.std(dim=0, unbiased=False)
    return x.mean(dim=0), torch.where(scale > 0, scale, torch.ones_like(scale))
