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
    mean, scale = fit_standardize(x.double())
    ordered = x.double().sort(dim=0).values
    low, high = (ordered[round(share * (len(x) - 1))] for share in (0.05, 0.95))
    wild = (high > low) & (scale > high - low)
    limited = torch.minimum(torch.maximum(x.double(), low), high).mean(dim=0)
    return torch.where(wild, limited, mean).float(), torch.where(wild, high - low, scale).float()


def fit_standardize(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and scale [columns] of training rows [rows, columns]; a constant column keeps scale 1."""
    scale = x.std(dim=0, unbiased=False)
    return x.mean(dim=0), torch.where(scale > 0, scale, torch.ones_like(scale))
