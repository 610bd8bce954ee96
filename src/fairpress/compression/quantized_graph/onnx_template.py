"""The ONNX template of a quantized architecture: exported once, then filled with each network's numbers."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor
from torch.fx import GraphModule

from fairpress.compression.errors import VerificationError
from fairpress.compression.quantized_graph.embedding_tables import gather_integers
from fairpress.compression.quantized_graph.float_reductions import read_floats, reduce_floats
from fairpress.compression.quantized_graph.integer_biases import Bias, integer_biases
from fairpress.compression.quantized_graph.integer_reshapes import quantize_before_reshapes
from fairpress.compression.quantized_graph.max_pool import pass_grids_on
from fairpress.compression.quantized_graph.prepare import Layer, PreparedGraph
from fairpress.compression.quantized_graph.transposed_weights import store_transposed
from fairpress.compression.quantized_graph.weight_readers import (
    compute_constants_at_load,
    separate_other_readers,
    transpose_shared_weights,
    unpack_at_load,
)
from fairpress.models.export import (
    export_graph,
    fill,
    has_value,
    ignore_mode_changes,
    load_state,
    without_equal_tensors,
)
from fairpress.models.exporter_warnings import suppress_exporter_warnings
from fairpress.runtime.onnx.weight_packing import finalize, pack_channels, pack_weights

with suppress_exporter_warnings():
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e

decomposed = torch.ops.quantized_decomposed
DRAWS = 20  # of integers that differ from those of other layers
# Operators whose float weights ONNX Runtime would quantize by itself.
SHIELDED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class OnnxTemplate:
    """An ONNX graph whose constants have the names of `numbers` and of the state."""

    model: onnx.ModelProto
    biases: tuple[Bias, ...]

    def fill(self, prepared: PreparedGraph, state: Mapping[str, Tensor]) -> bytes:
        """Return the file of a network with this state (float weights, and numbers of its fake-quantize modules)."""
        values = {k: v.detach().cpu().numpy() for k, v in state.items()} | numbers(prepared, state)
        for bias in self.biases:
            values |= bias.numbers(values)
        model = fill(self.model, values)
        even = {integers_of(n.name): n.bits for n in prepared.layers if not n.preserved}
        store_transposed(model, even)
        pack_weights(model, even)
        for layer in prepared.layers:
            if layer.preserved:
                preserved = state[layer.channel_tops].detach().cpu().numpy() > layer.top
                pack_channels(model, integers_of(layer.name), layer.bits, preserved)
        return finalize(model)


def integers_of(layer: str) -> str:
    """Return the name of the constant with a layer's integers."""
    return f"{layer} integers"


def scales_of(layer: str) -> str:
    """Return the name of the constant with a layer's scales."""
    return f"{layer} scales"


def numbers(prepared: PreparedGraph, state: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Return the constants of a state after PT2E's conversion, in the order of the graph.

    They are scale and zero point of activations, and integers and scales of layers.
    """
    out: dict[str, np.ndarray] = {}
    for name in prepared.activations:
        out[f"{name}.scale"] = state[f"{name}.scale"].detach().cpu().numpy()
        out[f"{name}.zero_point"] = state[f"{name}.zero_point"].detach().cpu().numpy().astype(np.uint8)
    return out | numbers_of_layers(prepared, state)


def numbers_of_layers(prepared: PreparedGraph, state: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Return the integers and scales of layers among `numbers`."""
    out: dict[str, np.ndarray] = {}
    for layer in prepared.layers:
        out[integers_of(layer.name)] = _integers(layer, state)
        out[scales_of(layer.name)] = state[f"{layer.module}.scale"].detach().cpu().numpy()
    return out


def _integers(layer: Layer, state: Mapping[str, Tensor]) -> np.ndarray:
    scale, weight = state[f"{layer.module}.scale"].detach(), state[layer.weight].detach()
    shape = (-1, *[1] * (weight.dim() - 1))
    low, top = (torch.as_tensor(v).view(shape) for v in (layer.lows(state), layer.tops(state)))
    integers = (weight * scale.reciprocal().view(shape)).round().clamp(low, top)
    return np.asarray(integers.to(torch.int8).cpu().numpy())


def make_template(prepared: PreparedGraph, state: Mapping[str, Tensor], example: Tensor) -> OnnxTemplate:
    """Convert and export a prepared graph.

    Parameters
    ----------
    prepared
        The graph with folded batch norms.
    state
        Any network's calibrated state. Small noise is added first, and other integers are drawn where that is not enough,
        so that no two integer weights are equal: the exporter would store them as one. `OnnxTemplate.fill` replaces all
        its numbers; floats are not folded.

    Raises
    ------
    VerificationError
        The exported file does not contain the graph's integers, scales and zero points.
    """
    state = _without_equal_integers(prepared, without_equal_tensors(state))
    graph = _convert(prepared, state)
    model = export_graph(graph, example, free=frozenset(state))
    _name_constants(model, prepared, numbers(prepared, state))
    gather_integers(model, {integers_of(layer.name) for layer in prepared.layers if layer.table})
    in_float = [layer for layer in prepared.layers if layer.stored or not prepared.activations]
    unpack_at_load(model, {integers_of(layer.name) for layer in in_float})
    separate_other_readers(model)
    compute_constants_at_load(model)
    transpose_shared_weights(model)
    pass_grids_on(model)
    _shield_floats(model)
    biases = integer_biases(model)
    quantize_before_reshapes(model)  # after what looks for conversions right before layers
    reduce_floats(model)
    return OnnxTemplate(model, biases)


def _without_equal_integers(prepared: PreparedGraph, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state in which weights that would become the same integers, such as those of a copied layer, are random."""
    generator, seen, out = torch.Generator().manual_seed(0), set[tuple[int, bytes]](), dict(state)
    for layer in prepared.layers:
        scale, weight = out[f"{layer.module}.scale"].detach(), out[layer.weight].detach()
        per_row = scale.view(-1, *[1] * (weight.dim() - 1))
        for _ in range(DRAWS):
            content = _content(_integers(layer, out))
            if content not in seen:
                break
            drawn = torch.rand(weight.shape, generator=generator) * (layer.top - layer.low) + layer.low
            out[layer.weight] = drawn.round() * per_row
        seen.add(content)
    return out


def _convert(prepared: PreparedGraph, state: Mapping[str, Tensor]) -> GraphModule:
    """Return PT2E's conversion, after checking that its constants equal `numbers`."""
    with suppress_exporter_warnings():
        graph = convert_pt2e(load_state(copy.deepcopy(prepared.graph), state))
    tensors = {k: v.detach().cpu().numpy() for k, v in graph.state_dict().items()}
    activations: list[Any] = []
    weights: dict[str, np.ndarray] = {}
    for node in graph.graph.nodes:
        if node.target is decomposed.quantize_per_tensor.default:
            activations += [np.float32(node.args[1]), np.uint8(node.args[2])]
        elif node.target is decomposed.dequantize_per_channel.default:
            integers, scales = (str(a.target) for a in node.args[:2])
            weights |= {integers: tensors[integers], f"{integers} scales": tensors[scales]}
    converted, expected = [*activations, *weights.values()], [*numbers(prepared, state).values()]
    if len(converted) != len(expected) or not all(map(np.array_equal, converted, expected)):
        raise VerificationError("PT2E's conversion contains other numbers than the fake-quantize modules.")
    return ignore_mode_changes(graph)


def _name_constants(
    model: onnx.ModelProto, prepared: PreparedGraph, values: Mapping[str, np.ndarray]
) -> None:
    """Store every scale, zero point and integer weight as a separate constant, with the names of `numbers`.

    They are told apart by their values, since the exporter does not keep the order of the graph.
    """
    graph = model.graph
    stored = {t.name: t for t in graph.initializer}

    def adopt(node: onnx.NodeProto, position: int, name: str) -> None:
        if not has_value(stored.get(node.input[position]), values[name]):
            raise VerificationError(f"the exported file does not contain {name!r} where the graph has it")
        if name not in named:
            named.add(name)
            old = numpy_helper.to_array(stored[node.input[position]])
            graph.initializer.append(numpy_helper.from_array(values[name].reshape(old.shape), name))
        node.input[position] = name

    named: set[str] = set()
    by_scale = {values[f"{name}.scale"].tobytes(): name for name in prepared.activations}
    by_integers = {_content(values[integers_of(layer.name)]): layer for layer in prepared.layers}
    if len(by_scale) < len(prepared.activations) or len(by_integers) < len(prepared.layers):
        raise VerificationError(
            "two scales or two weights of the graph are equal, so that the file cannot be filled"
        )
    quantized: dict[str, Any] = {}  # value → the node that quantizes it
    try:
        for node in graph.node:
            if node.op_type == "QuantizeLinear":
                name = by_scale[numpy_helper.to_array(stored[node.input[1]]).tobytes()]
                adopt(node, 1, f"{name}.scale")
                adopt(node, 2, f"{name}.zero_point")
                quantized[node.output[0]] = node
            elif node.op_type == "DequantizeLinear" and node.input[0] in stored:
                layer = by_integers[_content(numpy_helper.to_array(stored[node.input[0]]))]
                adopt(node, 1, scales_of(layer.name))
                adopt(node, 0, integers_of(layer.name))
            elif node.op_type == "DequantizeLinear":
                # The exporter merges equal nodes, so a value may be quantized once and dequantized twice.
                node.input[1:] = quantized[node.input[0]].input[1:]
        every = (f"{name}.scale" for name in prepared.activations)
        incomplete = not named.issuperset((*every, *(integers_of(layer.name) for layer in prepared.layers)))
    except KeyError:
        incomplete = True
    if incomplete:
        raise VerificationError(
            "the exported file does not quantize the same values as the graph it came from"
        )


def _content(integers: np.ndarray) -> tuple[int, bytes]:
    """Return the number and the values of integers, by which a weight is known whatever its shape."""
    return integers.size, np.ascontiguousarray(integers).tobytes()


def _shield_floats(model: onnx.ModelProto) -> None:
    """Insert max(x, lowest float), which changes nothing, between an integer activation and a layer in float.

    ONNX Runtime would quantize the weights of a float layer between two integer values to 8 bits by itself.
    """
    graph = model.graph
    dequantized = {n.output[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    constant = _float_constants(graph)
    for node in list(graph.node):
        if node.op_type not in SHIELDED or node.input[1] not in constant:
            continue
        if node.input[0] in dequantized:
            read_floats(graph, node)


def _float_constants(graph: onnx.GraphProto) -> set[str]:
    """Return the values that are stored or computed from stored values only, without those stored as integers."""
    constants = {t.name for t in graph.initializer}
    for node in graph.node:
        if (
            node.op_type != "DequantizeLinear"
            and node.input
            and all(i in constants or not i for i in node.input)
        ):
            constants |= set(node.output)
    return constants
