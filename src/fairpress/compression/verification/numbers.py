"""Compare the numbers of a quantized file with those of its network: integers, scales, zero points, biases."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper
from torch import Tensor
from torch.fx import Node

from fairpress.compression.errors import VerificationError
from fairpress.compression.quantized_graph.onnx_template import integers_of, numbers, scales_of
from fairpress.compression.quantized_graph.prepare import PreparedGraph
from fairpress.compression.verification.checks import stored_weights


def check_values(data: bytes, prepared: PreparedGraph, state: Mapping[str, Tensor]) -> None:
    """Check that the file contains the numbers of the network's state.

    Agreement of predictions is inconclusive if rounding errors alone change them (`checks.check_agreement`); the numbers
    are conclusive for any network.

    Raises
    ------
    VerificationError
        A layer's integers, scales or bias, or the grid of an activation, differ.
    """
    model = onnx.load_from_string(data)
    expected = numbers(prepared, state)
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    _check_layers(model, prepared, state, expected, constants)
    grids = {
        (float(expected[f"{name}.scale"]), int(expected[f"{name}.zero_point"]))
        for name in prepared.activations
    }
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            scale, zero = (constants[name] for name in node.input[1:3])
            if (float(scale), int(zero)) not in grids:
                raise VerificationError(
                    f"the file has a quantization scale of {float(scale):g} with zero point {int(zero)}, which no "
                    "activation has."
                )


def _check_layers(
    model: onnx.ModelProto,
    prepared: PreparedGraph,
    state: Mapping[str, Tensor],
    expected: Mapping[str, np.ndarray],
    constants: Mapping[str, np.ndarray],
) -> None:
    """Compare every layer with the state: its integers by position; its scales and bias must be anywhere in the file.

    The template guarantees that scales and bias belong to the layer, since its constants were assigned one by one.
    """
    biases = _biases(prepared)
    vectors = [value for value in constants.values() if value.ndim == 1 and value.dtype == np.float32]
    rounded = [
        (constants[node.input[0]], constants[node.input[1]])
        for node in model.graph.node
        if node.op_type == "DequantizeLinear"
        and node.input[0] in constants
        and constants[node.input[0]].dtype == np.int32
    ]
    for layer, weight in zip(prepared.layers, stored_weights(model), strict=True):
        if not np.array_equal(weight.values, expected[integers_of(layer.name)]):
            n_different = int((weight.values != expected[integers_of(layer.name)]).sum())
            raise VerificationError(
                f"layer {layer.name!r} has {n_different} wrong integers of {weight.values.size}."
            )
        scales = expected[scales_of(layer.name)]
        if not any(np.array_equal(v, scales) for v in vectors):
            raise VerificationError(f"the file does not contain the scales of layer {layer.name!r}.")
        if layer.name not in biases:
            continue
        bias = state[biases[layer.name]].detach().cpu().numpy()
        as_integers = (
            i.shape == bias.shape and bool((np.abs(i * s.astype(float) - bias) <= 0.51 * np.abs(s)).all())
            for i, s in rounded
        )
        if not any(np.array_equal(v, bias) for v in vectors) and not any(as_integers):
            raise VerificationError(f"the file does not contain the bias of layer {layer.name!r}.")


def _biases(prepared: PreparedGraph) -> dict[str, str]:
    """Return layer → name of its bias in the state, for layers with a bias."""
    layers = {layer.module: layer.name for layer in prepared.layers}
    biases = {}
    for node in prepared.graph.graph.nodes:
        weight, bias = node.args[1:3] if len(node.args) > 2 else (None, None)
        if isinstance(weight, Node) and isinstance(bias, Node) and bias.op == "get_attr":
            name = layers.get(str(weight.target))
            if name is not None:
                biases[name] = str(bias.target)
    return biases
