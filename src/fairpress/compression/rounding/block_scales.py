"""Scales per block of each output channel, and rounding with them, to nearest or with error compensation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fairpress.compression.quantized_graph.range_estimators import weight_scales

if TYPE_CHECKING:
    from torch.fx import Node

    from fairpress.compression.quantized_graph.prepare import Layer, PreparedGraph
    from fairpress.compression.quantized_graph.row_chunks import Rows

LIMITS = {8: (-127, 127), 4: (-8, 7)}
HALF = torch.finfo(torch.float16)


def block_scales(weight: Tensor, bits: int, block: int) -> Tensor:
    """Return the scales [out, ⌈in/block⌉] of least squared error of a weight [out, in].

    They are float16, half the bytes, where all of them are normal numbers of it, else float32. At 4 bits a scale may be
    negative: the sign with less error makes use of the integer −8.
    """
    low, top = LIMITS[bits]
    scales = weight_scales(_in_blocks(weight, block), top, "mse", None if low == -top else low)
    scales = scales.view(len(weight), -1)
    magnitude = scales.abs()
    fits = bool((magnitude >= HALF.smallest_normal).all() and (magnitude <= HALF.max).all())
    return scales.half() if fits else scales


def rounded_blocks(weight: Tensor, scales: Tensor, bits: int, block: int) -> tuple[Tensor, Tensor]:
    """Return the nearest integers q [out, in] of a weight, and the values s·q."""
    low, top = LIMITS[bits]
    steps = steps_of_weights(scales, weight.shape[1], block)
    integers = (weight / steps).round().clamp(low, top)
    return integers, integers * steps


def steps_of_weights(scales: Tensor, columns: int, block: int) -> Tensor:
    """Return the scale of every weight [out, in]."""
    return scales.float().repeat_interleave(block, 1)[:, :columns]


def compensated_blocks(
    prepared: PreparedGraph,
    state: Mapping[str, Tensor],
    rows: Rows,
    blocks: Mapping[str, int],
    bits: int,
) -> dict[str, Tensor]:
    """Return layer → its weight [out, in] on the grids of its blocks, rounded by GPTQ (`gptq.error_compensated`).

    `prepared` is the graph with weights of 8 bits, and `state` has their scales. `blocks` has the layers to round, with the
    number of weights that share a scale in each.

    Each layer reads what the rounded layers before it compute from calibration rows.
    """
    from fairpress.compression.rounding.compensate import rows_in_memory
    from fairpress.compression.rounding.gptq import error_compensated, factorize
    from fairpress.compression.rounding.input_moments import input_moments
    from fairpress.compression.rounding.layer_sweep import sweep

    out: dict[str, Tensor] = {}
    low, top = LIMITS[bits]

    def visit(layer: Layer, node: Node, inputs: Sequence[Tensor], weight: Tensor) -> Tensor:
        if layer.name not in blocks:
            return weight
        factor = factorize(input_moments(node, inputs, layer.shape))
        steps = steps_of_weights(
            block_scales(weight, bits, blocks[layer.name]), weight.shape[1], blocks[layer.name]
        )
        integers, _ = error_compensated(weight[None], factor, steps[None], low, top)
        out[layer.name] = integers[0] * steps
        return out[layer.name]

    sweep(prepared, state, rows_in_memory(prepared, state, rows)[1], visit)
    return out


def _in_blocks(weight: Tensor, block: int) -> Tensor:
    """Return a weight [out, in] as [out · ⌈in/block⌉, block], filled up with zeros."""
    return nn.functional.pad(weight, (0, -weight.shape[1] % block)).reshape(-1, block)
