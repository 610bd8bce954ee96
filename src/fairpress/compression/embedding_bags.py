"""`nn.EmbeddingBag` as a lookup and a sum, mean or maximum, which exporters and quantizers know."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fairpress.core.errors import UserError


class SummedEmbedding(nn.Module):
    """The same as an EmbeddingBag on bags of one length, ids [rows, length]: its table is looked up like any other."""

    def __init__(self, bag: nn.EmbeddingBag) -> None:
        super().__init__()
        self.weight, self.mode, self.padding_idx = bag.weight, bag.mode, bag.padding_idx

    def forward(
        self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None
    ) -> Tensor:
        """Return the summary [rows, width] of each row's embeddings; ids of padding do not count.

        Raises UserError for a flat list of ids with offsets, which has no rows.
        """
        if offsets is not None or input.dim() != 2:
            raise UserError(
                "the EmbeddingBag reads a flat list of ids with offsets, so that a row's ids depend on the rows beside it; give "
                "it ids [rows, length], padded to one length, with padding_idx."
            )
        values = nn.functional.embedding(input, self.weight)
        if per_sample_weights is not None:
            values = values * per_sample_weights.unsqueeze(-1)
        if self.padding_idx is None:
            present = None
        else:
            present = (input != self.padding_idx).unsqueeze(-1)
        if self.mode == "max":
            if present is None:
                return values.amax(1)
            largest = values.masked_fill(~present, float("-inf")).amax(1)
            return torch.where(present.any(1), largest, torch.zeros_like(largest))
        total = (values if present is None else values * present).sum(1)
        if self.mode == "sum":
            return total
        return total / (input.shape[1] if present is None else present.sum(1).clamp(min=1))


def without_bags(module: nn.Module) -> nn.Module:
    """Return the network with its EmbeddingBags replaced (`SummedEmbedding`), in place where it has layers."""
    if type(module) is nn.EmbeddingBag:
        return SummedEmbedding(module)
    for name, child in module.named_modules():
        if type(child) is nn.EmbeddingBag:
            owner, _, last = name.rpartition(".")
            setattr(module.get_submodule(owner), last, SummedEmbedding(child))
    return module
