"""Learn the rounding of all weights of a network, block after block, towards what the float network computes.

A block reads what the rounded blocks before it compute; its target is the output of the same block of the float network.
AdaRound (Nagel et al. 2020, arXiv 2004.10568) takes single layers, BRECQ (Li et al. 2021, arXiv 2102.05426) residual blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.fx import Node

from fairpress.compression.quantized_graph.fake_quantize import mode
from fairpress.compression.quantized_graph.prepare import Layer, PreparedGraph
from fairpress.compression.rounding.blocks import Block
from fairpress.compression.rounding.graph_run import GraphRun, in_order
from fairpress.compression.rounding.learned import RoundedWeight, learn_rounding
from fairpress.core.time_left import counted


@torch.no_grad()
def reconstruct(
    prepared: PreparedGraph,
    state: Mapping[str, Tensor],
    start: Mapping[str, Tensor],
    chunks: Sequence[Tensor],
    blocks: Sequence[Block],
    present: Tensor | None = None,
    **options: float,
) -> dict[str, Tensor]:
    """Return the start's state with weights that lie on their grids, learned block by block.

    Parameters
    ----------
    state
        The (folded) float state, with the scales of all weights.
    start
        The state that learning starts from: its weights, rounded to nearest.
    chunks
        Inputs [rows, …] of the calibration part in chunks; labels are not used.
    blocks
        Blocks in the order in which they run; layers in none keep the start's integers.
    present
        Where token ids are not padding [rows, length]; what blocks compute elsewhere is left out of their error.
    options
        Of `learn_rounding`.
    """
    nodes = in_order(prepared)
    position = {node: i for i, node in enumerate(nodes)}
    by_first = {block.nodes[0]: block for block in blocks}
    outputs = {block.output for block in blocks}
    targets: dict[Node, Tensor] = {}
    with mode(prepared.graph, weights="round", activations="pass"):
        expected = GraphRun(prepared, state, chunks, rounded=False)
        run = GraphRun(prepared, start, chunks, rounded=True)
        reached = 0
        ahead_of_blocks = iter(counted(blocks, "learning the rounding of blocks"))
        for node in nodes:
            if (block := by_first.get(node)) is not None:
                next(ahead_of_blocks)
                for ahead in nodes[reached : position[block.output] + 1]:
                    expected.step(ahead)
                    if ahead in outputs:  # later nodes may change its values in place, or drop them
                        targets[ahead] = expected.all_rows(ahead)
                reached = max(reached, position[block.output] + 1)
                _learn(run, block, state, targets.pop(block.output), present, options)
            run.step(node)
    return run.state


def _learn(
    run: GraphRun,
    block: Block,
    state: Mapping[str, Tensor],
    target: Tensor,
    present: Tensor | None,
    options: Mapping[str, float],
) -> None:
    """Set the weights of a block in a run that has reached it."""
    rounders: dict[Node, Layer] = {node.args[1]: layer for node, layer in block.layers.items()}
    inputs = {node: run.all_rows(node) for node in block.inputs if node not in rounders}

    def compute(rows: Tensor, weights: Sequence[Tensor]) -> Tensor:
        values = dict(zip(rounders, weights, strict=True))
        for node, value in inputs.items():
            if node in run.varying:
                value = value[rows] if isinstance(value, Tensor) else len(rows)
            values[node] = value
        for node in block.nodes:
            values[node] = run.compute(node, values)
        return without_padding(values[block.output], rows)

    def without_padding(output: Tensor, rows: Tensor) -> Tensor:
        """Return outputs [rows, …], with 0 in place of those of padding if they have an axis of tokens."""
        if present is None or output.dim() < 3:
            return output
        return output * present[rows].to(output.dtype).view(len(rows), -1, *[1] * (output.dim() - 2))

    target = without_padding(target, torch.arange(len(target)))
    weights = [rounded_weight(layer, state, run.state) for layer in rounders.values()]
    learned = learn_rounding(compute, target, weights, **options)  # type: ignore[arg-type]
    for (rounder, layer), value in zip(rounders.items(), learned, strict=True):
        run.set_weight(layer, rounder, value)


def rounded_weight(layer: Layer, state: Mapping[str, Tensor], rounded: Mapping[str, Tensor]) -> RoundedWeight:
    """Return a layer's float weight with its integers and scales in a rounded state."""
    shape = (-1, *[1] * (len(layer.shape) - 1))
    scale = rounded[f"{layer.module}.scale"].view(shape)
    low, top = (
        limit.view(shape) if isinstance(limit, Tensor) else torch.tensor(float(limit))
        for limit in (layer.lows(state), layer.tops(state))
    )
    integers = torch.clamp((rounded[layer.weight] / scale).round(), low, top)
    return RoundedWeight(state[layer.weight].detach(), integers, scale, low, top)
