"""Mark for torchao's PT2E the values to quantize: weights per channel, activations per tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from fairpress.compression.quantized_graph.fake_quantize import (
    MAX_LEVEL,
    FakeQuantizeActivation,
    FakeQuantizeWeight,
)
from fairpress.compression.quantized_graph.max_pool import MAX_POOLS, on_grid
from fairpress.models.exporter_warnings import suppress_exporter_warnings
from fairpress.models.storable_weights import storable_weights, tied_weights
from fairpress.models.tracing import (
    CONVOLUTIONS,
    batch_norm,
    is_lookup,
    is_weighted,
    layer_name,
    layer_of_weight,
    varying_nodes,
    weighted,
)

with suppress_exporter_warnings():
    from torchao.quantization.pt2e.quantizer import QuantizationAnnotation, QuantizationSpec, Quantizer

aten = torch.ops.aten
# These operators read integers: otherwise each would be a float subgraph between two conversions, and ONNX Runtime would run
# the convolution before it in float.
JOINS = (aten.add.Tensor, aten.add_.Tensor, aten.mul.Tensor, aten.mul_.Tensor)
POOLS = (*MAX_POOLS, aten.avg_pool2d.default, aten.adaptive_avg_pool2d.default, aten.mean.dim)
CURVES = (
    *(aten.silu.default, aten.silu_.default, aten.sigmoid.default, aten.sigmoid_.default),
    *(aten.hardswish.default, aten.hardswish_.default, aten.hardsigmoid.default, aten.hardsigmoid_.default),
)
CONVERSIONS = (aten.to.dtype, aten._to_copy.default, aten.clone.default)
# Operators that runtimes fuse with a convolution.
FUSED = (
    *(batch_norm, aten.batch_norm.default, aten.relu.default, aten.relu_.default, aten.clamp.default),
    *(aten.hardtanh.default, aten.hardtanh_.default),
)


class LayerQuantizer(Quantizer):
    """Mark each layer's weight and each embedding table, and with `activations` the inputs of layers, sums and pools.

    A convolution runs on integers only if its output is quantized too, so that output is marked if another operator reads it
    (a transformer reads patches, ConvNeXt normalises over channels). A linear operator runs on integers whether or not its
    output is quantized, unless only some readers quantize it, or the runtime fuses it with a ReLU after it, whose output is
    then marked.

    Weights without an integer kernel (`storable_weights`) are marked wherever they are read, and so are weights of layers
    that other operators read too (`tied_weights`).

    `limits` maps every layer to the smallest and largest integer of its weight; None leaves it in float. Every zero point of
    a weight is 0; activations are unsigned 8 bits.
    """

    def __init__(self, limits: Mapping[str, tuple[int, int] | None], activations: bool) -> None:
        super().__init__()
        self.limits, self.activations = limits, activations

    def annotate(self, model: torch.fx.GraphModule) -> torch.fx.GraphModule:
        downstream: set[Any] = set()  # nodes that depend on an integer layer
        varying = varying_nodes(model)
        for node in model.graph.nodes:
            if any(i in downstream for i in node.all_input_nodes):
                downstream.add(node)
            read: list[Any] = []
            if is_lookup(node):
                limits = self.limits[layer_name(node)]
                if limits is not None:
                    _annotate(node, {node.args[0]: _weight(*limits)})
                continue
            if is_weighted(node):
                limits = self.limits[layer_name(node)]
                # Activation first: PT2E reads this map by position. The input of a float layer after an integer one is
                # quantized as well: only then does the layer before it run on integers.
                if node.args[0] in varying and (limits is not None or node.args[0] in downstream):
                    read = [node.args[0]]
                if limits is not None:
                    downstream.add(node)
                    _annotate(node, self._read(read) | {node.args[1]: _weight(*limits)})
                    continue
            elif node.target in JOINS:
                read = list(node.args[:2]) if all(map(_is_images, node.args[:2])) else []
            elif node.target is aten.cat.default:
                read = list(node.args[0]) if all(map(_is_images, node.args[0])) else []
            elif node.target in (*POOLS, *CURVES) and _is_images(node.args[0]):
                read = [node.args[0]]
            if read and self.activations:
                _annotate(node, self._read(read))
        for name, readers in {**storable_weights(model), **tied_weights(model)}.items():
            stored_limits = self.limits[layer_of_weight(name)]
            if stored_limits is None:
                continue
            for reader in readers:
                annotation = _marked(reader)
                inputs = {i: _weight(*stored_limits) for i in reader.all_input_nodes if str(i.target) == name}
                annotation.input_qspec_map = {**annotation.input_qspec_map, **inputs}
                reader.meta["quantization_annotation"] = annotation
        if self.activations:
            for node in weighted(model):
                if self.limits[layer_name(node)] is not None:
                    _round_output(node)
        return model

    def _read(self, inputs: Sequence[Any]) -> dict[Any, QuantizationSpec]:
        rounded = [i for i in inputs if not on_grid(i)] if self.activations else []
        return {i: _activation() for i in rounded}

    def validate(self, model: torch.fx.GraphModule) -> None:
        """Do nothing: `Scheme.widths` has checked the scheme."""


def layers(graph: torch.fx.GraphModule) -> list[str]:
    """Return the layers, embedding tables and other storable weights in the order they run; each is named once."""
    first_readers: dict[torch.fx.Node, list[str]] = {}
    for name, readers in storable_weights(graph).items():
        first_readers.setdefault(readers[0], []).append(layer_of_weight(name))
    names: dict[str, None] = {}
    for node in graph.graph.nodes:
        if is_weighted(node) or is_lookup(node):
            names[layer_name(node)] = None
        names.update(dict.fromkeys(first_readers.get(node, ())))
    return list(names)


def stored_layers(graph: torch.fx.GraphModule) -> list[str]:
    """Return the layers whose weights can be stored as integers, but not multiplied as such, in the order they run."""
    stored = {layer_of_weight(name) for name in storable_weights(graph)}
    return [name for name in layers(graph) if name in stored]


def product_layers(graph: torch.fx.GraphModule) -> list[str]:
    """Return the layers that compute products, in the order they run: all but embedding tables."""
    return list(dict.fromkeys(map(layer_name, weighted(graph))))


def small_tables(graph: torch.fx.GraphModule) -> list[str]:
    """Return the embedding tables beside that of the vocabulary, such as those of positions and of token types.

    The vocabulary is what the network's input itself is looked up in; where no table is, none counts as small.
    """
    lookups = [node for node in graph.graph.nodes if is_lookup(node)]
    vocabularies = {layer_name(node) for node in lookups if _is_input(node.args[1])}
    others = [layer_name(node) for node in lookups if layer_name(node) not in vocabularies]
    return list(dict.fromkeys(others)) if vocabularies else []


def _is_input(node: Any) -> bool:
    """Return whether a value is the network's input, in its own or another type."""
    while node.op == "call_function" and node.target in CONVERSIONS:
        node = node.args[0]
    return bool(node.op == "placeholder")


def _weight(low: int, top: int) -> QuantizationSpec:
    return QuantizationSpec(
        dtype=torch.int8,
        quant_min=low,
        quant_max=top,
        ch_axis=0,
        qscheme=torch.per_channel_symmetric,
        observer_or_fake_quant_ctr=FakeQuantizeWeight,
    )


def _activation() -> QuantizationSpec:
    return QuantizationSpec(
        dtype=torch.uint8,
        quant_min=0,
        quant_max=MAX_LEVEL,
        qscheme=torch.per_tensor_affine,
        observer_or_fake_quant_ctr=FakeQuantizeActivation,
    )


def _annotate(node: torch.fx.Node, inputs: dict[Any, QuantizationSpec]) -> None:
    node.meta["quantization_annotation"] = QuantizationAnnotation(input_qspec_map=inputs, _annotated=True)


def _round_output(layer: torch.fx.Node) -> None:
    """Mark the output of a layer if its readers would leave it in float, or disagree."""
    end = layer
    while len(end.users) == 1 and (user := next(iter(end.users))).target in FUSED:
        end = user
    rounded = [end in _marked(user).input_qspec_map for user in end.users]
    standalone_linear = layer.target not in CONVOLUTIONS and end is layer
    if all(rounded) or (standalone_linear and not any(rounded)):
        return
    annotation = _marked(end)
    annotation.output_qspec = _activation()
    end.meta["quantization_annotation"] = annotation


def _marked(node: torch.fx.Node) -> QuantizationAnnotation:
    annotation = node.meta.get("quantization_annotation")
    return QuantizationAnnotation(input_qspec_map={}, _annotated=True) if annotation is None else annotation


def _is_images(node: Any) -> bool:
    """Return whether a value is a float feature map [rows, channels, height, width], not a counter, scalar or weight.

    The number of rows is symbolic, so a first axis of fixed size belongs to a weight. Height and width are fixed: attention
    scores and masks over texts of any length have four axes too.
    """
    if not isinstance(node, torch.fx.Node) or node.op == "get_attr":
        return False
    value = node.meta["val"]
    if not isinstance(value, torch.Tensor):
        return False
    fixed = [isinstance(size, int) for size in value.shape]
    return fixed == [False, True, True, True] and value.is_floating_point()
