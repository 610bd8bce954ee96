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

Visit = Callable[[Layer, Node, Sequence[Tensor], Tensor], Tensor | tuple[Tensor, Tensor]]
"""(layer, its operator, its inputs in chunks [rows, …], its weight) → another weight, or that and its scales [channels]."""

MAX_BYTES = 2**30  # of the values that a sweep holds at once


@torch.no_grad()
def sweep(
    prepared: PreparedGraph, state: Mapping[str, Tensor], chunks: Sequence[Tensor], visit: Visit
) -> dict[str, Tensor]:
    """Return the state with each layer's weight (and scales) replaced by what `visit` returns for it.

    Weights that are visited are rounded to their grids from then on, activations are left in float. A value is dropped,
    chunk by chunk, when its last reader has read it, so the memory is that of the widest place of the network for all rows
    (`bytes_per_row`). A layer that computes several products is visited at the first.

    Parameters
    ----------
    state
        The (folded) float state, with the scales of all weights. `visit` may not change it.
    chunks
        The calibration inputs [rows, …] in chunks.
    """
    return _Sweep(prepared, state, chunks).run(visit)


@torch.no_grad()
def bytes_per_row(prepared: PreparedGraph, state: Mapping[str, Tensor], rows: Tensor) -> int:
    """Return the bytes that a sweep holds per row, measured on the first of these rows."""
    measured = _Sweep(prepared, state, [rows[:1].clone()])
    measured.run(None)
    return measured.peak


class _Sweep:
    """The values of a graph while it is run node by node."""

    def __init__(
        self, prepared: PreparedGraph, state: Mapping[str, Tensor], chunks: Sequence[Tensor]
    ) -> None:
        self.prepared, self.changed, self.chunks = prepared, dict(state), chunks
        self.layers = {layer.module: layer for layer in prepared.layers}
        self.modules = dict(prepared.graph.named_modules())
        self.values: dict[Node, Any] = {}
        self.varying: set[Node] = set()  # nodes with a value per chunk
        self.unread = {node: len(node.users) for node in prepared.graph.graph.nodes}
        self.peak = 0

    def run(self, visit: Visit | None) -> dict[str, Tensor]:
        visited: set[str] = set()
        with mode(self.prepared.graph, weights="round", activations="pass"):
            for node in self.prepared.graph.graph.nodes:
                if node.op == "output":
                    break
                if visit is not None and (layer := self._layer(node)) and layer.weight not in visited:
                    visited.add(layer.weight)
                    rounder: Any = node.args[1]
                    inputs = self.values[node.args[0]]
                    if node.args[0] not in self.varying:
                        inputs = [inputs]
                    result = visit(layer, node, inputs, self.changed[layer.weight])
                    if isinstance(result, tuple):
                        result, self.changed[f"{layer.module}.scale"] = result
                    self.changed[layer.weight] = result
                    self.values[rounder.args[0]] = self.changed[layer.weight]
                    self.values[rounder] = self._compute(rounder, None)
                self._run(node)
                if visit is None:
                    self.peak = max(self.peak, self._bytes())
        return self.changed

    def _layer(self, node: Node) -> Layer | None:
        """Return the layer that a node computes; None for other nodes."""
        rounder = node.args[1] if len(node.args) > 1 else None
        if isinstance(rounder, Node) and rounder.op == "call_module":
            return self.layers.get(str(rounder.target))
        return None

    def _run(self, node: Node) -> None:
        if node.op == "placeholder":
            self.values[node] = list(self.chunks)
            self.varying.add(node)
            return
        sources = node.all_input_nodes
        for source in sources:
            self.unread[source] -= 1
        last = [source for source in sources if self.unread[source] == 0]
        if self.varying.isdisjoint(sources):
            self.values[node] = self._compute(node, None)
        else:
            self.varying.add(node)
            results = self.values[node] = []
            for i in range(len(self.chunks)):
                results.append(self._compute(node, i))
                for source in last:
                    if source in self.varying:
                        self.values[source][i] = None
        for source in last:
            del self.values[source]

    def _compute(self, node: Node, chunk: int | None) -> Any:
        def value(n: Node) -> Any:
            return self.values[n][chunk] if n in self.varying else self.values[n]

        if node.op == "get_attr":
            return self._attribute(str(node.target))
        args, kwargs = map_arg(node.args, value), map_arg(node.kwargs, value)
        if node.op == "call_function":
            return node.target(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        name = str(node.target)
        module: Any = self.modules[name]
        if name in self.layers:
            earlier = {key: getattr(module, key) for key in module._buffers}
            try:
                for key in earlier:
                    setattr(module, key, self.changed.get(f"{name}.{key}", earlier[key]))
                return module(*args, **kwargs)
            finally:
                for key, tensor in earlier.items():
                    setattr(module, key, tensor)
        return module(*args, **kwargs)

    def _attribute(self, name: str) -> Any:
        known = self.changed.get(self.prepared.slots.aliases.get(name, name))
        if known is not None:
            return known
        value: Any = self.prepared.graph
        for part in name.split("."):
            value = getattr(value, part)
        return value

    def _bytes(self) -> int:
        """Return the bytes of the values per chunk, each tensor's memory once."""
        tensors = [
            t for n in self.varying if n in self.values for t in self.values[n] if isinstance(t, Tensor)
        ]
        storages = [t.untyped_storage() for t in tensors]
        return sum({s.data_ptr(): s.nbytes() for s in storages}.values())
