"""Store the integers of weights in the order in which products of matrices read them.

A product reads the transpose of a weight [out, in]. With the transpose in the file, ONNX Runtime dequantizes the weight and
transposes the floats while it loads the file, which takes four times the memory of the integers and most of the loading.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
from onnx import helper, numpy_helper


def store_transposed(model: onnx.ModelProto, names: Collection[str]) -> None:
    """Transpose stored integers [out, in] of which only the transpose is read, and remove the transposes, in place.

    Parameters
    ----------
    model
        A graph whose weights are INT8 initializers, one scale for each output channel.
    names
        Initializers that may be stored as [in, out].
    """
    graph = model.graph
    if any(attribute.HasField("g") for node in graph.node for attribute in node.attribute):
        return  # a branch may read the weight too
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in set(node.input):
            readers.setdefault(name, []).append(node)
    for tensor in graph.initializer:
        if tensor.name not in names or len(tensor.dims) != 2 or len(readers.get(tensor.name, ())) != 1:
            continue
        (node,) = readers[tensor.name]
        after = readers.get(node.output[0], [])
        transposes = [n for n in (node, *after) if n.op_type == "Transpose"]
        dequantized = [n for n in (node, *after) if n.op_type == "DequantizeLinear"]
        if node.op_type == "DequantizeLinear" and len(transposes) == len(after) == 1:
            node.output[0] = transposes[0].output[0]
        elif node.op_type == "Transpose" and len(dequantized) == len(after) > 0:
            for reader in dequantized:
                reader.input[0] = tensor.name
        else:
            continue
        for reader in dequantized:
            del reader.attribute[:]
            reader.attribute.append(helper.make_attribute("axis", 1))
        for transpose in transposes:
            graph.node.remove(transpose)
        values = np.ascontiguousarray(numpy_helper.to_array(tensor).T)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def transposed_weights(graph: onnx.GraphProto) -> set[str]:
    """Return the values, stored or unpacked, that are weights [in, out] with a scale for each column."""
    return {
        node.input[0]
        for node in graph.node
        if node.op_type == "DequantizeLinear" and all(a.i == 1 for a in node.attribute if a.name == "axis")
    }
