"""Run a prepared graph layer by layer over all calibration rows, changing each layer's weight before it is used.

Every layer thus reads the inputs that the network computes as changed so far, in one pass over the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node
from torch.fx.node import map_arg

from fairpress.compression.quantized_graph.fake_quantize import mode
from fairpress.compression.quantized_graph.prepare import Layer, PreparedGraph

Visit = Callable[[Layer, Node, Sequence[Tensor], Tensor], Tensor]
"""(layer, its operator, its inputs in chunks [rows, …], its float weight) → its weight."""


@torch.no_grad()
def sweep(
    prepared: PreparedGraph, state: Mapping[str, Tensor], chunks: Sequence[Tensor], visit: Visit
) -> dict[str, Tensor]:
    """Return the state with each layer's weight replaced by what `visit` returns for it.

    Weights that are visited are rounded to their grids from then on, activations are left in float. Values are dropped after
    their last reader, so the memory is that of the widest place of the network for all rows. A layer that computes several
    products is visited at the first.

    Parameters
    ----------
    state
        The (folded) float state, with the scales of all weights.
    chunks
        The calibration inputs [rows, …] in chunks.
    """
    changed = dict(state)
    layers = {layer.weight: layer for layer in prepared.layers}
    modules = dict(prepared.graph.named_modules())
    aliases = prepared.slots.aliases
    values: dict[Node, Any] = {}
    varying: set[Node] = set()  # nodes with a value per chunk
    readers = {node: len(node.users) for node in prepared.graph.graph.nodes}
    visited: set[str] = set()

    def attribute(name: str) -> Any:
        known = changed.get(aliases.get(name, name))
        return _attribute(prepared.graph, name) if known is None else known

    def compute(node: Node, chunk: int | None) -> Any:
        def value(n: Node) -> Any:
            return values[n][chunk] if n in varying else values[n]

        args, kwargs = map_arg(node.args, value), map_arg(node.kwargs, value)
        if node.op == "call_function":
            return node.target(*args, **kwargs)  # type: ignore[operator]
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        module = modules[str(node.target)]
        if str(node.target) in scaled:
            module.scale = changed[f"{node.target}.scale"]
            if f"{node.target}.top" in changed:
                module.top = changed[f"{node.target}.top"]
        return module(*args, **kwargs)

    scaled = {layer.module for layer in prepared.layers}
    with mode(prepared.graph, weights="round", activations="pass"):
        for node in prepared.graph.graph.nodes:
            if node.op == "output":
                break
            if node.op == "placeholder":
                values[node], _ = list(chunks), varying.add(node)
                continue
            if node.op == "get_attr":
                values[node] = attribute(str(node.target))
                continue
            rounder = node.args[1] if len(node.args) > 1 else None
            if isinstance(rounder, Node) and str(rounder.target) in scaled and rounder.op == "call_module":
                weight = str(rounder.args[0].target)  # type: ignore[union-attr]
                layer = layers[weight]
                if weight not in visited:
                    visited.add(weight)
                    inputs = values[node.args[0]]  # type: ignore[index]
                    changed[weight] = visit(layer, node, inputs, changed[weight])
                    values[rounder.args[0]] = changed[weight]  # type: ignore[index]
                    values[rounder] = compute(rounder, None)
            if varying.isdisjoint(node.all_input_nodes):
                values[node] = compute(node, None)
            else:
                values[node] = [compute(node, i) for i in range(len(chunks))]
                varying.add(node)
            for read in node.all_input_nodes:
                readers[read] -= 1
                if readers[read] == 0:
                    values.pop(read, None)
    return changed


def _attribute(module: torch.nn.Module, name: str) -> Any:
    for part in name.split("."):
        module = getattr(module, part)
    return module
