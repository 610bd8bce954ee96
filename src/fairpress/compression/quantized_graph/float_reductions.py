"""Reduce floats where OpenVINO reduces integers wrongly.

OpenVINO 2026.4 returns numbers that have nothing to do with the input where integers whose zero point is not 0 are reduced
over tokens, or after a reshape, and where such a maximum is quantized. Its means of images over height and width are right,
and fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from onnx import helper, numpy_helper

from fairpress.compression.quantized_graph.integer_reshapes import RESHAPES

if TYPE_CHECKING:
    import onnx

REDUCTIONS = ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum")
EXTREMES = ("ReduceMax", "ReduceMin")
IMAGE_AXES = ([2, 3], [-2, -1])
LOWEST = "lowest"


def reduce_floats(model: onnx.ModelProto) -> None:
    """Insert max(x, lowest float), which changes nothing, between reductions and the integers next to them, in place."""
    graph = model.graph
    stored = {t.name: t for t in graph.initializer}
    producer = {output: node for node in graph.node for output in node.output}
    for node in [n for n in graph.node if n.op_type in REDUCTIONS]:
        if _axes(node, stored) in IMAGE_AXES:
            continue
        if _reads_integers(node.input[0], producer):
            read_floats(graph, node)
        if node.op_type in EXTREMES:
            for reader in [
                n for n in graph.node if n.op_type == "QuantizeLinear" and n.input[0] == node.output[0]
            ]:
                read_floats(graph, reader)


def read_floats(graph: onnx.GraphProto, node: onnx.NodeProto) -> None:
    """Insert max(x, lowest float) before the first input of a node, in place: runtimes do not read integers through it."""
    if LOWEST not in {t.name for t in graph.initializer}:
        lowest = np.array(np.finfo(np.float32).min, np.float32)
        graph.initializer.append(numpy_helper.from_array(lowest, LOWEST))
    floats = f"{node.input[0]} for {node.output[0]}"
    position = list(graph.node).index(node)
    graph.node.insert(position, helper.make_node("Max", [node.input[0], LOWEST], [floats]))
    node.input[0] = floats


def _axes(node: onnx.NodeProto, stored: Mapping[str, onnx.TensorProto]) -> list[int]:
    tensor = stored.get(node.input[1]) if len(node.input) > 1 else None
    return [] if tensor is None else sorted(numpy_helper.to_array(tensor).ravel().tolist())


def _reads_integers(value: str, producer: Mapping[str, onnx.NodeProto]) -> bool:
    while value in producer and producer[value].op_type in RESHAPES:
        value = producer[value].input[0]
    return value in producer and producer[value].op_type == "DequantizeLinear"
