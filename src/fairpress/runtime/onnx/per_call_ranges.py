"""Whether a file computes ranges of activations from all rows of a call, so that an answer depends on its neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from fairpress.runtime.onnx.load import parse_model

if TYPE_CHECKING:
    import onnx

PER_CALL_RANGES = frozenset({"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"})
"""Operators that take the smallest and the largest value of a whole tensor, all rows and their padding included."""


def computes_ranges_per_call(data: bytes) -> bool:
    """Return whether an ONNX file, its subgraphs and functions included, has an operator of `PER_CALL_RANGES`."""
    model = parse_model(data)
    nodes = [model.graph.node, *(f.node for f in model.functions)]
    return any(node.op_type in PER_CALL_RANGES for part in nodes for node in _with_inner(part))


def _with_inner(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _with_inner(inner.node)
