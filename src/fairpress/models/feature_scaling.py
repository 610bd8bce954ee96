"""Scaling as part of the network, so that the shipped file takes the values a user has."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LIMIT = 5.0


class Standardize(nn.Module):
    """(x − mean)/scale, limited to ±5: one defendant with 38 priors must not set an 8-bit range for all."""

    mean: Tensor
    scale: Tensor

    def __init__(self, n_inputs: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_inputs))
        self.register_buffer("scale", torch.ones(n_inputs))

    def forward(self, x: Tensor) -> Tensor:
        return ((x - self.mean) / self.scale).clamp(-LIMIT, LIMIT)


def fit_robust(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and scale [columns] as `fit_standardize` does, except where a few outliers make the standard deviation so
    large that all other rows would look alike.

    Such a column has a standard deviation above the range of its middle 90 %. Its scale is that range, and its mean that of
    the values limited to it. A column whose middle 90 % are one value (mostly zero, one-hot) keeps its standard deviation.
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
