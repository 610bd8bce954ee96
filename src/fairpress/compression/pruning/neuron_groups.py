"""The neurons of a network's linear layers: chains of layers, and what torch-pruning's graph says of joined ones."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from fairpress.compression.pruning.neuron_chains import (
    executed_layers,
    neuron_chains,
    neuron_tensors,
    shared_tensors,
)
from fairpress.compression.pruning.units import Part, UnitGroup
from fairpress.compression.pruning.witness import confirmed


def attending(module: nn.Module) -> list[str]:
    """Return the names of the layers that attend, by the names of their classes; not the network itself."""
    return [name for name, part in module.named_modules() if name and "Attention" in type(part).__name__]


def neuron_groups(module: nn.Module, example: Tensor) -> list[UnitGroup]:
    """Return the neurons of the hidden linear layers of a network in evaluation mode, each group tested (`confirmed`).

    Layers whose outputs are added lose neurons together, as torch-pruning's dependency graph (Fang et al. 2023, arXiv
    2301.12900) says. Left out are the layer that answers; layers whose outputs reach anything but
    linear layers, batch and layer norms and elementwise functions, such as convolutions or embeddings; what runs in
    attention, and the width of a network that attends; and layers that share a weight.
    """
    inside = attending(module)
    chains = [g for g in neuron_chains(module, example) if not _within(g.name, inside)]
    groups = confirmed(module, chains, example)
    order, _ = executed_layers(module, example, (nn.Linear,))
    layers = list(dict.fromkeys(order))
    joined = [name for name in layers[:-1] if name not in {group.name for group in groups}]
    if joined and not inside:
        groups += confirmed(module, _joined_groups(module, example, joined, groups), example)
    return sorted(groups, key=lambda group: layers.index(group.name))


def _within(name: str, owners: list[str]) -> bool:
    return any(name.startswith(f"{owner}.") for owner in owners)


def _joined_groups(
    module: nn.Module, example: Tensor, layers: list[str], known: list[UnitGroup]
) -> list[UnitGroup]:
    """Return the groups of these layers by the dependency graph; none if it cannot follow the network."""
    import torch_pruning

    network = copy.deepcopy(module).eval()
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    seen = {_key(group) for group in known}
    groups = []
    with warnings.catch_warnings():  # the warnings are on parameters that no group of neurons contains
        warnings.simplefilter("ignore")
        try:
            graph = torch_pruning.DependencyGraph().build_dependency(network, example_inputs=example)
            for name in layers:
                layer = network.get_submodule(name)
                every = list(range(int(layer.out_features)))
                graph_group = graph.get_pruning_group(layer, torch_pruning.prune_linear_out_channels, every)
                group = _group(name, len(every), graph_group, graph, network)
                if group is not None and _key(group) not in seen:
                    seen.add(_key(group))
                    groups.append(group)
        except Exception:  # torch-pruning raises many kinds; what it cannot follow stays whole
            return groups
    return groups


def _key(group: UnitGroup) -> frozenset[tuple[str, int]]:
    return frozenset((part.tensor, part.axis) for part in group.parts)


def _group(name: str, count: int, graph_group: Any, graph: Any, network: nn.Module) -> UnitGroup | None:
    """Return the units of a group of the graph; None if anything but linear layers and norms has a part of them."""
    names = {part: at for at, part in network.named_modules()}
    shared = shared_tensors(network)
    parts: list[Part] = []
    for item in graph_group:
        target = item.dep.target.module
        if isinstance(target, nn.Parameter):
            return None
        if target not in names:
            continue  # an elementwise function, or a change of shape
        units = [-1 if at is None else int(at) for at in item.root_idxs]
        reads = not graph.is_out_channel_pruning_fn(item.dep.handler)
        tensors = neuron_tensors(target, reads=reads)
        if tensors is None or not units or min(units) < 0:
            return None
        for last, axis in tensors:
            tensor = f"{names[target]}.{last}"
            if tensor in shared:
                return None
            unit = torch.full((getattr(target, last).shape[axis],), -1)
            unit[torch.tensor(list(item.idxs))] = torch.tensor(units)
            parts.append(Part(tensor, axis, unit, reads))
    return UnitGroup(name, "neurons", count, tuple(parts)) if any(part.reads for part in parts) else None
