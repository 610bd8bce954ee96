"""Weights of an ONNX file as integers of 8 or 4 bits with a scale per block: products in float that read packed weights."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fairpress.compression.errors import VerificationError
from fairpress.compression.onnx.stored_products import insert_before, stored_products
from fairpress.compression.verification.checks import optimized_graph
from fairpress.runtime.onnx.weight_packing import pack_bits

OPSET, IR_VERSION = 21, 10  # of DequantizeLinear with blocks, and of INT4
KERNEL = "MatMulNBits"


def store_in_blocks(
    model: onnx.ModelProto, name: str, integers: np.ndarray, scales: np.ndarray, bits: int, block: int
) -> None:
    """Store a float weight [out, in] of matrix products as integers, in place; `block` of its inputs share a scale.

    The file dequantizes the weight (DequantizeLinear with `block_size`), which ONNX Runtime fuses with the product into
    MatMulNBits when it loads the file, so that weights stay packed in memory; OpenVINO reads the same operators.

    Parameters
    ----------
    integers
        [out, in], within −8 … 7 at 4 bits and ±127 at 8.
    scales
        [out, ⌈in/block⌉], float16 or float32, stored as they are.

    Raises
    ------
    VerificationError
        Something other than a Gemm or MatMul reads the weight.
    """
    graph = model.graph
    weight = stored_products(graph, name)
    codes = np.ascontiguousarray(integers.T.astype(np.int8))
    stored = (
        numpy_helper.from_array(codes, f"{name} integers")
        if bits == 8
        else onnx.TensorProto(
            name=f"{name} integers",
            data_type=TensorProto.INT4,
            dims=codes.shape,
            raw_data=pack_bits(codes, bits),
        )
    )
    graph.initializer.extend(
        [stored, numpy_helper.from_array(np.ascontiguousarray(scales.T), f"{name} scales")]
    )
    steps = f"{name} steps" if scales.dtype == np.float16 else f"{name} scales"
    first = min(weight.products, key=list(graph.node).index)
    unpack = [
        helper.make_node(
            "DequantizeLinear", [f"{name} integers", steps], [f"{name} weight"], axis=0, block_size=block
        )
    ]
    if scales.dtype == np.float16:
        unpack.insert(0, helper.make_node("Cast", [f"{name} scales"], [steps], to=TensorProto.FLOAT))
    insert_before(graph, first, unpack)
    for node in weight.products:
        result, bias = node.output[0], node.input[2] if len(node.input) > 2 else None
        product = f"{result} product" if bias else result
        new = [helper.make_node("MatMul", [node.input[0], f"{name} weight"], [product])]
        if bias:
            new.append(helper.make_node("Add", [product, bias], [result]))
        insert_before(graph, node, new)
        graph.node.remove(node)
    weight.drop(graph)
    model.opset_import[0].version = max(model.opset_import[0].version, OPSET)
    model.ir_version = max(model.ir_version, IR_VERSION)


def packed_products(data: bytes, expected: int) -> int:
    """Return the number of products for which ONNX Runtime reads packed weights.

    Raises VerificationError unless it is `expected` and no weight is dequantized in every run.
    """
    counts = Counter(node.op_type for node in optimized_graph(data).graph.node)
    if counts[KERNEL] != expected or counts["DequantizeLinear"]:
        raise VerificationError(
            f"expected {expected} products with packed weights in ONNX Runtime, found {counts[KERNEL]}, and "
            f"{counts['DequantizeLinear']} weights that are dequantized in every run."
        )
    return counts[KERNEL]
