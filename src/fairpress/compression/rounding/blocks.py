"""Blocks of a graph whose rounding is learned together: single layers, or everything between two values.

A block ends where one value alone is read by all that follows: after a residual block, an attention, an MLP. Where a module
passes such a value on within itself, as the fire modules of squeezenet and inverted residuals without a sum do, the module
is the block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Node

from fairpress.compression.quantized_graph.prepare import Layer, PreparedGraph
from fairpress.compression.rounding.graph_run import in_order, layer_of, varying_nodes, weights_read_elsewhere
from fairpress.models.tracing import aten

MODULE_LAYERS = 6  # at most, of a module that is one block; larger ones are whole stages or networks
SEQUENTIAL = "torch.nn.modules.container.Sequential"  # a list of modules
NUMBERS = (int, float, torch.SymInt, torch.SymFloat)
RELU = (aten.relu.default, aten.relu_.default)


@dataclass(frozen=True)
class Block:
    """Nodes that compute one output, in the order of the graph, and the layers among them by their operators."""

    nodes: tuple[Node, ...]
    layers: Mapping[Node, Layer]

    @property
    def output(self) -> Node:
        """The node whose value the block computes."""
        return self.nodes[-1]

    @property
    def inputs(self) -> tuple[Node, ...]:
        """Nodes outside of the block that it reads."""
        inside = set(self.nodes)
        return tuple(dict.fromkeys(n for node in self.nodes for n in node.all_input_nodes if n not in inside))


def layer_blocks(prepared: PreparedGraph) -> list[Block]:
    """Return a block for each layer that computes one product, with the ReLU that alone reads it."""
    return [_layer_block(node, layer) for node, layer in _layers(prepared).items()]


def residual_blocks(prepared: PreparedGraph) -> list[Block]:
    """Return blocks that read one value and compute one, both with an axis of rows; a block for each layer elsewhere.

    Consecutive ones of the same module are one block: of the innermost module with several layers, `MODULE_LAYERS` at most.
    """
    layers = _layers(prepared)
    segments: list[list[Node]] = []
    for segment in _segments(prepared):
        if segments and not any(node in layers for node in segment):
            segments[-1] += segment  # what follows a block's last layer is part of it
        else:
            segments.append(segment)
    batch = next(_rows_of(n) for n in prepared.graph.graph.nodes if n.op == "placeholder")
    modules = _modules_of_layers(layers)
    blocks: list[Block] = []
    last_module = None
    for segment in segments:
        block = _block(segment, layers)
        varying = [n for n in block.inputs if n in varying_nodes(prepared)]
        module = None
        if any(_rows_of(node) != batch for node in (*varying, block.output)):
            blocks += [_layer_block(node, layer) for node, layer in block.layers.items()]
        elif (module := _module_of(block, modules)) is not None and module == last_module:
            blocks[-1] = _block([*blocks[-1].nodes, *segment], layers)
        else:
            blocks.append(block)
        last_module = module
    return [block for block in blocks if block.layers]


def _block(nodes: Sequence[Node], layers: Mapping[Node, Layer]) -> Block:
    return Block(tuple(nodes), {node: layers[node] for node in nodes if node in layers})


def _modules_of_layers(layers: Mapping[Node, Layer]) -> dict[str, set[Node]]:
    """Return the modules that hold some of the layers, but neither all nor more than a block may have."""
    holds: dict[str, set[Node]] = {}
    for node in layers:
        for path, kind in (node.meta.get("nn_module_stack") or {}).values():
            if kind != SEQUENTIAL:
                holds.setdefault(path, set()).add(node)
    return {
        path: held for path, held in holds.items() if 1 < len(held) <= min(MODULE_LAYERS, len(layers) - 1)
    }


def _module_of(block: Block, modules: Mapping[str, set[Node]]) -> str | None:
    """Return the innermost module that holds several layers, those of a block among them; None if there is none."""
    inside = set(block.layers)
    holding = [path for path, held in modules.items() if inside and inside <= held]
    return max(holding, key=len, default=None)


def _layers(prepared: PreparedGraph) -> dict[Node, Layer]:
    in_float = weights_read_elsewhere(prepared)
    modules = {
        layer.module: layer for layer in prepared.layers if layer.uses == 1 and layer.weight not in in_float
    }
    layers = {node: layer_of(node, modules) for node in in_order(prepared) if node in varying_nodes(prepared)}
    return {node: layer for node, layer in layers.items() if layer is not None}


def _layer_block(node: Node, layer: Layer) -> Block:
    readers = list(node.users)
    with_relu = len(readers) == 1 and readers[0].target in RELU
    return Block((node, readers[0]) if with_relu else (node,), {node: layer})


def _segments(prepared: PreparedGraph) -> list[list[Node]]:
    """Return the nodes that depend on the inputs, divided where a single tensor is read by what follows.

    Tensors that depend on no weight, such as the mask of padding, do not count: no rounding changes them.
    """
    varying, weighted = varying_nodes(prepared), set[Node]()
    for node in prepared.graph.graph.nodes:
        if node.op == "get_attr" or not weighted.isdisjoint(node.all_input_nodes):
            weighted.add(node)
    nodes = [node for node in in_order(prepared) if node in varying and node.op != "placeholder"]
    position = {node: i for i, node in enumerate(nodes)}
    last_reader = {
        node: max((position.get(user, len(nodes)) for user in node.users), default=-1) for node in nodes
    }
    segments: list[list[Node]] = [[]]
    live: set[Node] = set()
    for i, node in enumerate(nodes):
        segments[-1].append(node)
        live = {n for n in (*live, node) if last_reader[n] > i and n in weighted}
        if len([n for n in live if not isinstance(_value(n), NUMBERS)]) == 1:
            segments.append([])
    return [segment for segment in segments if segment]


def _value(node: Node) -> Any:
    """Return the example value of a node; a fake-quantize module has that of its input."""
    while "val" not in node.meta and node.op == "call_module":
        node = node.all_input_nodes[0]
    return node.meta.get("val")


def _rows_of(node: Node) -> str:
    """Return the symbol of the number of rows: the length of a tensor's first axis, or a number itself."""
    value = _value(node)
    return str(value.shape[0] if hasattr(value, "shape") and len(value.shape) else value)
