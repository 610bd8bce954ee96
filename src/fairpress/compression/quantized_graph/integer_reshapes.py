"""Reshape and transpose integers: what is quantized behind reshapes and transpositions is quantized before them.

Both are the same numbers, since each is rounded by itself. But where floats are reshaped first, OpenVINO does not fuse the
rounding with the operator before: a mean or the products of an attention block are then computed in float, and four times as
many bytes are transposed. ONNX Runtime moves the conversion back to the layer that reads it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from onnx import helper

if TYPE_CHECKING:
    import onnx

RESHAPES = ("Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


def quantize_before_reshapes(model: onnx.ModelProto) -> None:
    """Move conversions to integers and back before the reshapes and transpositions that nothing else reads, in place."""
    graph = model.graph
    producer = {output: node for node in graph.node for output in node.output}
    results = {value.name for value in graph.output}
    reads = Counter([name for node in graph.node for name in node.input] + list(results))
    for quantize in [n for n in graph.node if n.op_type == "QuantizeLinear"]:
        reshapes = _reshapes_before(quantize.input[0], producer, reads)
        dequantize = [n for n in graph.node if quantize.output[0] in n.input]
        if not reshapes or any(n.op_type != "DequantizeLinear" or n.output[0] in results for n in dequantize):
            continue
        first, reshaped = reshapes[-1], reshapes[0].output[0]
        replaced = {node.output[0]: reshaped for node in dequantize}
        for node in (quantize, *dequantize):
            graph.node.remove(node)
        for node in graph.node:
            node.input[:] = [replaced.get(name, name) for name in node.input]
        value, grid = first.input[0], quantize.input[1:]
        integers, rounded = (f"{value} before {reshaped} {kind}" for kind in ("integers", "rounded"))
        first.input[0] = rounded
        position = list(graph.node).index(first)
        graph.node.insert(position, helper.make_node("DequantizeLinear", [integers, *grid], [rounded]))
        graph.node.insert(position, helper.make_node("QuantizeLinear", [value, *grid], [integers]))


def _reshapes_before(
    value: str, producer: Mapping[str, onnx.NodeProto], reads: Mapping[str, int]
) -> list[onnx.NodeProto]:
    """Return the reshapes that end in a value and that nothing else reads, from the last to the first.

    None of them where they read integers already: a value is not rounded twice.
    """
    reshapes = []
    while value in producer and producer[value].op_type in RESHAPES and reads[value] == 1:
        reshapes.append(producer[value])
        value = producer[value].input[0]
    return [] if value in producer and producer[value].op_type == "DequantizeLinear" else reshapes
