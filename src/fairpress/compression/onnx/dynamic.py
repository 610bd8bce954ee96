"""Rewrite linear layers of an ONNX file as integer products whose inputs are quantized in every call."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fairpress.compression.errors import VerificationError
from fairpress.compression.verification.checks import INTEGER_KERNELS, optimized_graph


def multiply_integers(model: onnx.ModelProto, name: str, integers: np.ndarray, scales: np.ndarray) -> None:
    """Replace products with a stored weight [out, in] by products with its integers, in place.

    x·Wᵀ + b becomes DynamicQuantizeLinear, MatMulInteger, a product with both scales, and the sum with b.

    Raises
    ------
    VerificationError
        Something other than a Gemm or MatMul reads the weight.
    """
    graph = model.graph
    readers = [n for n in graph.node if name in n.input]
    transposes = [n for n in readers if n.op_type == "Transpose"]
    products = [n for n in graph.node if any(t.output[0] in n.input for t in transposes)]
    products += [n for n in readers if n.op_type == "Gemm"]
    if not products or len(readers) != len(transposes) + sum(n.op_type == "Gemm" for n in readers):
        raise VerificationError(f"the weight {name!r} has a reader other than a matrix product.")
    stored = next(t for t in graph.initializer if t.name == name)
    graph.initializer.remove(stored)
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.ascontiguousarray(integers.T.astype(np.int8)), f"{name} integers"),
            numpy_helper.from_array(scales.astype(np.float32), f"{name} scales"),
            numpy_helper.from_array(np.zeros((), np.int8), f"{name} zero"),
        ]
    )
    for node in products:
        _replace(graph, node, name)
    for node in transposes:
        graph.node.remove(node)


def _replace(graph: onnx.GraphProto, node: onnx.NodeProto, name: str) -> None:
    x, y = node.input[0], node.output[0]
    if node.op_type not in ("Gemm", "MatMul") or any(a.name == "alpha" and a.f != 1 for a in node.attribute):
        raise VerificationError(
            f"the weight {name!r} is read by {node.op_type}, which is not a plain matrix product."
        )
    value_names = [
        f"{y} {suffix}" for suffix in ("x", "x scale", "x zero", "sum", "float", "scale", "product")
    ]
    rounded, x_scale, x_zero, total, float_total, scale, product = value_names
    bias = node.input[2] if len(node.input) > 2 else None
    new_nodes = [
        helper.make_node("DynamicQuantizeLinear", [x], [rounded, x_scale, x_zero]),
        helper.make_node("MatMulInteger", [rounded, f"{name} integers", x_zero, f"{name} zero"], [total]),
        helper.make_node("Cast", [total], [float_total], to=TensorProto.FLOAT),
        helper.make_node("Mul", [x_scale, f"{name} scales"], [scale]),
        helper.make_node("Mul", [float_total, scale], [product if bias else y]),
    ]
    if bias:
        new_nodes.append(helper.make_node("Add", [product, bias], [y]))
    position = list(graph.node).index(node)
    graph.node.remove(node)
    for new in reversed(new_nodes):
        graph.node.insert(position, new)


def integer_layers(data: bytes, expected: int) -> int:
    """Return the number of layers on integer kernels of ONNX Runtime. Raises VerificationError unless it is `expected`."""
    integer_count = sum(n.op_type in INTEGER_KERNELS for n in optimized_graph(data).graph.node)
    if integer_count != expected:
        raise VerificationError(
            f"expected {expected} layers on integer kernels of ONNX Runtime, found {integer_count}."
        )
    return integer_count
