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


def fit_standardize(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and scale [columns] of training rows [rows, columns]; a constant column keeps scale 1."""
    scale = x.std(dim=0, unbiased=False)
    return x.mean(dim=0), torch.where(scale > 0, scale, torch.ones_like(scale))
