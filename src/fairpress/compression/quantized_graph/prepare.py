"""Prepare a graph for a quantization scheme: PT2E, with fairpress's fake-quantize modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.fx import GraphModule

from fairpress.compression.quantized_graph.pt2e_quantizer import (
    LayerQuantizer,
    layers,
    small_tables,
)
from fairpress.compression.quantized_graph.scheme import PRESERVED_BITS, Scheme
from fairpress.core.errors import UserError
from fairpress.models.exporter_warnings import suppress_exporter_warnings
from fairpress.models.functional_call import FastFunctionalCall
from fairpress.models.storable_weights import storable_weights
from fairpress.models.tracing import LOOKUP, hide_batch_norm, layer_of_weight, products
from fairpress.runtime.onnx.weight_packing import require_packing

with suppress_exporter_warnings():  # torchao's registration of enums raises a deprecation warning
    from torchao.quantization.pt2e.quantize_pt2e import prepare_pt2e

    from fairpress.compression.quantized_graph.fake_quantize import (
        FakeQuantizeActivation,
        FakeQuantizeWeight,
        Mode,
        channel_lows,
        mode,
    )


@dataclass(frozen=True)
class Layer:
    """A quantized layer: names of weight and fake-quantize module, bit width, largest integer, shape.

    `preserved` of its output channels have 8 bits instead; a network's state determines which (`tops`). `uses` counts the
    products that the layer computes. With `full_range` the smallest integer is −top − 1, otherwise −top.

    An embedding `table` [rows, width] is a layer whose channels are its rows. It computes no product. A `stored` weight
    (`models.storable_weights`) computes its products in float.
    """

    name: str
    weight: str
    module: str
    bits: int
    top: int
    shape: tuple[int, ...]
    preserved: int = 0
    uses: int = 1
    full_range: bool = False
    table: bool = False
    stored: bool = False

    @property
    def low(self) -> int:
        """Smallest integer."""
        return -self.top - self.full_range

    def tops(self, state: Mapping[str, Tensor]) -> int | Tensor:
        """Return the largest integer, or that of every channel [channels] ([networks, channels] of a stack)."""
        return state[self.channel_tops].detach() if self.preserved else self.top

    def lows(self, state: Mapping[str, Tensor]) -> int | Tensor:
        """Return the smallest integer, or that of every channel, as `tops` does."""
        tops = self.tops(state)
        return channel_lows(tops, self.low, self.top) if isinstance(tops, Tensor) else self.low

    @property
    def channel_tops(self) -> str:
        """Name of the state's tensor with the largest integer of every channel."""
        return f"{self.module}.top"


@dataclass(frozen=True)
class PreparedGraph:
    """A graph with fake-quantize modules, and the names of its layers and activations.

    Attributes
    ----------
    graph
        The prepared graph; its stored numbers have no meaning: `run` and `StackedNetworks` supply a network's.
    layers, float_layers
        Layers with integer weights in the order they run; those that stay in float.
    activations
        Names of the modules before each integer activation, in the order of the graph.
    integer
        Whether the scheme asks for integer activations; a graph of stored weights alone has none nevertheless.
    """

    graph: GraphModule
    layers: tuple[Layer, ...]
    float_layers: tuple[str, ...]
    activations: tuple[str, ...]
    slots: FastFunctionalCall
    integer: bool = False

    def run(self, state: Mapping[str, Tensor], inputs: Tensor, *, rounded: bool = True) -> Tensor:
        """Return the logits [rows, classes] of a network, with or without fake quantization."""
        mode_name: Mode = "round" if rounded else "pass"
        with torch.no_grad(), mode(self.graph, weights=mode_name, activations=mode_name):
            out: Tensor = self.slots.call(state, inputs)
        return out

    @property
    def widths(self) -> dict[str, int]:
        """Layer → bit width."""
        return {layer.name: layer.bits for layer in self.layers}

    @property
    def even(self) -> PreparedGraph:
        """Return the same graph without preserved channels; for file sizes, not for computing."""
        return replace(self, layers=tuple(replace(layer, preserved=0) for layer in self.layers))


def prepare(graph: GraphModule, scheme: Scheme) -> PreparedGraph:
    """Put fake-quantize modules into a copy of an exported graph.

    The file is made from a graph with folded batch norms (`models.tracing.fold_graph`). Unfolded batch norms are left
    unchanged: that graph is for training, and its modules have the names and order of the folded one's.

    Raises
    ------
    UserError
        The scheme names an unknown layer, its `preserve` is too small for any channel, or onnx is too old for a width.
    """
    widths = scheme.widths(layers(graph), small_tables(graph))
    require_packing(set(widths.values()))
    limits = {
        name: None if bits is None else (scheme.low(bits), scheme.top(bits)) for name, bits in widths.items()
    }
    with suppress_exporter_warnings():
        prepared = prepare_pt2e(hide_batch_norm(graph), LayerQuantizer(limits, scheme.activations))
    modules = dict(prepared.named_modules())
    found_layers: dict[str, Layer] = {}
    uses, stored_weights = products(graph), storable_weights(graph)
    for node in prepared.graph.nodes:
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, FakeQuantizeWeight):
            weight = str(node.args[0].target)
            tensor = prepared.get_parameter(weight)
            name = layer_of_weight(weight)
            bits = widths[name]
            assert bits is not None
            stored = weight in stored_weights
            table = not stored and all(user.target is LOOKUP for user in node.users)
            assert stored or any(user.args[0 if table else 1] is node for user in node.users)
            count = 0 if table or stored else scheme.preserved(len(tensor), bits)
            module.size(tensor, channel_tops=count > 0)
            shape = tuple(tensor.shape)
            top = scheme.top(bits)
            full = scheme.low(bits) < -top
            found_layers[name] = Layer(
                name, weight, str(node.target), bits, top, shape, count, uses[name], full, table, stored
            )
    if scheme.preserve and not any(layer.preserved for layer in found_layers.values()):
        raise UserError(
            f"preserve={scheme.preserve:g} preserves no channel: no layer below {PRESERVED_BITS} bits has enough of them; "
            "raise it."
        )
    return PreparedGraph(
        prepared,
        tuple(found_layers.values()),
        tuple(n for n, bits in widths.items() if bits is None),
        tuple(
            str(n.target)
            for n in prepared.graph.nodes
            if n.op == "call_module" and isinstance(modules[str(n.target)], FakeQuantizeActivation)
        ),
        FastFunctionalCall(prepared),
        scheme.activations,
    )
