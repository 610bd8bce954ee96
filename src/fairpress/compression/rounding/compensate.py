"""Round all weights of a network with error compensation, each layer reading what the quantized layers before it compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.fx import Node

from fairpress.compression.quantized_graph.prepare import Layer, PreparedGraph
from fairpress.compression.rounding.gptq import error_compensated
from fairpress.compression.rounding.input_moments import input_moments
from fairpress.compression.rounding.layer_sweep import sweep


def compensate(
    prepared: PreparedGraph, state: Mapping[str, Tensor], chunks: Sequence[Tensor]
) -> dict[str, Tensor]:
    """Return the state with weights that lie on their grids: rounding them to nearest gives the compensated integers.

    Parameters
    ----------
    state
        The (folded) float state, with the scales of all weights.
    chunks
        Inputs [rows, …] of the calibration part in chunks; labels are not used.
    """

    def visit(layer: Layer, node: Node, inputs: Sequence[Tensor], weight: Tensor) -> Tensor:
        moments = input_moments(node, inputs, layer.shape)
        groups = len(moments)
        by_group = weight.reshape(groups, -1, moments.shape[-1])
        scale = state[f"{layer.module}.scale"].reshape(groups, -1)
        top = layer.tops(state)
        top = top.reshape(groups, -1) if isinstance(top, Tensor) else top
        return error_compensated(by_group, moments, scale, top).reshape(weight.shape)

    with torch.no_grad():
        return sweep(prepared, state, chunks, visit)
