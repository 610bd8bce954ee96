"""How operators of a file read integer weights, so that ONNX Runtime multiplies integers, or folds what is constant."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fairpress.compression.quantized_graph.embedding_tables import row_nodes
from fairpress.runtime.onnx.embedding_table import lookup_axis
from fairpress.runtime.onnx.unread import drop_unread

PRODUCTS = ("MatMul", "Gemm", "Conv", "Gather")


def unpack_at_load(model: onnx.ModelProto, names: Collection[str]) -> None:
    """Replace DequantizeLinear of integers with these names by Cast and Mul, in place.

    ONNX Runtime would repeat DequantizeLinear in every run; it folds the others.
    """
    graph = model.graph
    for position, node in reversed(list(enumerate(graph.node))):
        if node.op_type == "DequantizeLinear" and node.input[0] in names:
            del graph.node[position]
            for new in reversed(_unpacked(graph, node, node.output[0])):
                graph.node.insert(position, new)


def transpose_shared_weights(model: onnx.ModelProto) -> None:
    """Let integers, not what they dequantize to, be transposed for products that share a weight, in place.

    A product of matrices reads the transpose of a weight [out, in]. ONNX Runtime moves a transpose before DequantizeLinear
    itself if one product reads it; otherwise it would run all products of the layer in float. The integers are transposed
    once, when the file is loaded.
    """
    graph = model.graph
    stored = {t.name: len(t.dims) for t in graph.initializer}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in set(node.input):
            readers.setdefault(name, []).append(node)
    for node in [n for n in graph.node if n.op_type == "DequantizeLinear" and stored.get(n.input[0]) == 2]:
        transposes = [n for n in readers.get(node.output[0], ()) if n.op_type == "Transpose"]
        results = [n.output[0] for n in transposes]
        if sum(len(readers.get(name, ())) for name in results) < 2:
            continue
        integers, result = f"{node.input[0]} transposed", results[0]
        position = list(graph.node).index(node)
        graph.node.insert(
            position + 1,
            helper.make_node("DequantizeLinear", [integers, *node.input[1:]], [result], axis=1),
        )
        graph.node.insert(
            position + 1, helper.make_node("Transpose", [node.input[0]], [integers], perm=[1, 0])
        )
        for transpose in transposes:
            graph.node.remove(transpose)
        for other in results[1:]:
            for reader in readers[other]:
                for position, name in enumerate(reader.input):
                    if name == other:
                        reader.input[position] = result
        if len(transposes) == len(readers[node.output[0]]):
            graph.node.remove(node)


def separate_other_readers(model: onnx.ModelProto) -> None:
    """Let lookups and other operators that read the weight of a layer have its integers for themselves, in place.

    A lookup of rows gathers integers (`embedding_tables.row_nodes`); for others, the weight becomes floats when the file is
    loaded. The layer's own products go on reading DequantizeLinear, which ONNX Runtime makes integer kernels of.
    """
    graph = model.graph
    ranks = {t.name: len(t.dims) for t in graph.initializer}
    for node in [n for n in graph.node if n.op_type == "DequantizeLinear" and ranks.get(n.input[0], 0) >= 2]:
        readers = [n for n in graph.node if node.output[0] in n.input]
        others = [n for n in readers if not _is_product(graph, n)]
        if not others or len(others) == len(readers):
            continue
        value, columns = f"{node.output[0]} at load", f"{node.output[0]} columns"
        for reader in others:
            if reader.op_type == "Gather" and ranks[node.input[0]] == 2 and not lookup_axis(reader):
                axis = f"{columns} axis"
                if axis not in ranks:
                    ranks[axis] = 1
                    graph.initializer.append(numpy_helper.from_array(np.array([-1]), axis))
                    insert_before(
                        graph, node, [helper.make_node("Unsqueeze", [node.input[1], axis], [columns])]
                    )
                insert_before(
                    graph, reader, row_nodes(node.input[0], columns, reader.input[1], reader.output[0])
                )
                graph.node.remove(reader)
                continue
            if value not in ranks:
                ranks[value] = ranks[node.input[0]]
                insert_before(graph, node, _unpacked(graph, node, value))
            for position, name in enumerate(reader.input):
                if name == node.output[0]:
                    reader.input[position] = value


def _is_product(graph: onnx.GraphProto, node: onnx.NodeProto) -> bool:
    """Return whether a node multiplies by a weight, or transposes it for nodes that do."""
    if node.op_type == "Transpose":
        readers = [n for n in graph.node if node.output[0] in n.input]
        return bool(readers) and all(n.op_type == "MatMul" for n in readers)
    return node.op_type in ("MatMul", "Gemm", "Conv")


def compute_constants_at_load(model: onnx.ModelProto) -> None:
    """Let products of weights with constants, such as relative positions, be computed when the file is loaded, in place.

    Runtimes do not fold DequantizeLinear, and would compute such a product in every run; they fold Cast and Mul.
    """
    graph = model.graph
    constant = {t.name for t in graph.initializer}
    producers: dict[str, onnx.NodeProto] = {}
    unpacked: dict[str, str] = {}
    for node in list(graph.node):
        producers.update(dict.fromkeys(node.output, node))
        if not node.input or not all(name in constant for name in node.input if name):
            continue
        constant.update(node.output)
        if node.op_type not in PRODUCTS:
            continue
        for position, name in enumerate(node.input):
            source, transposed = producers.get(name), False
            if source is not None and source.op_type == "Transpose":
                source, transposed = producers.get(source.input[0]), True
            if source is None or source.op_type != "DequantizeLinear":
                continue
            value = unpacked.setdefault(source.output[0], f"{source.output[0]} at load")
            if f"{value} floats" not in producers:
                producers[f"{value} floats"] = source
                # Where the weight was read first: files are checked layer by layer in this order.
                insert_before(graph, source, _unpacked(graph, source, value))
            if transposed:
                transpose = helper.make_node("Transpose", [value], [f"{value} for {node.output[0]}"])
                insert_before(graph, node, [transpose])
            node.input[position] = f"{value} for {node.output[0]}" if transposed else value
    if unpacked:
        drop_unread(graph)


def _unpacked(graph: onnx.GraphProto, source: onnx.NodeProto, result: str) -> list[onnx.NodeProto]:
    """Return nodes that compute what a DequantizeLinear of a stored weight computes, with operators that runtimes fold."""
    rank = next(len(t.dims) for t in graph.initializer if t.name == source.input[0])
    axes = f"{rank} axes"
    if axes not in {t.name for t in graph.initializer}:
        graph.initializer.append(numpy_helper.from_array(np.arange(1, rank, dtype=np.int64), axes))
    return [
        helper.make_node("Cast", [source.input[0]], [f"{result} floats"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", [source.input[1], axes], [f"{result} columns"]),
        helper.make_node("Mul", [f"{result} floats", f"{result} columns"], [result]),
    ]


def insert_before(graph: onnx.GraphProto, node: onnx.NodeProto, others: Sequence[onnx.NodeProto]) -> None:
    """Insert nodes, in their order, before a node of the graph."""
    position = list(graph.node).index(node)
    for other in reversed(others):
        graph.node.insert(position, other)
