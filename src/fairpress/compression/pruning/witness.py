"""Test groups of units on a network: without them it must answer as it does when it reads them as zeros."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from fairpress.compression.pruning.units import UnitGroup, masked, without
from fairpress.models.pruned_shapes import apply_pruned_shapes

TOLERANCE = 1e-4  # of the largest output; sums over fewer units are added in another order


class _Scale(nn.Module):
    """A layer norm without its statistics, which depend on how many units there are."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.weight is None else x * self.weight
        return x if self.bias is None else x + self.bias


def smaller(module: nn.Module, changed: Mapping[str, Tensor]) -> nn.Module:
    """Return a copy of a network with these tensors in place of its own, which may have other shapes."""
    network = copy.deepcopy(module)
    apply_pruned_shapes(network, {name: tuple(value.shape) for name, value in changed.items()})
    network.load_state_dict({**module.state_dict(), **changed})
    frozen = {name for name, parameter in module.named_parameters() if not parameter.requires_grad}
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name not in frozen)
    return network


def confirmed(module: nn.Module, groups: Sequence[UnitGroup], example: Tensor) -> list[UnitGroup]:
    """Return the groups that pass: about half of the units removed, the network answers as with these units at zero.

    `example` are rows that the network reads in evaluation mode. Layer norms over units scale and shift only during the
    test: their statistics change with the number of units, which is not an error of a group.
    """
    module = module.eval()
    groups = [group for group in groups if group.count > 1]
    if not groups or _equal(module, groups, example):
        return groups
    return [group for group in groups if _equal(module, [group], example)]


def _about_half(count: int, seed: int) -> Tensor:
    """Return about half of several units. Groups differ in theirs: those that belong together would pass with the same."""
    kept = torch.rand(count, generator=torch.Generator().manual_seed(seed)) < 0.5
    first = seed % count
    kept[first], kept[(first + 1) % count] = True, False
    return kept


def _equal(module: nn.Module, groups: Sequence[UnitGroup], example: Tensor) -> bool:
    kept = [_about_half(group.count, seed) for seed, group in enumerate(groups)]
    norms = {part.tensor.rpartition(".")[0] for group in groups for part in group.parts}
    state = module.state_dict()
    try:
        removed = smaller(module, without(groups, kept, state))
        zeroed = smaller(module, masked(groups, kept, state))
        for network in (removed, zeroed):
            for name in norms:
                layer = network.get_submodule(name)
                if isinstance(layer, nn.LayerNorm):
                    owner, _, last = name.rpartition(".")
                    setattr(network.get_submodule(owner), last, _Scale(layer))
        with torch.no_grad():
            left, right = removed(example), zeroed(example)
    except Exception:  # a network raises anything when a shape does not fit
        return False
    scale = 1 + float(right.abs().max())
    return left.shape == right.shape and bool((left - right).abs().max() <= TOLERANCE * scale)
