"""Matrix products of an ONNX file with stored weights: how they are found and replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from fairpress.compression.errors import VerificationError


@dataclass(frozen=True)
class StoredProducts:
    """The products x·Wᵀ with a stored weight [out, in], and the nodes that transpose it for them."""

    name: str
    products: Sequence[onnx.NodeProto]
    transposes: Sequence[onnx.NodeProto]

    def drop(self, graph: onnx.GraphProto) -> None:
        """Remove the weight, and the nodes that transposed it, in place."""
        for node in self.transposes:
            graph.node.remove(node)
        graph.initializer.remove(next(t for t in graph.initializer if t.name == self.name))


def stored_products(graph: onnx.GraphProto, name: str) -> StoredProducts:
    """Return the products with a weight. Raises VerificationError if something else reads it."""
    readers = [n for n in graph.node if name in n.input]
    transposes = [n for n in readers if n.op_type == "Transpose"]
    products = [n for n in graph.node if any(t.output[0] in n.input for t in transposes)]
    gemms = [n for n in readers if n.op_type == "Gemm"]
    products += gemms
    if not products or len(readers) != len(transposes) + len(gemms):
        raise VerificationError(f"the weight {name!r} has a reader other than a matrix product.")
    for node in products:
        scaled = any(a.name == "alpha" and a.f != 1 for a in node.attribute)
        if node.op_type not in ("Gemm", "MatMul") or scaled:
            raise VerificationError(
                f"the weight {name!r} is read by {node.op_type}, which is not a plain matrix product."
            )
    return StoredProducts(name, products, transposes)


def insert_before(graph: onnx.GraphProto, node: onnx.NodeProto, others: Sequence[onnx.NodeProto]) -> None:
    """Insert nodes, in their order, before a node of the graph."""
    _insert(graph, list(graph.node).index(node), others)


def insert_after(graph: onnx.GraphProto, value: str, others: Sequence[onnx.NodeProto]) -> None:
    """Insert nodes, in their order, after the one that computes a value; at the beginning if it is an input."""
    _insert(graph, next((i + 1 for i, n in enumerate(graph.node) if value in n.output), 0), others)


def _insert(graph: onnx.GraphProto, position: int, others: Sequence[onnx.NodeProto]) -> None:
    for other in reversed(others):
        graph.node.insert(position, other)
