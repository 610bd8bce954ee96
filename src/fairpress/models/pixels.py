"""Scaling of pixels as part of the network, so that the shipped file takes what a phone has."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Of ImageNet's training images, in units of 0 … 1: what published weights were trained with.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ScalePixels(nn.Module):
    """Pixels 0 … 255 [rows, 3, height, width], uint8, to zero mean and unit variance of each colour, float32."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(MEAN).view(3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(STD).view(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x.float() - self.mean) / self.std
