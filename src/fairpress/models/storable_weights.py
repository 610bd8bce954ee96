"""Weights of a graph that no convolution, linear layer or embedding reads as a layer: they can be stored as integers.

Recurrent layers, transposed and three-dimensional convolutions, products and einsum with a parameter, weights that a network
computes from others. Their products are computed in float; runtimes have no integer kernels for most of them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import GraphModule, Node

from fairpress.models.tracing import is_lookup, is_weighted, varying_nodes, weights_in_products

aten = torch.ops.aten
# Operators that read numbers of rows, and no other tensor.
SPREAD = (aten.expand.default, aten.repeat.default, aten.view.default, aten.reshape.default)


def storable_weights(graph: GraphModule) -> dict[str, list[Node]]:
    """Return the names of such parameters → the nodes that read them, in the order in which they run.

    A parameter counts if a product (`weights_in_products`) reads it or what is computed from parameters alone, and no layer
    does. Parameters that are added, or scale channels, are not among them.
    """
    varying = varying_nodes(graph)
    names = {name for name, _ in graph.named_parameters()}
    readers: dict[str, list[Node]] = {}
    layers: set[str] = set()
    for node in graph.graph.nodes:
        if node.op != "get_attr" or str(node.target) not in names:
            continue
        name = str(node.target)
        readers.setdefault(name, []).extend(node.users)
        if any(_is_layer(user, node) for user in node.users):
            layers.add(name)
    return {
        name: nodes
        for name, nodes in readers.items()
        if name not in layers
        and _is_matrix(graph.get_parameter(name))
        and any(_reaches_product(node, name, varying) for node in nodes)
    }


def tied_weights(graph: GraphModule) -> dict[str, list[Node]]:
    """Return the names of layers' weights that other operators read too, such as an embedding → those operators."""
    readers: dict[str, list[Node]] = {}
    layers: set[str] = set()
    for node in graph.graph.nodes:
        if node.op != "get_attr":
            continue
        for user in node.users:
            if is_weighted(user) and user.args[1] is node:
                layers.add(str(node.target))
            else:
                readers.setdefault(str(node.target), []).append(user)
    return {name: nodes for name, nodes in readers.items() if name in layers}


def _is_matrix(value: torch.Tensor) -> bool:
    return value.is_floating_point() and value.dim() >= 2


def _is_layer(user: Node, weight: Node) -> bool:
    return (is_weighted(user) and user.args[1] is weight) or (is_lookup(user) and user.args[0] is weight)


def _reaches_product(reader: Node, name: str, varying: set[Node]) -> bool:
    """Return whether a product reads a parameter, or what nodes without another tensor make of it."""
    pending: list[tuple[Node, Any]] = [(reader, name)]
    seen: set[Node] = set()
    while pending:
        node, source = pending.pop()
        if node in varying and node.target not in SPREAD:
            weights = weights_in_products(node)
            if any(w is source or str(getattr(w, "target", "")) == source for w in weights):
                return True
            continue
        if node not in seen:
            seen.add(node)
            pending += [(user, node) for user in node.users]
    return False
