"""Pixel scaling as part of the network, so that the model file takes uint8 pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ScalePixels(nn.Module):
    """Pixels 0 … 255 [rows, 3, height, width], uint8, to zero mean and unit variance of each colour, float32.

    Attributes
    ----------
    multiple
        Images are padded on both ends to a multiple of this number, with the mean colour: a network that cuts images into
        patches would ignore the remainder.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], multiple: int = 1) -> None:
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(std).view(3, 1, 1))
        self.multiple = multiple

    def forward(self, x: Tensor) -> Tensor:
        scaled = (x.float() - self.mean) / self.std
        pad_height, pad_width = (-side % self.multiple for side in x.shape[-2:])
        if pad_height or pad_width:
            scaled = nn.functional.pad(
                scaled,
                (pad_width // 2, pad_width - pad_width // 2, pad_height // 2, pad_height - pad_height // 2),
            )
        return scaled


def padded_side(side: int, multiple: int) -> int:
    """Return the side of an image after `ScalePixels`."""
    return side + -side % multiple
