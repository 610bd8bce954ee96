"""The tables of an ONNX file in which token ids are looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairpress.runtime.onnx.load import parse_model

if TYPE_CHECKING:
    import onnx

LOOKUPS = ("Gather", "GatherBlockQuantized")
# Operators through which a lookup may see the token ids, or the table: neither changes the number of its rows.
_ID_OPERATORS = ("Cast", "Identity")
_TABLE_OPERATORS = ("DequantizeLinear", "Cast", "Identity")


def embedding_rows(data: bytes, input_name: str) -> int | None:
    """Return the number of token ids that a file knows (`rows_of_embedding`)."""
    return rows_of_embedding(parse_model(data).graph, input_name)


def rows_of_embedding(graph: onnx.GraphProto, input_name: str) -> int | None:
    """Return the rows of the smallest stored table in which an input is looked up.

    None where there is no such table, as in a graph that computes its embeddings.
    """
    return min(embedding_tables(graph, input_name).values(), default=None)


def embedding_tables(graph: onnx.GraphProto, input_name: str) -> dict[str, int]:
    """Return the stored tables in which an input of token ids is looked up: name → number of rows."""
    rows = {tensor.name: int(tensor.dims[0]) for tensor in graph.initializer if len(tensor.dims) > 1}
    ids, table = {input_name}, {name: name for name in rows}
    tables = {}
    for node in graph.node:  # in topological order
        first = node.input[0] if node.input else ""
        if node.op_type in _ID_OPERATORS and first in ids:
            ids.update(node.output)
        if node.op_type in _TABLE_OPERATORS and first in table:
            table.update(dict.fromkeys(node.output, table[first]))
        if node.op_type == "Gather" and first not in table and node.input[1] in table:
            # The values of a table of indices (`kmeans`), before any token is looked up.
            table.update(dict.fromkeys(node.output, table[node.input[1]]))
        looked_up = len(node.input) > 1 and node.op_type in LOOKUPS and node.input[1] in ids
        if looked_up and first in table and lookup_axis(node) == 0:
            tables[table[first]] = rows[table[first]]
    return tables


def lookup_axis(node: onnx.NodeProto) -> int:
    """Return the axis of a table that a node of `LOOKUPS` looks up; 0 are rows."""
    name = "axis" if node.op_type == "Gather" else "gather_axis"
    return next((a.i for a in node.attribute if a.name == name), 0)
