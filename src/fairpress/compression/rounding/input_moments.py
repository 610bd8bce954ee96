"""Second moments of a layer's inputs: H = Σ x·xᵀ / n, the Hessian of its squared output error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node

from fairpress.models.tracing import CONVOLUTIONS

MAX_POSITIONS = 16_384  # positions of a feature map, over all rows; neighbours tell the same
POSITIONS_PER_INPUT = 4  # at least so many per value that a channel reads


def input_moments(
    node: Node, inputs: Sequence[Tensor], shape: Sequence[int], row_weights: Sequence[Tensor] | None = None
) -> Tensor:
    """Return H [groups, k, k] of a layer, where each of its channels reads k values.

    For a convolution x is a patch of the feature map, of which a fixed random sample is taken where there are very many.

    Parameters
    ----------
    node
        The layer's operator, which has its stride, padding, dilation and groups.
    inputs
        The layer's inputs in chunks [rows, …].
    shape
        The shape of its weight [channels, …].
    row_weights
        A weight per row [rows] for each chunk; by default all rows count alike.
    """
    total: Tensor | None = None
    count = 0.0
    generator = torch.Generator().manual_seed(0)
    share = _share(node, inputs, shape)
    for i, x in enumerate(inputs):
        columns = patches(node, x, shape)  # [rows, groups, positions, k]
        rows, _, positions, _ = columns.shape
        weights = None if row_weights is None else row_weights[i].to(columns).repeat_interleave(positions)
        columns = columns.transpose(0, 1).flatten(1, 2)
        if share < 1:
            taken = torch.randperm(rows * positions, generator=generator)[
                : max(1, round(share * rows * positions))
            ].to(columns.device)
            columns = columns[:, taken]
            weights = None if weights is None else weights[taken]
        count += columns.shape[1] if weights is None else float(weights.sum())
        weighted = columns if weights is None else columns * weights[:, None]
        moments = weighted.transpose(1, 2) @ columns
        total = moments if total is None else total + moments
    assert total is not None
    return total / max(count, 1e-12)


def _share(node: Node, inputs: Sequence[Tensor], shape: Sequence[int]) -> float:
    """Return the share of the positions that is used."""
    if node.target not in CONVOLUTIONS:
        return 1.0
    k = int(torch.Size(shape[1:]).numel())
    one = patches(node, inputs[0][:1], shape)
    positions = one.shape[2] * sum(len(x) for x in inputs)
    return min(1.0, max(MAX_POSITIONS, POSITIONS_PER_INPUT * k) / positions)


def patches(node: Node, x: Tensor, shape: Sequence[int]) -> Tensor:
    """Return what each channel of a layer reads of its inputs [rows, groups, positions, k]."""
    if node.target not in CONVOLUTIONS:
        return x.reshape(len(x), 1, -1, x.shape[-1])
    arguments: list[Any] = list(node.args[3:])
    dimensions = len(shape) - 2
    defaults: list[Any] = [1, 0, 1, 1]
    arguments += defaults[len(arguments) :]
    stride, padding, dilation = (_per_axis(a, dimensions) for a in arguments[:3])
    groups = int(arguments[3])
    kernel = list(shape[2:])
    if isinstance(padding, str):
        span = [d * (s - 1) for d, s in zip(dilation, kernel, strict=True)]
        pads = [(n // 2, n - n // 2) if padding == "same" else (0, 0) for n in span]
    else:
        pads = [(p, p) for p in padding]
    if dimensions == 1:  # a feature map of height 1
        x, kernel, pads = x[:, :, None], [1, *kernel], [(0, 0), *pads]
        stride, dilation = [1, *stride], [1, *dilation]
    x = nn.functional.pad(x, [p for axis in reversed(pads) for p in axis])
    columns = nn.functional.unfold(x, kernel, dilation=dilation, stride=stride)  # [rows, C·k, positions]
    return columns.view(len(x), groups, -1, columns.shape[-1]).transpose(2, 3)


def _per_axis(value: Any, dimensions: int) -> Any:
    if isinstance(value, str):
        return value
    return (
        [int(value)] * dimensions
        if isinstance(value, int)
        else [int(v) for v in value] * (dimensions if len(value) == 1 else 1)
    )
