"""Flips and shifts of whole batches of pixels, by one gather."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Augment:
    """Mirror half of the images, and move each by up to `shift` of its side; the edge is repeated outwards."""

    flip: bool = True
    shift: float = 0.0625

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return changed copies of images [rows, colours, height, width], drawn from `generator` (on the CPU)."""
        rows, _, height, width = x.shape

        def shifted_index(length: int) -> Tensor:
            max_shift = round(self.shift * length)
            steps = torch.randint(-max_shift, max_shift + 1, (rows, 1), generator=generator)
            return (torch.arange(length) + steps).clamp(0, length - 1)

        down, across = shifted_index(height), shifted_index(width)
        if self.flip:
            mirrored = torch.rand(rows, 1, generator=generator) < 0.5
            across = torch.where(mirrored, across.flip(1), across)
        down, across = down.to(x.device), across.to(x.device)
        index = torch.arange(rows, device=x.device)[:, None, None]
        # Indices around a slice put the colours last in memory, which is the order that convolutions like best.
        return x[index, :, down[:, :, None], across[:, None, :]].permute(0, 3, 1, 2)
