"""The neurons between two linear layers that run one after the other; no graph is needed to see them."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor, nn

from fairpress.compression.pruning.units import Part, UnitGroup

# Layers that a neuron may pass through on its way to those that read it, with their tensors that have an entry a neuron.
PASSED: tuple[tuple[type[nn.Module], tuple[str, ...]], ...] = (
    (nn.modules.batchnorm._NormBase, ("weight", "bias", "running_mean", "running_var")),
    (nn.LayerNorm, ("weight", "bias")),
    (nn.PReLU, ("weight",)),
)


def executed_layers(
    module: nn.Module, example: Tensor, kinds: tuple[type[nn.Module], ...]
) -> tuple[list[str], tuple[int, ...]]:
    """Return the names of the layers of these kinds in the order they run, repeated if they are, and the output's shape."""
    order: list[str] = []
    hooks = [
        part.register_forward_hook(lambda *_, name=name: order.append(name))
        for name, part in module.named_modules()
        if isinstance(part, kinds)
    ]
    try:
        with torch.no_grad():
            shape = tuple(module(example).shape)
    finally:
        for hook in hooks:
            hook.remove()
    return order, shape


def neuron_tensors(layer: nn.Module, *, reads: bool) -> list[tuple[str, int]] | None:
    """Return the tensors of a layer that have an entry for each neuron, with its axis; None for layers of other kinds."""
    if isinstance(layer, nn.Linear):
        names: tuple[tuple[str, int], ...] = (("weight", 1),) if reads else (("weight", 0), ("bias", 0))
    else:
        known = [tensors for kind, tensors in PASSED if isinstance(layer, kind)]
        if not known or (isinstance(layer, nn.LayerNorm) and len(layer.normalized_shape) != 1):
            return None
        if isinstance(layer, nn.PReLU) and layer.num_parameters == 1:
            return []
        names = tuple((name, 0) for name in known[0])
    return [(name, axis) for name, axis in names if getattr(layer, name, None) is not None]


def shared_tensors(module: nn.Module) -> set[str]:
    """Return the names of parameters that have more than one."""
    names: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return {name for same in names.values() if len(same) > 1 for name in same}


def neuron_chains(module: nn.Module, example: Tensor) -> list[UnitGroup]:
    """Return the neurons of each linear layer that the next linear layer to run seems to read, with the norms between.

    What a layer reads is taken from the order and the widths alone: `witness.confirmed` tests whether it is so. Layers that
    run twice or share a weight are left out.
    """
    order, _ = executed_layers(module, example, (nn.Module,))
    runs, shared = Counter(order), shared_tensors(module)
    groups = []
    for at, name in enumerate(order):
        layer = module.get_submodule(name)
        if not isinstance(layer, nn.Linear):
            continue
        layers = _until_read(module, order[at + 1 :], int(layer.out_features))
        if not layers or any(runs[other] > 1 for other in (name, *layers)):
            continue
        each = torch.arange(layer.out_features)
        parts = [
            Part(f"{other}.{last}", axis, each, reads=other == layers[-1])
            for other in (name, *layers)
            for last, axis in neuron_tensors(module.get_submodule(other), reads=other == layers[-1]) or ()
        ]
        if not any(part.tensor in shared for part in parts):
            groups.append(UnitGroup(name, "neurons", int(layer.out_features), tuple(parts)))
    return groups


def _until_read(module: nn.Module, following: list[str], width: int) -> list[str]:
    """Return the layers from here to the linear layer that reads `width` neurons; none if anything else comes first."""
    passed: list[str] = []
    for name in following:
        layer = module.get_submodule(name)
        if isinstance(layer, nn.Linear):
            return [*passed, name] if layer.in_features == width else []
        if next(layer.children(), None) is not None or next(layer.parameters(recurse=False), None) is None:
            continue  # a container that ends here, or an activation
        tensors = neuron_tensors(layer, reads=False)
        if tensors is None or any(getattr(layer, last).shape[0] != width for last, _ in tensors):
            return []
        passed.append(name)
    return []
