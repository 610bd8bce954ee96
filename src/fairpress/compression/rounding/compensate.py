"""Round all weights of a network with error compensation, each layer reading what the quantized layers before it compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from fairpress.compression.quantized_graph.prepare import Layer, PreparedGraph
from fairpress.compression.rounding.gptq import error_compensated, factorize
from fairpress.compression.rounding.input_moments import input_moments
from fairpress.compression.rounding.layer_sweep import MAX_BYTES, bytes_per_row, sweep
from fairpress.core.errors import UserError

MAX_COLUMNS = 8192  # columns that make up for each other's errors; H has so many rows and columns
MIN_ROWS = 8  # however large a row is
CHUNK_BYTES = 2**26  # of the values of a chunk of rows


def compensate(
    prepared: PreparedGraph, state: Mapping[str, Tensor], rows: Tensor
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the state with weights that lie on their grids, and facts for the card.

    Rounding these weights to nearest gives the compensated integers. The values of all rows at one place of the network are
    in memory at once: of more rows than fit into 1 GB, as many as fit are used, evenly spaced. Besides that there are H and
    its factor, 2 · 4 · k² bytes for a layer whose channels read k values; beyond `MAX_COLUMNS` values, columns make up for
    errors of columns in the same block of so many only.

    Parameters
    ----------
    state
        The (folded) float state, with the scales of all weights.
    rows
        Inputs [rows, …] of the calibration part; labels are not used.

    Raises
    ------
    UserError
        A layer reads values that are not finite.
    """
    used = rows_in_memory(prepared, state, rows)

    def visit(layer: Layer, node: Node, inputs: Sequence[Tensor], weight: Tensor) -> Tensor:
        scale, limits = state[f"{layer.module}.scale"], (layer.lows(state), layer.tops(state))
        rounded = torch.empty_like(weight.flatten(1))
        k = rounded.shape[1]
        size = -(-k // -(-k // MAX_COLUMNS))
        for start in range(0, k, size):
            part = slice(start, start + size)
            moments = input_moments(node, inputs, layer.shape, part=part)
            if not bool(moments.isfinite().all()):
                raise UserError(
                    f"layer {layer.name!r} reads values that are not finite (NaN or infinity) on calibration rows; look "
                    "for them in the data, or in the weights."
                )
            columns = weight.flatten(1)[:, part]
            by_group = columns.reshape(len(moments), -1, columns.shape[1])
            steps = scale.view(by_group.shape[:2])
            low, top = (v.view(steps.shape) if isinstance(v, Tensor) else v for v in limits)
            q, _ = error_compensated(by_group, factorize(moments), steps, low, top)
            rounded[:, part] = (q * steps[..., None]).reshape(columns.shape)
        return rounded.view(weight.shape)

    return sweep(prepared, state, used, visit), {"rounding_rows": sum(map(len, used))}


def rows_in_memory(prepared: PreparedGraph, state: Mapping[str, Tensor], rows: Tensor) -> tuple[Tensor, ...]:
    """Return the rows that a sweep may hold at once, in chunks."""
    size = max(bytes_per_row(prepared, state, rows), 1)
    count = min(len(rows), max(MIN_ROWS, MAX_BYTES // size))
    spread = torch.linspace(0, len(rows) - 1, count).round().long()
    used = rows if count == len(rows) else rows[spread]
    return used.split(max(1, CHUNK_BYTES // size))
