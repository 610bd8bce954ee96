"""Run a prepared graph layer by layer over all calibration rows, changing each layer's weight before it is used.

Every layer thus reads the inputs that the network computes as changed so far, in one pass over the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.fx import Node

from fairpress.compression.quantized_graph.fake_quantize import mode
from fairpress.compression.quantized_graph.prepare import Layer, PreparedGraph
from fairpress.compression.quantized_graph.row_chunks import Rows
from fairpress.compression.rounding.graph_run import GraphRun, in_order, layer_of
from fairpress.core.time_left import counted
from fairpress.training.token_rows import TokenRows

Visit = Callable[[Layer, Node, Sequence[Tensor], Tensor], Tensor | tuple[Tensor, Tensor]]
"""(layer, its operator, its inputs in chunks [rows, …], its weight) → another weight, or that and its scales [channels]."""

MAX_BYTES = 2**30  # of the values that a sweep holds at once


@torch.no_grad()
def sweep(
    prepared: PreparedGraph, state: Mapping[str, Tensor], chunks: Sequence[Tensor], visit: Visit
) -> dict[str, Tensor]:
    """Return the state with each layer's weight (and scales) replaced by what `visit` returns for it.

    Weights that are visited are rounded to their grids from then on, activations are left in float. A value is dropped,
    chunk by chunk, when its last reader has read it, so the memory is that of the widest place of the network for all rows
    (`bytes_per_row`). A layer that computes several products is visited at the first.

    Parameters
    ----------
    state
        The (folded) float state, with the scales of all weights. `visit` may not change it.
    chunks
        The calibration inputs [rows, …] in chunks.
    """
    layers = {layer.module: layer for layer in prepared.layers if not layer.stored}
    visited: set[str] = set()
    with mode(prepared.graph, weights="round", activations="pass"):
        run = GraphRun(prepared, state, chunks, rounded=True)
        for node in counted(in_order(prepared), "rounding layers, operators"):
            layer = layer_of(node, layers)
            if layer is not None and layer.weight not in visited:
                visited.add(layer.weight)
                source, rounder = node.all_input_nodes[:2]
                inputs = run.values[source] if source in run.varying else [run.values[source]]
                weight = visit(layer, node, inputs, run.state[layer.weight])
                if isinstance(weight, tuple):
                    weight, run.state[f"{layer.module}.scale"] = weight
                run.set_weight(layer, rounder, weight)
            run.step(node)
    return run.state


@torch.no_grad()
def bytes_per_row(prepared: PreparedGraph, state: Mapping[str, Tensor], rows: Rows) -> int:
    """Return the bytes that a sweep holds per row, measured on the first of these rows; of texts, on the longest."""
    peak = 0
    first = rows[rows.lengths.argmax()[None]] if isinstance(rows, TokenRows) else rows[:1]
    with mode(prepared.graph, weights="round", activations="pass"):
        run = GraphRun(prepared, state, [first.clone()], rounded=True)
        for node in in_order(prepared):
            run.step(node)
            peak = max(peak, run.held_bytes())
    return peak
