"""Quantize a graph as XNNPACK computes: PT2E with XNNPACK's quantizer, and fairpress's weights and ranges.

XNNPACK's quantizer chooses *what* becomes integers. *How* is chosen as for the ONNX file of the same recipe: the integers of
the weights are the same, and the ranges of activations are estimated by the same method on the same rows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from fairpress.compression.quantized_graph.fake_quantize import (
    MAX_LEVEL,
    FakeQuantizeActivation,
    FakeQuantizeWeight,
    mode,
)
from fairpress.compression.quantized_graph.range_estimators import Ranges, activation_scale
from fairpress.compression.quantized_graph.row_chunks import Rows, chunks
from fairpress.core.errors import UserError
from fairpress.models.export import ignore_mode_changes, load_state
from fairpress.models.exporter_warnings import copy_graph, suppress_exporter_warnings
from fairpress.models.tracing import aten, is_weighted, layer_name
from fairpress.runtime.backends.executorch import quiet, require

with suppress_exporter_warnings():
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import QuantizationSpec

if TYPE_CHECKING:
    from fairpress.compression.quantized_graph.prepare import PreparedGraph

LOWEST = -128  # XNNPACK's activations are signed
NO_HISTOGRAM = (
    "histc",
    "overflow",
)  # in what torch says of a histogram over infinity, and over the lowest float
LARGEST = 1e6  # of what is rounded to 8 bits; masks add the lowest float, or infinity
LAYERS = (
    *(aten.linear.default, aten.conv1d.default, aten.conv1d.padding),
    *(aten.conv2d.default, aten.conv2d.padding, aten.conv3d.default, aten.convolution.default),
    *(aten.conv_transpose1d.default, aten.conv_transpose2d.input, aten.conv_transpose3d.input),
)


def quantize_for_xnnpack(
    graph: GraphModule, prepared: PreparedGraph, state: Mapping[str, Tensor], rows: Rows, method: Ranges
) -> tuple[GraphModule, list[str]]:
    """Return the converted graph, and the names of the layers with integer weights.

    The graph has integer weights, and conversions of activations to signed integers and back.

    Parameters
    ----------
    graph
        The float graph with folded batch norms.
    prepared, state
        The same graph prepared for the recipe, and the network's calibrated state for it: its scales of weights are used.
    rows
        Calibration inputs [rows, …].
    method
        How ranges of activations are estimated from them.
    """
    observed = _observed(graph, {layer.name for layer in prepared.layers if not layer.table})
    # Both graphs call their fake-quantize modules alike, so only the network's own tensors are taken.
    tensors = {name for name, _ in (*graph.named_parameters(), *graph.named_buffers())}
    load_state(observed, {name: value for name, value in state.items() if name in tensors})
    scales = {layer.weight: state[f"{layer.module}.scale"] for layer in prepared.layers}
    modules, integer_layers = dict(observed.named_modules()), []
    for node in observed.graph.nodes:
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, FakeQuantizeWeight):
            weight = str(node.args[0].target)
            module.size(observed.get_parameter(weight))
            module.scale.copy_(scales[weight])
            integer_layers.append(weight.removesuffix(".weight"))
    with torch.no_grad(), mode(observed, weights="round", activations="watch") as observers:
        try:
            for chunk in chunks(rows):
                observed(chunk)
        except RuntimeError as error:
            if not any(word in str(error) for word in NO_HISTOGRAM):
                raise
            raise UserError(_unbounded()) from error
        for module in observers:
            if module.histogram is not None:
                if max(-module.histogram.low, module.histogram.high) > LARGEST:
                    raise UserError(_unbounded())
                scale, zero = activation_scale(module.histogram, MAX_LEVEL, method)
                module.scale, module.zero_point = torch.tensor(scale), torch.tensor(zero + LOWEST)
    with suppress_exporter_warnings():
        return ignore_mode_changes(convert_pt2e(observed)), list(dict.fromkeys(integer_layers))


def _unbounded() -> str:
    return (
        "a sum or product in the network has values that 8 bits cannot hold together with the others, such as the mask "
        "of an attention; export fp32, which leaves it in float."
    )


def _observed(graph: GraphModule, chosen: Collection[str]) -> GraphModule:
    """Return a copy of a graph with a fake-quantize module wherever XNNPACK reads or writes integers."""
    require("Exporting to ExecuTorch")
    with suppress_exporter_warnings(), quiet():
        from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
            XNNPACKQuantizer,
            get_symmetric_quantization_config,
        )

        config = get_symmetric_quantization_config(is_per_channel=True)
        config = replace(
            config,
            input_activation=_with_module(config.input_activation, FakeQuantizeActivation),
            output_activation=_with_module(config.output_activation, FakeQuantizeActivation),
            weight=_with_module(config.weight, FakeQuantizeWeight),
        )

        def takes(node: Node) -> bool:
            return node.target not in LAYERS or (is_weighted(node) and layer_name(node) in chosen)

        class FloatsOnly(XNNPACKQuantizer):
            """XNNPACK's quantizer, which turns the number in ``positions + 1`` to a float, and with it the positions."""

            def transform_for_annotation(self, model: GraphModule) -> GraphModule:
                integers = {n: n.args for n in model.graph.nodes if not _is_float(n)}
                changed: GraphModule = super().transform_for_annotation(model)
                for node, arguments in integers.items():
                    node.args = arguments
                changed.graph.eliminate_dead_code()
                changed.recompile()
                return changed

        quantizer = FloatsOnly().set_global(config).set_filter_function(takes)
        return ignore_mode_changes(prepare_pt2e(copy_graph(graph), quantizer))


def _is_float(node: Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.is_floating_point()


def _with_module(spec: Any, module: type[torch.nn.Module]) -> QuantizationSpec:
    return replace(spec, observer_or_fake_quant_ctr=module)
