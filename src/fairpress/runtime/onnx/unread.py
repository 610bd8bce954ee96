"""Remove what nothing reads from an ONNX graph."""

from __future__ import annotations

from collections.abc import Iterable

import onnx


def drop_unread(graph: onnx.GraphProto) -> None:
    """Remove the nodes and initializers of a graph that nothing reads, in place."""
    read = {v.name for v in graph.output}
    for node in reversed(list(graph.node)):
        if read.isdisjoint(node.output):
            graph.node.remove(node)
        else:
            read.update(node.input)
            read.update(_outer_names(node))
    for tensor in [t for t in graph.initializer if t.name not in read]:
        graph.initializer.remove(tensor)


def _outer_names(node: onnx.NodeProto) -> Iterable[str]:
    """Return what the subgraphs of a node read."""
    for attribute in node.attribute:
        for inner in attribute.g.node if attribute.HasField("g") else ():
            yield from inner.input
            yield from _outer_names(inner)
