"""Layers in the form that exporters and quantizers know: EmbeddingBag as a lookup and a sum, GPT-2's Conv1D as Linear."""

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
                "the EmbeddingBag reads a flat list of ids with offsets, so that it has no rows; give it ids "
                "[rows, length], padded to one length, with padding_idx."
            )
        values = nn.functional.embedding(input, self.weight)
        if per_sample_weights is not None:
            values = values * per_sample_weights.unsqueeze(-1)
        padding = self.padding_idx
        present = None if padding is None else (input != padding).unsqueeze(-1)
        if self.mode == "max":
            if present is None:
                return values.amax(1)
            largest = values.masked_fill(~present, float("-inf")).amax(1)
            return torch.where(present.any(1), largest, torch.zeros_like(largest))
        total = (values if present is None else values * present).sum(1)
        if self.mode == "sum":
            return total
        return total / (input.shape[1] if present is None else present.sum(1).clamp(min=1))


def with_plain_layers(module: nn.Module) -> nn.Module:
    """Return the network with such layers replaced, in place where it has layers; it computes the same."""
    if (plain := _plain(module)) is not None:
        return plain
    replaced: dict[nn.Module, nn.Module] = {}  # a layer that is used in two places stays one
    for name, child in list(module.named_modules(remove_duplicate=False)):
        plain = replaced.get(child) or _plain(child)
        if plain is not None:
            replaced[child] = plain
            owner, _, last = name.rpartition(".")
            setattr(module.get_submodule(owner), last, plain)
    return module


def _plain(layer: nn.Module) -> nn.Module | None:
    if type(layer) is nn.EmbeddingBag:
        return SummedEmbedding(layer)
    kind = type(layer)
    if kind.__name__ != "Conv1D" or not kind.__module__.startswith("transformers."):
        return None
    weight: Tensor = layer.weight  # [in, out], of the GPT-2 family
    linear = nn.Linear(*weight.shape, bias=layer.bias is not None)
    linear.weight = nn.Parameter(weight.detach().T.contiguous(), requires_grad=weight.requires_grad)
    linear.bias = layer.bias
    return linear.train(layer.training)
