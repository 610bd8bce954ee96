"""Second moments of a layer's inputs: H = Σ x·xᵀ / n, the Hessian of its squared output error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node

from fairpress.models.tracing import CONVOLUTIONS

MAX_POSITIONS = 8192  # positions of a feature map (or tokens), over all rows; neighbours tell the same
POSITIONS_PER_INPUT = 1.5  # at least so many per value that a channel reads
BATCH = 4096  # positions multiplied at once
PANEL = 1024  # columns of H computed at once: of a symmetric matrix, one half suffices


def input_moments(
    node: Node,
    inputs: Sequence[Tensor],
    shape: Sequence[int],
    row_weights: Sequence[Tensor] | None = None,
    part: slice = slice(None),
) -> Tensor:
    """Return H [groups, k, k] of a layer, where each of its channels reads k values.

    For a convolution x is a patch of the feature map. Of very many patches (or tokens), equally many of every row are
    drawn, the same ones in every call.

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
    part
        Which of the k values of a channel, where H of all of them would be too large.
    """
    total: Tensor | None = None
    count = 0.0
    for columns, weights in _batches(_sampled(node, inputs, shape, row_weights)):
        total = _add_product(total, columns[..., part], weights)
        count += columns.shape[1] if weights is None else float(weights.sum())
    assert total is not None
    k = total.shape[-1]
    for start in range(0, k, PANEL):
        end = min(start + PANEL, k)
        total[:, end:, start:end] = total[:, start:end, end:].mT
    return total.div_(max(count, 1e-12))


Sample = tuple[Tensor, Tensor | None]
"""Inputs [groups, n, k] and their weights [n]."""


def _sampled(
    node: Node, inputs: Sequence[Tensor], shape: Sequence[int], row_weights: Sequence[Tensor] | None
) -> Iterator[Sample]:
    """Yield what the channels of each group read, for the positions that are used."""
    generator = torch.Generator().manual_seed(0)
    k = int(torch.Size(shape[1:]).numel())
    rows = sum(len(x) for x in inputs)
    per_row = -(-max(MAX_POSITIONS, round(POSITIONS_PER_INPUT * k)) // max(rows, 1))
    for i, x in enumerate(inputs):
        if not len(x):  # a chunk without rows of a group
            continue
        windows = _windows(node, x, shape)  # [rows, height, width, channels, …]
        height, width = windows.shape[1:3]
        positions = height * width
        if positions <= per_row:
            columns = windows.flatten(0, 2)
        else:
            drawn = torch.stack(
                [torch.randperm(positions, generator=generator)[:per_row] for _ in range(len(x))]
            )
            drawn = drawn.to(x.device).flatten()
            of_row = torch.arange(len(x), device=x.device).repeat_interleave(per_row)
            columns = windows[of_row, drawn // width, drawn % width]
        groups = _groups(node)
        columns = columns.reshape(len(columns), groups, -1).transpose(0, 1)
        weights = None if row_weights is None else row_weights[i].to(columns)
        yield columns, None if weights is None else weights.repeat_interleave(columns.shape[1] // len(x))


def _batches(samples: Iterator[Sample]) -> Iterator[Sample]:
    """Join samples to batches, each large enough for a fast product."""
    waiting: list[Sample] = []

    def joined() -> Sample:
        weights = [w for _, w in waiting if w is not None]
        return torch.cat([x for x, _ in waiting], 1), torch.cat(weights) if weights else None

    for sample in samples:
        waiting.append(sample)
        if sum(x.shape[1] for x, _ in waiting) >= BATCH:
            yield joined()
            waiting.clear()
    if waiting:
        yield joined()


def _add_product(total: Tensor | None, columns: Tensor, weights: Tensor | None) -> Tensor:
    """Add Σ x·xᵀ of columns [groups, n, k] to the upper panels of a total [groups, k, k]."""
    groups, _, k = columns.shape
    total = columns.new_zeros(groups, k, k) if total is None else total
    left = columns if weights is None else columns * weights[:, None]
    for start in range(0, k, PANEL):
        end = min(start + PANEL, k)
        total[:, start:end, start:] += left[..., start:end].mT @ columns[..., start:]
    return total


def patches(node: Node, x: Tensor, shape: Sequence[int]) -> Tensor:
    """Return what each channel of a layer reads of its inputs [rows, groups, positions, k]."""
    windows = _windows(node, x, shape)
    return windows.reshape(len(x), windows.shape[1] * windows.shape[2], _groups(node), -1).transpose(1, 2)


def _windows(node: Node, x: Tensor, shape: Sequence[int]) -> Tensor:
    """Return a view of the patches that a layer reads [rows, height, width, channels, …]."""
    if node.target not in CONVOLUTIONS:
        return x.reshape(len(x), 1, -1, x.shape[-1])
    dimensions = len(shape) - 2
    stride, padding, dilation = (_per_axis(a, dimensions) for a in _arguments(node)[:3])
    kernel = list(shape[2:])
    if isinstance(padding, str):
        span = [d * (s - 1) for d, s in zip(dilation, kernel, strict=True)]
        pads = [(n // 2, n - n // 2) if padding == "same" else (0, 0) for n in span]
    else:
        pads = [(p, p) for p in padding]
    if x.dim() == dimensions + 1:  # no axis of rows
        x = x[None]
    if dimensions == 1:  # a feature map of height 1
        x, kernel, pads = x[:, :, None], [1, *kernel], [(0, 0), *pads]
        stride, dilation = [1, *stride], [1, *dilation]
    x = nn.functional.pad(x, [p for axis in reversed(pads) for p in axis])
    for axis in (0, 1):
        x = x.unfold(2 + axis, dilation[axis] * (kernel[axis] - 1) + 1, stride[axis])
    return x[..., :: dilation[0], :: dilation[1]].permute(0, 2, 3, 1, 4, 5)


def _arguments(node: Node) -> list[Any]:
    """Return stride, padding, dilation and groups of a convolution."""
    given, defaults = list(node.args[3:]), [1, 0, 1, 1]
    return [*given, *defaults[len(given) :]]


def _groups(node: Node) -> int:
    return int(_arguments(node)[3]) if node.target in CONVOLUTIONS else 1


def _per_axis(value: Any, dimensions: int) -> Any:
    if isinstance(value, str):
        return value
    values = [value] if isinstance(value, int) else list(value)
    return [int(v) for v in values] * (dimensions if len(values) == 1 else 1)
