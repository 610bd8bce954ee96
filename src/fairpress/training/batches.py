"""Which rows are computed together: by chance, or by length where rows have lengths."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Rows of so many batches are sorted by length and split: padding becomes small, and batches stay random.
BUCKET_BATCHES = 64


def training_batches(inputs: Any, size: int, generator: torch.Generator) -> list[Tensor]:
    """Return the row indices of an epoch's batches, in random order.

    Rows that fill no batch sit an epoch out; of rows with `lengths`, each is taken, in batches of similar lengths.
    """
    rows = len(inputs)
    size = min(size, rows)
    order = torch.randperm(rows, generator=generator)
    if getattr(inputs, "lengths", None) is None:
        return list(order[: rows // size * size].split(size))
    batches: list[Tensor] = []
    for bucket in order.split(size * BUCKET_BATCHES):
        batches += bucket[inputs.lengths[bucket].argsort(stable=True)].split(size)
    return [batches[i] for i in torch.randperm(len(batches), generator=generator)]


def evaluation_batches(inputs: Any, size: int) -> list[Tensor]:
    """Return the row indices of batches that contain each row once, in the order of lengths where rows have lengths."""
    lengths = getattr(inputs, "lengths", None)
    order = torch.arange(len(inputs)) if lengths is None else lengths.argsort(stable=True)
    return list(order.split(size))


def padding_share(lengths: Tensor, batches: list[Tensor]) -> float:
    """Return the share of padding among the token ids of batches, each as long as its longest row."""
    computed = sum(int(lengths[batch].max()) * len(batch) for batch in batches)
    return 1 - int(lengths[torch.cat(batches)].sum()) / max(computed, 1)
