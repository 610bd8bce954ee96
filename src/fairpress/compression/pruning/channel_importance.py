"""The importance of channels by gradients, for torch-pruning's pruner, from that of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fairpress.compression.pruning.units import Keep, n_retained_heads, n_retained_units


class ChannelImportance:
    """A function from a group of torch-pruning's graph to a number for each channel: those to keep have the largest.

    Parameters
    ----------
    network
        The network that the graph was built of.
    values
        Importance of its weights [groups, *shape] by name.
    keep
        Chooses by the importance of units [groups, units] those that stay.
    heads
        The number of heads of layers that compute them.
    """

    def __init__(
        self,
        network: nn.Module,
        values: Mapping[str, Tensor],
        keep: Keep,
        share: float,
        round_to: int,
        heads: Mapping[nn.Module, int],
    ) -> None:
        self.names = {part: name for name, part in network.named_modules()}
        self.values, self.keep, self.share, self.round_to, self.heads = values, keep, share, round_to, heads

    def __call__(self, group: Any) -> Tensor:
        """Return 1 for channels that stay, and 0 for others, plus their share of the importance: between 0 and 1."""
        count = len(group[0].idxs)
        total, heads, repeats = torch.zeros(1, count), 0, 1
        for item in group:
            layer = item.dep.target.module
            heads = max(heads, self.heads.get(layer, 0) if isinstance(layer, nn.Module) else 0)
            repeats = max(repeats, _channel_groups(layer))
            name = f"{self.names.get(layer)}.weight"
            if isinstance(layer, nn.modules.conv._ConvNd | nn.Linear) and name in self.values:
                roots = list(item.root_idxs)
                if None in roots:
                    continue
                out = group._DG.is_out_channel_pruning_fn(item.dep.handler)
                values = _by_channel(layer, self.values[name], out=out)[:, list(item.idxs)]
                total = total.expand(len(values), -1).index_add(1, torch.tensor(roots), values)
        if heads:
            units, each = total.unflatten(1, (heads, -1)).sum(2), count // heads
            kept = self.keep(units, n_retained_heads(heads, self.share)).float().repeat_interleave(each)
        else:
            units = total.unflatten(1, (repeats, -1)).sum(1)
            n = n_retained_units(units.shape[1], self.share, self.round_to)
            kept = self.keep(units, n).float().repeat(repeats)
        pooled = total.sum(0)
        return kept + pooled / pooled.sum().clamp_min(1e-30) / 2


def _by_channel(layer: nn.Module, importance: Tensor, *, out: bool) -> Tensor:
    """Return the importance of a layer's output or input channels [groups, channels], summed over their weights."""
    transposed, groups = getattr(layer, "transposed", False), getattr(layer, "groups", 1)
    axis = 1 if transposed == out else 0
    values = importance.movedim(axis + 1, 1).flatten(2).sum(2)
    # Along this axis a weight has the channels of one group only.
    return values.repeat(1, groups) if groups > 1 and axis == 1 else values


def _channel_groups(layer: Any) -> int:
    """Return the number of groups of channels that lose the same channels each; 1 for none."""
    if isinstance(layer, nn.GroupNorm):
        return int(layer.num_groups)
    if isinstance(layer, nn.modules.conv._ConvNd) and layer.groups != layer.out_channels:
        return int(layer.groups)
    return 1
