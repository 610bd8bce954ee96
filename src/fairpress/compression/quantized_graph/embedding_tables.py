"""Embedding tables of integers: each token gathers the integers of its row and multiplies them by the row's scale.

A table that is dequantized first would be a table of floats in memory, in every run or from loading on. Here only the rows
of the tokens at hand become floats.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from fairpress.compression.errors import VerificationError
from fairpress.runtime.onnx.embedding_table import lookup_axis

if TYPE_CHECKING:
    import onnx

LAST_AXIS = "last axis"  # name of the constant


def gather_integers(model: onnx.ModelProto, tables: Collection[str]) -> None:
    """Replace each Gather of rows of a dequantized table by one of its integers and one of its scales, in place.

    Parameters
    ----------
    tables
        Names of the constants with the integers of tables [rows, width], which DequantizeLinear reads with a scale per row.

    Raises
    ------
    VerificationError
        Something else than Gather of rows reads a table.
    """
    graph = model.graph
    columns = {}  # dequantized table → its integers, and its scales [rows, 1]
    for node in list(graph.node):
        if node.op_type == "DequantizeLinear" and node.input[0] in tables:
            names = [f"{node.output[0]} {kind}" for kind in ("integers", "scales")]
            columns[node.output[0]] = names
            # Runtimes fold both at load. The table stays where it was dequantized: layers are checked in this order.
            _replace(
                graph,
                node,
                helper.make_node("Identity", [node.input[0]], [names[0]]),
                helper.make_node("Unsqueeze", [node.input[1], LAST_AXIS], [names[1]]),
            )
            continue
        table = next((name for name in node.input if name in columns), None)
        if table is None:
            continue
        if node.op_type != "Gather" or lookup_axis(node) != 0 or node.input[0] != table:
            raise VerificationError(f"{node.op_type} reads the embedding table {table!r} as a whole")
        _replace(graph, node, *row_nodes(columns[table][0], columns[table][1], node.input[1], node.output[0]))
    if columns:
        graph.initializer.append(numpy_helper.from_array(np.array([-1]), LAST_AXIS))


def _replace(graph: onnx.GraphProto, node: onnx.NodeProto, *others: onnx.NodeProto) -> None:
    position = list(graph.node).index(node)
    graph.node.remove(node)
    for other in reversed(others):
        graph.node.insert(position, other)


def row_nodes(integers: str, scales: str, ids: str, result: str) -> list[onnx.NodeProto]:
    """Return nodes that compute s·q for the rows `ids` […] of integers q [rows, width] and scales s [rows, 1]."""
    rows, floats, steps = (f"{result} {name}" for name in ("rows", "floats", "steps"))
    return [
        helper.make_node("Gather", [integers, ids], [rows], axis=0),
        helper.make_node("Cast", [rows], [floats], to=TensorProto.FLOAT),
        helper.make_node("Gather", [scales, ids], [steps], axis=0),
        helper.make_node("Mul", [floats, steps], [result]),
    ]
