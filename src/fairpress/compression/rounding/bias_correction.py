"""Bias correction: the mean output of every channel of a rounded layer becomes that of the float layer.

Nagel et al. 2019, arXiv 1906.04721, section 4.2, with means over calibration rows instead of those that batch norms imply.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from fairpress.compression.quantized_graph.fake_quantize import mode
from fairpress.compression.quantized_graph.prepare import PreparedGraph
from fairpress.compression.rounding.graph_run import GraphRun, in_order, layer_of, varying_nodes
from fairpress.models.tracing import CONVOLUTIONS


@torch.no_grad()
def correct_biases(
    prepared: PreparedGraph,
    state: Mapping[str, Tensor],
    rounded: Mapping[str, Tensor],
    chunks: Sequence[Tensor],
) -> tuple[dict[str, Tensor], int]:
    """Return the rounded state with E[float output] − E[output] added to the biases, layer by layer, and their number.

    Every layer reads what the rounded and corrected layers before it compute. Layers without a bias, those that compute
    several products, and biases with another reader stay as they are.

    Parameters
    ----------
    state
        The (folded) float state, with the scales of all weights.
    rounded
        The state whose weights are rounded to their grids.
    chunks
        Inputs [rows, …] of the calibration part in chunks; labels are not used.
    """
    biases = _biases(prepared)
    with mode(prepared.graph, weights="round", activations="pass"):
        expected = GraphRun(prepared, state, chunks, rounded=False)
        run = GraphRun(prepared, rounded, chunks, rounded=True)
        for node in in_order(prepared):
            expected.step(node)
            run.step(node)
            if node in biases:
                axis = 1 if node.target in CONVOLUTIONS else -1
                shift = _means(expected.values[node], axis) - _means(run.values[node], axis)
                name = biases[node]
                run.state[name] = (run.state[name].double() + shift).to(run.state[name].dtype)
                for value in run.values[node]:
                    value += _along(shift.to(value.dtype), axis, value.dim())
    return run.state, len(biases)


def _biases(prepared: PreparedGraph) -> dict[Node, str]:
    """Return the name of the bias of each operator whose bias nothing else reads."""
    layers = {layer.module: layer for layer in prepared.layers if layer.uses == 1}
    aliases = prepared.slots.aliases
    varying = varying_nodes(prepared)
    candidates: dict[Node, str] = {}
    readers: Counter[str] = Counter()
    for node in prepared.graph.graph.nodes:
        if node.op == "get_attr":
            readers[aliases.get(str(node.target), str(node.target))] += len(node.users)
        bias: Any = node.args[2] if len(node.args) > 2 else None
        if (
            node in varying
            and layer_of(node, layers) is not None
            and isinstance(bias, Node)
            and bias.op == "get_attr"
        ):
            candidates[node] = aliases.get(str(bias.target), str(bias.target))
    return {node: name for node, name in candidates.items() if readers[name] == 1}


def _means(values: Sequence[Tensor], axis: int) -> Tensor:
    """Return the mean of every channel over all chunks, float64."""
    channels = [value.movedim(axis, -1).flatten(0, -2) for value in values]
    total = torch.stack([c.sum(0, dtype=torch.float64) for c in channels]).sum(0)
    return total / sum(len(c) for c in channels)


def _along(vector: Tensor, axis: int, dimensions: int) -> Tensor:
    shape = [1] * dimensions
    shape[axis] = -1
    return vector.view(shape)
