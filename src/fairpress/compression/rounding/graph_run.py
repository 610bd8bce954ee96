"""Compute a prepared graph node by node for all calibration rows, with tensors that may change on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node
from torch.fx.node import map_arg

from fairpress.compression.quantized_graph.fake_quantize import FakeQuantizeWeight
from fairpress.compression.quantized_graph.prepare import Layer, PreparedGraph
from fairpress.models.tracing import varying_nodes as nodes_that_vary


class GraphRun:
    """The values of a graph's nodes in chunks of rows; each is dropped after its last reader.

    The memory is that of the widest place of the network for all rows. Activations are left in float. The caller sets the
    modes of the graph's modules (`fake_quantize.mode`), and calls `step` for the nodes of `in_order`.

    Parameters
    ----------
    state
        The (folded) state, with the scales of all weights.
    chunks
        The calibration inputs [rows, …] in chunks.
    rounded
        Whether weights are rounded to their grids.
    """

    def __init__(
        self, prepared: PreparedGraph, state: Mapping[str, Tensor], chunks: Sequence[Tensor], *, rounded: bool
    ) -> None:
        self.state = dict(state)
        self.rounded = rounded
        self.values: dict[Node, Any] = {}
        self.varying = varying_nodes(prepared)  # nodes with a value per chunk
        self._chunks = list(chunks)
        self._graph = prepared.graph
        self._aliases = prepared.slots.aliases
        self._modules = dict(prepared.graph.named_modules())
        self._scaled = {layer.module for layer in prepared.layers}
        self._unread = {node: len(node.users) for node in prepared.graph.graph.nodes}

    def step(self, node: Node) -> None:
        """Compute a node; those before it have been computed."""
        for source in node.all_input_nodes:
            self._unread[source] -= 1
        last = [source for source in node.all_input_nodes if not self._unread[source]]
        if node.op == "placeholder":
            self.values[node] = list(self._chunks)
        elif node.op == "get_attr":
            self.values[node] = self._attribute(str(node.target))
        elif node in self.varying:
            results = self.values[node] = []
            for i in range(len(self._chunks)):
                results.append(self.compute(node, _Chunk(self, i)))
                for source in last:
                    if source in self.varying:
                        self.values[source][i] = None
        else:
            self.values[node] = self.compute(node, self.values)
        for source in last:
            del self.values[source]

    def compute(self, node: Node, values: Mapping[Node, Any]) -> Any:
        """Return a node's value for these values of its inputs."""
        args, kwargs = map_arg(node.args, values.__getitem__), map_arg(node.kwargs, values.__getitem__)
        if node.op == "call_function":
            return node.target(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        name = str(node.target)
        module: Any = self._modules[name]
        if isinstance(module, FakeQuantizeWeight) and not self.rounded:
            return args[0]
        if name not in self._scaled:
            return module(*args, **kwargs)
        earlier = {key: getattr(module, key) for key in module._buffers}
        try:
            for key, tensor in earlier.items():
                setattr(module, key, self.state.get(f"{name}.{key}", tensor))
            return module(*args, **kwargs)
        finally:
            for key, tensor in earlier.items():
                setattr(module, key, tensor)

    def set_weight(self, layer: Layer, rounder: Node, value: Tensor) -> None:
        """Set a layer's weight from its operator on; `rounder` is the node that rounds it."""
        self.state[layer.weight] = value
        source = rounder.all_input_nodes[0]
        if source in self.values:
            self.values[source] = value
        self.values[rounder] = self.compute(rounder, {source: value})

    def all_rows(self, node: Node) -> Any:
        """Return a copy of a node's value for all rows [rows, …]; the value of a node that does not depend on inputs."""
        if node not in self.varying:
            return self.values[node]
        values = self.values[node]
        return torch.cat(values) if isinstance(values[0], Tensor) else values[0]

    def held_bytes(self) -> int:
        """Return the bytes of the values that depend on the inputs, each tensor's memory once."""
        tensors = [t for n in self.varying for t in self.values.get(n, ()) if isinstance(t, Tensor)]
        storages = [t.untyped_storage() for t in tensors]
        return sum({s.data_ptr(): s.nbytes() for s in storages}.values())

    def _attribute(self, name: str) -> Any:
        known = self.state.get(self._aliases.get(name, name))
        if known is not None:
            return known
        value: Any = self._graph
        for part in name.split("."):
            value = getattr(value, part)
        return value


class _Chunk(dict[Node, Any]):
    """The values of one chunk."""

    def __init__(self, run: GraphRun, chunk: int) -> None:
        super().__init__()
        self.run, self.chunk = run, chunk

    def __missing__(self, node: Node) -> Any:
        value = self.run.values[node]
        return value[self.chunk] if node in self.run.varying else value


def varying_nodes(prepared: PreparedGraph) -> set[Node]:
    """Return the nodes whose values depend on the inputs."""
    return nodes_that_vary(prepared.graph)


def in_order(prepared: PreparedGraph) -> list[Node]:
    """Return the nodes but the output: those that do not depend on the inputs first."""
    varying = varying_nodes(prepared)
    nodes = [node for node in prepared.graph.graph.nodes if node.op != "output"]
    return sorted(nodes, key=lambda node: node in varying)


def layer_of(node: Node, layers: Mapping[str, Layer]) -> Layer | None:
    """Return the quantized layer whose operator a node is, by the names of the layers' modules; None if it is none."""
    rounder = node.args[1] if len(node.args) > 1 else None
    if isinstance(rounder, Node) and rounder.op == "call_module":
        return layers.get(str(rounder.target))
    return None


def weights_read_elsewhere(prepared: PreparedGraph) -> set[str]:
    """Return the names of weights that other operators read besides their layers, such as an embedding tied to a layer.

    These read the weight of the state as it is, so it has to stay in float there.
    """
    rounders, aliases = {layer.module for layer in prepared.layers}, prepared.slots.aliases
    names = {
        str(node.target)
        for node in prepared.graph.graph.nodes
        if node.op == "get_attr"
        and not all(user.op == "call_module" and str(user.target) in rounders for user in node.users)
    }
    first_names = {aliases.get(name, name) for name in names}
    return {
        layer.weight for layer in prepared.layers if aliases.get(layer.weight, layer.weight) in first_names
    }
