"""Round all weights of a network with error compensation, each layer reading what the quantized layers before it compute."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from fairpress.compression.quantized_graph.prepare import Layer, PreparedGraph
from fairpress.compression.quantized_graph.range_estimators import Limits, weight_scales
from fairpress.compression.quantized_graph.row_chunks import Rows, positions_of_chunks, take
from fairpress.compression.quantized_graph.scheme import Scheme
from fairpress.compression.rounding.gptq import Factor, error_compensated, factorize
from fairpress.compression.rounding.graph_run import varying_nodes, weights_read_elsewhere
from fairpress.compression.rounding.group_moments import Moments, minimax_factor, weights_of_rows
from fairpress.compression.rounding.input_moments import input_moments
from fairpress.compression.rounding.layer_sweep import MAX_BYTES, bytes_per_row, sweep
from fairpress.core.errors import UserError
from fairpress.training.token_rows import TokenRows

MAX_COLUMNS = 8192  # columns that make up for each other's errors; H has so many rows and columns
CHUNK_BYTES = 2**26  # of the values of a chunk of rows
MIN_ROWS = 8  # however large a row is
SHORTER_TEXTS = 0.9  # share of the texts that are filled up to one length where rounding is learned
RATIOS = (1.0, 1.2)  # of the scale of least squared error of the weights, at 2 bits; at 3 it changed nothing


def compensate(
    prepared: PreparedGraph,
    state: Mapping[str, Tensor],
    rows: Rows,
    *,
    moments: Moments = "pooled",
    groups: Tensor | None = None,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the state with scales, and weights that lie on their grids, and facts for the card.

    Rounding these weights to nearest gives the compensated integers. The values of all rows at one place of the network are
    in memory at once: of more rows than fit into 1 GB, as many as fit are used, evenly spaced. Besides that there are H and
    its factor, 2 · 4 · k² bytes for a layer whose channels read k values; beyond `MAX_COLUMNS` values, columns make up for
    errors of columns in the same part of so many only. A weight that other operators read too is rounded to nearest, as are
    embedding tables: a token reads one row, so no other value could make up for an error.

    Parameters
    ----------
    state
        The (folded) float state, with the scales of all weights.
    rows
        Inputs [rows, …] of the calibration part; labels are not used.
    moments
        ``"pooled"``: all rows count alike; ``"balanced"``: all groups do; ``"minimax"``: in each layer, groups whose outputs
        change most count more (`group_moments`).
    groups
        The group of every row [rows], unless pooled; rows of group −1 are not counted.

    Raises
    ------
    UserError
        A layer reads values that are not finite; groups count, and the first axis of what a layer reads is not that of rows.
    """
    chosen, chunks = rows_in_memory(prepared, state, rows)
    lengths = [len(chunk) for chunk in chunks]
    varying, in_float = varying_nodes(prepared), weights_read_elsewhere(prepared)

    def visit(
        layer: Layer, node: Node, inputs: Sequence[Tensor], weight: Tensor
    ) -> Tensor | tuple[Tensor, Tensor]:
        if layer.weight in in_float:
            return weight
        scale = state[f"{layer.module}.scale"]
        limits = (layer.lows(state), layer.tops(state))
        factors = {}
        codes = None
        if groups is not None and node.all_input_nodes[0] in varying:  # constants are the same in every group
            codes = groups[chosen]
            _check_rows(layer, inputs, lengths, moments)
        for part in _parts(weight.flatten(1).shape[1]):
            if moments == "minimax" and codes is not None:
                rounded = partial(_values, weight, part, scale, limits)
                finite = partial(_finite, layer)
                factors[part.start, part.stop] = minimax_factor(
                    node, inputs, weight, part, codes, rounded, finite
                )
            else:
                weights = None if codes is None else weights_of_rows(codes).split(lengths)
                h = input_moments(node, inputs, layer.shape, weights, part)
                factors[part.start, part.stop] = factorize(_finite(layer, h))
        return round_weight(weight, factors, scale, limits, RATIOS if layer.bits == 2 else (1.0,))

    facts = {"rounding_rows": len(chosen), **({} if moments == "pooled" else {"moments": moments})}
    return sweep(prepared, state, chunks, visit), facts


def compensated_alone(
    prepared: PreparedGraph,
    state: Mapping[str, Tensor],
    rows: Rows,
    layers: Collection[str],
    widths: Sequence[int],
) -> dict[str, dict[int, Tensor]]:
    """Return layer → bit width → its weight as `compensate` rounds it when the layers before it have 8 bits.

    Embedding tables are rounded to nearest.

    Parameters
    ----------
    prepared
        The graph with weights of 8 bits.
    state
        The (folded) float state, with the scales of all weights.
    """
    out: dict[str, dict[int, Tensor]] = {}
    scheme = Scheme(full_range=True)

    def visit(layer: Layer, node: Node, inputs: Sequence[Tensor], weight: Tensor) -> Tensor:
        if layer.name not in layers:
            return weight
        factors = {
            (part.start, part.stop): factorize(
                _finite(layer, input_moments(node, inputs, layer.shape, part=part))
            )
            for part in _parts(weight.flatten(1).shape[1])
        }
        rounded = {}
        for bits in widths:
            scale, limits = grid(weight, bits)
            ratios = RATIOS if bits == 2 else (1.0,)
            rounded[bits] = round_weight(weight, factors, scale, limits, ratios)[0]
        out[layer.name] = rounded
        return weight

    def grid(weight: Tensor, bits: int) -> tuple[Tensor, tuple[int, int]]:
        low, top = scheme.low(bits), scheme.top(bits)
        return weight_scales(weight.flatten(1), top, "mse", None if low == -top else low), (low, top)

    for layer in prepared.layers:
        if (layer.table or layer.stored) and layer.name in layers:
            table = state[layer.weight].detach()
            out[layer.name] = {}
            for bits in widths:
                scale, limits = grid(table, bits)
                scale = scale.view(-1, *[1] * (table.dim() - 1))
                out[layer.name][bits] = (table / scale).round().clamp(*limits) * scale
    sweep(prepared, state, rows_in_memory(prepared, state, rows)[1], visit)
    return out


Factors = Mapping[tuple[int, int], Factor]
"""Start and end of a part of what every channel reads → the factor of its moments."""


def round_weight(
    weight: Tensor, factors: Factors, scale: Tensor, limits: Limits, ratios: Sequence[float] = RATIOS
) -> tuple[Tensor, Tensor]:
    """Return the rounded values s·q of a weight [channels, …], and the scales s [channels].

    Each channel takes the one of `ratios` times its scale with which its outputs change least: the least squared error of
    weights clips more of them than is good for the outputs, once errors are compensated.
    """
    best = best_scale = best_error = None
    for ratio in ratios:
        values, error = torch.empty_like(weight.flatten(1)), torch.zeros_like(scale)
        for (start, end), factor in factors.items():
            values[:, start:end], loss = round_part(weight, slice(start, end), factor, scale * ratio, limits)
            error += loss
        if best is None or best_scale is None or best_error is None:
            best, best_scale, best_error = values, scale * ratio, error
            continue
        better = error < best_error
        best = torch.where(better[:, None], values, best)
        best_scale = torch.where(better, scale * ratio, best_scale)
        best_error = torch.where(better, error, best_error)
    assert best is not None
    assert best_scale is not None
    return best.view(weight.shape), best_scale


def round_part(
    weight: Tensor, part: slice, factor: Factor, scale: Tensor, limits: Limits
) -> tuple[Tensor, Tensor]:
    """Return the rounded values [channels, …] of a part of what every channel of a weight [channels, …] reads.

    And the squared error of the outputs [channels].
    """
    columns = weight.flatten(1)[:, part]
    by_group = columns.reshape(len(factor.v), -1, columns.shape[1])
    steps = scale.view(by_group.shape[:2])
    low, top = (v.view(steps.shape) if isinstance(v, Tensor) else v for v in limits)
    q, error = error_compensated(by_group, factor, steps, low, top)
    return (q * steps[..., None]).reshape(columns.shape), error.flatten()


def _values(weight: Tensor, part: slice, scale: Tensor, limits: Limits, factor: Factor) -> Tensor:
    return round_part(weight, part, factor, scale, limits)[0]


def _parts(k: int) -> list[slice]:
    size = -(-k // -(-k // MAX_COLUMNS))
    return [slice(start, min(start + size, k)) for start in range(0, k, size)]


def _check_rows(layer: Layer, inputs: Sequence[Tensor], lengths: Sequence[int], moments: Moments) -> None:
    """Raise UserError unless the first axis of a layer's inputs is that of rows, which have groups."""
    if [len(x) for x in inputs] != lengths:
        raise UserError(
            f"moments={moments} needs the group of everything that a layer reads, and the first axis of what layer "
            f"{layer.name!r} reads is not that of rows; take moments=pooled, or keep the axis of rows first."
        )


def _finite(layer: Layer, moments: Tensor) -> Tensor:
    power = moments.diagonal(dim1=-2, dim2=-1).sum(-1)
    if bool(moments.isfinite().all()) and bool(power.isfinite().all()):
        return moments
    raise UserError(
        f"layer {layer.name!r} reads values that are not finite (NaN or infinity) on calibration rows; look for them in the "
        "data, or in the weights."
    )


def rows_in_memory(
    prepared: PreparedGraph, state: Mapping[str, Tensor], rows: Rows
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the positions of the rows that a sweep may hold at once, in order of the chunks, and these rows in chunks.

    Texts are sorted by length, and those of a chunk have the same one.
    """
    chosen, chunk_rows = _chosen_rows(prepared, state, rows)
    used = take(rows, chosen)
    positions = positions_of_chunks(used, chunk_rows)
    return chosen[torch.cat(positions)], tuple(used[part] for part in positions)


def rows_of_one_shape(
    prepared: PreparedGraph, state: Mapping[str, Tensor], rows: Rows
) -> tuple[tuple[Tensor, ...], Tensor | None]:
    """Return the rows that a sweep may hold at once in chunks that can be joined, and where their token ids are not padding.

    The longest tenth of texts is left out, the others are filled up to one length; the second result is [rows, length] bool,
    None if the rows are not texts.
    """
    if isinstance(rows, TokenRows):
        rows = rows.take(rows.lengths <= rows.lengths.float().quantile(SHORTER_TEXTS, interpolation="higher"))
    chosen, chunk_rows = _chosen_rows(prepared, state, rows)
    used = rows[chosen]
    present = used != rows.pad_id if isinstance(rows, TokenRows) else None
    return used.split(chunk_rows), present


def _chosen_rows(prepared: PreparedGraph, state: Mapping[str, Tensor], rows: Rows) -> tuple[Tensor, int]:
    """Return the positions of the rows that a sweep may hold at once, and the number of rows in a chunk."""
    size = max(bytes_per_row(prepared, state, rows), 1)
    count = min(len(rows), max(MIN_ROWS, MAX_BYTES // size))
    chosen = torch.arange(count)
    if count < len(rows):
        chosen = torch.linspace(0, len(rows) - 1, count).round().long()
    return chosen, max(1, CHUNK_BYTES // size)
