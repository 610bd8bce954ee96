"""Rewrite linear layers of an ONNX file as integer products whose inputs are quantized when the file runs."""

from __future__ import annotations

from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fairpress.compression.errors import VerificationError
from fairpress.compression.onnx.stored_products import insert_after, insert_before, stored_products
from fairpress.compression.verification.checks import integer_products, optimized_graph

InputRanges = Literal["call", "row"]
LEVELS = 255  # steps between the smallest and the largest value of a row
LEAST_RANGE = 1e-12  # of a row whose values are all equal


def multiply_integers(
    model: onnx.ModelProto, name: str, integers: np.ndarray, scales: np.ndarray, ranges: InputRanges = "call"
) -> None:
    """Replace products with a stored weight [out, in] by products with its integers, in place.

    With the range of the call, x·Wᵀ + b becomes DynamicQuantizeLinear, MatMulInteger, a product with both scales, and the
    sum with b. With the range r of every row of x, from its least value l on, it becomes r·(x̂·Wᵀ) + l·ΣW + b, where
    x̂ = (x − l)/r lies between 0 and 1 and has the constant scale 1/255, so that runtimes use their kernels for static
    scales.

    Raises
    ------
    VerificationError
        Something other than a Gemm or MatMul reads the weight.
    """
    graph = model.graph
    weight = stored_products(graph, name)
    stored = np.ascontiguousarray(integers.T.astype(np.int8))
    constants = {
        f"{name} integers": stored,
        f"{name} scales": scales.astype(np.float32),
        f"{name} zero": np.zeros((), np.int8) if ranges == "call" else np.zeros(len(scales), np.int8),
    }
    if ranges == "row":
        constants[f"{name} sums"] = (stored.astype(np.int64).sum(0) * scales.astype(np.float64)).astype(
            np.float32
        )
    graph.initializer.extend(numpy_helper.from_array(value, key) for key, value in constants.items())
    for node in weight.products:
        make = _product_of_call if ranges == "call" else _product_of_rows
        result, bias = node.output[0], node.input[2] if len(node.input) > 2 else None
        product = f"{result} product" if bias else result
        new = make(graph, name, node.input[0], product)
        if bias:
            new.append(helper.make_node("Add", [product, bias], [result]))
        insert_before(graph, node, new)
        graph.node.remove(node)
    weight.drop(graph)


def _product_of_call(graph: onnx.GraphProto, name: str, x: str, result: str) -> list[onnx.NodeProto]:
    rounded, x_scale, x_zero = (f"{x} {suffix}" for suffix in ("codes", "scale", "zero"))
    if not any(rounded in n.output for n in graph.node):
        quantizer = helper.make_node("DynamicQuantizeLinear", [x], [rounded, x_scale, x_zero])
        insert_after(graph, x, [quantizer])
    total, float_total, scale = (f"{result} {suffix}" for suffix in ("sum", "float", "scale"))
    return [
        helper.make_node("MatMulInteger", [rounded, f"{name} integers", x_zero, f"{name} zero"], [total]),
        helper.make_node("Cast", [total], [float_total], to=TensorProto.FLOAT),
        helper.make_node("Mul", [x_scale, f"{name} scales"], [scale]),
        helper.make_node("Mul", [float_total, scale], [result]),
    ]


def _product_of_rows(graph: onnx.GraphProto, name: str, x: str, result: str) -> list[onnx.NodeProto]:
    least, width, rounded = (f"{x} {suffix}" for suffix in ("least", "range", "rounded"))
    if not any(rounded in n.output for n in graph.node):
        _quantize_rows(graph, x, least, width, rounded)
    weight, product, scaled, shift = (f"{result} {s}" for s in ("weight", "of rows", "scaled", "shift"))
    return [
        helper.make_node(
            "DequantizeLinear", [f"{name} integers", f"{name} scales", f"{name} zero"], [weight], axis=1
        ),
        helper.make_node("MatMul", [rounded, weight], [product]),
        helper.make_node("Mul", [product, width], [scaled]),
        helper.make_node("Mul", [least, f"{name} sums"], [shift]),
        helper.make_node("Add", [scaled, shift], [result]),
    ]


def _quantize_rows(graph: onnx.GraphProto, x: str, least: str, width: str, rounded: str) -> None:
    """Add nodes that compute least value and range [rows, …, 1] of x [rows, …, in], and (x − least)/range in 8 bits."""
    stored = {t.name for t in graph.initializer}
    for key, value in {
        "rows axis": np.array([-1]),
        "rows least range": np.array(LEAST_RANGE, np.float32),
        "rows scale": np.array(1 / LEVELS, np.float32),
        "rows zero": np.array(0, np.uint8),
    }.items():
        if key not in stored:
            graph.initializer.append(numpy_helper.from_array(value, key))
    node, at = helper.make_node, f"{x} {{}}".format
    insert_after(
        graph,
        x,
        [
            node("ReduceMax", [x, "rows axis"], [at("largest")], keepdims=1),
            node("ReduceMin", [x, "rows axis"], [least], keepdims=1),
            node("Sub", [at("largest"), least], [at("difference")]),
            node("Max", [at("difference"), "rows least range"], [width]),
            node("Reciprocal", [width], [at("inverse")]),
            node("Sub", [x, least], [at("from zero")]),
            node("Mul", [at("from zero"), at("inverse")], [at("share")]),
            node("QuantizeLinear", [at("share"), "rows scale", "rows zero"], [at("codes")]),
            node("DequantizeLinear", [at("codes"), "rows scale", "rows zero"], [rounded]),
        ],
    )


def integer_layers(data: bytes, expected: int) -> int:
    """Return the number of layers on integer kernels of ONNX Runtime. Raises VerificationError unless it is `expected`."""
    integer_count = integer_products(optimized_graph(data))
    if integer_count != expected:
        raise VerificationError(
            f"expected {expected} layers on integer kernels of ONNX Runtime, found {integer_count}."
        )
    return integer_count
