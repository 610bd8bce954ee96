"""Determine scales and zero points of a network from its weights and from calibration rows."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from fairpress.compression.quantized_graph.fake_quantize import MAX_LEVEL, mode
from fairpress.compression.quantized_graph.observed_graph import observe
from fairpress.compression.quantized_graph.onnx_template import OnnxTemplate
from fairpress.compression.quantized_graph.prepare import PreparedGraph
from fairpress.compression.quantized_graph.range_estimators import (
    RANGES,
    Histogram,
    Ranges,
    activation_scale,
    for_biases,
    weight_scales,
)
from fairpress.compression.quantized_graph.row_chunks import Rows, by_chunk, positions_of_chunks
from fairpress.compression.rounding.group_moments import Moments
from fairpress.compression.rounding.round_weights import Rounding, round_weights
from fairpress.core.output_kind import OutputKind
from fairpress.core.time_left import counted
from fairpress.training.output_divergence import output_divergence

Choice = Literal["minmax", "percentile", "mse", "auto"]


@dataclass(frozen=True)
class Calibrated:
    """A network's state with scale and zero point of every fake-quantize module, their methods, and facts for the card."""

    state: Mapping[str, Tensor]
    weights: Ranges
    activations: Ranges
    facts: Mapping[str, Any] = field(default_factory=dict)


def calibrate(
    prepared: PreparedGraph,
    state: Mapping[str, Tensor],
    rows: Rows,
    *,
    weights: Choice = "mse",
    activations: Choice = "mse",
    validation: Rows | None = None,
    groups: Tensor | None = None,
    rounding: Rounding = "nearest",
    bias_correction: bool = False,
    moments: Moments = "pooled",
    row_groups: Tensor | None = None,
    outputs: OutputKind = "classes",
    template: OnnxTemplate | None = None,
    device: torch.device | None = None,
) -> Calibrated:
    """Set the ranges of one network, and round its weights.

    Activations are observed with quantized weights, as in the finished file. ``"auto"`` tries every method and takes the
    one whose outputs on `validation` are nearest to the float network's, by the mean divergence
    (`output_divergence`; labels are not used).

    Parameters
    ----------
    prepared
        The graph with folded batch norms.
    state
        The network's (folded) float state.
    rows
        Inputs [rows, …] of the calibration part.
    validation
        Inputs [rows, …] for ``"auto"``; never test rows.
    groups
        Their groups [rows] int64: the mean divergence of the worst group decides instead of that of all rows. Rows of
        group −1 are ignored.
    rounding, bias_correction
        `rounding.round_weights`; all but ``"nearest"`` moves the weights of the returned state to their grids.
    outputs
        What the network predicts, which determines the error by which ``"auto"`` chooses.
    moments, row_groups
        Whether groups of `rows` count alike for ``"gptq"``, and the group of each (`rounding.compensate`).
    template
        The template of this graph's files, if activations may be observed on ONNX Runtime (`observed_graph.observe`).
    device
        Where activations are observed; by default where the state is.
    """
    weight_ranges: dict[Ranges, dict[str, Tensor]] = {}
    candidates: list[tuple[float, Calibrated]] = []
    w_choices: tuple[Ranges, ...] = RANGES if weights == "auto" else (weights,)
    a_choices: tuple[Ranges, ...] = RANGES if activations == "auto" else (activations,)
    if not prepared.activations:
        a_choices = a_choices[:1]
    choices = list(itertools.product(w_choices, a_choices))
    expected = None
    if len(choices) > 1:
        assert validation is not None
        expected = logits_in_chunks(prepared, state, validation, rounded=False)
    for w in w_choices:
        weight_ranges[w] = scales_of_weights(prepared, state, w)
        weight_state: Mapping[str, Tensor] = {**state, **weight_ranges[w]}
        weight_state, facts = round_weights(
            prepared,
            weight_state,
            rows,
            rounding,
            moments=moments,
            groups=row_groups,
            bias_correction=bias_correction,
        )
        for a, activation_scales in scales_of_activations(
            prepared, weight_state, rows, a_choices, template, device
        ).items():
            calibrated = Calibrated({**weight_state, **activation_scales}, w, a, facts)
            if expected is None:
                return calibrated
            logits = logits_in_chunks(prepared, calibrated.state, validation, rounded=True)
            loss = output_divergence(logits, expected, outputs)
            candidates.append((_mean_or_worst_group(loss, groups), calibrated))
    return min(candidates, key=lambda c: c[0])[1]


def _mean_or_worst_group(loss: Tensor, groups: Tensor | None) -> float:
    """Return the mean of a loss [rows], or the highest group mean."""
    if groups is None:
        return float(loss.mean())
    return max(float(loss[groups == g].mean()) for g in groups.unique().tolist() if g >= 0)


def scales_of_weights(
    prepared: PreparedGraph, state: Mapping[str, Tensor], method: Ranges
) -> dict[str, Tensor]:
    """Return the scales of every quantized weight [channels], or of a stack of networks [networks, channels]."""
    out = {}
    for layer in counted(prepared.layers, "ranges of weights, layers"):
        weight = state[layer.weight].detach()
        flat = weight.flatten(weight.dim() - len(layer.shape) + 1)
        scales = weight_scales(
            flat, layer.tops(state), method, layer.lows(state) if layer.full_range else None
        )
        out[f"{layer.module}.scale"] = scales if layer.table or layer.stored else for_biases(scales)
    return out


@torch.no_grad()
def scales_of_activations(
    prepared: PreparedGraph,
    state: Mapping[str, Tensor],
    rows: Rows,
    methods: tuple[Ranges, ...],
    template: OnnxTemplate | None = None,
    device: torch.device | None = None,
) -> dict[Ranges, dict[str, Tensor]]:
    """Return scale and zero point of every integer activation for each method; each row is run once.

    On a processor the rows run on ONNX Runtime if there is a template of the graph's files, else in PyTorch, on `device`.
    """
    if not prepared.activations:
        return {method: {} for method in methods}
    device = device or next(iter(state.values())).device
    histograms: Sequence[Histogram | None] | None = None
    if template is not None and device.type == "cpu":
        histograms = observe(template, prepared, state, rows)
    if histograms is None:
        histograms = _observe_in_torch(prepared, state, rows, device)
    named = dict(zip(prepared.activations, histograms, strict=True))
    return {method: scales_of_histograms(named, method) for method in methods}


def scales_of_histograms(histograms: Mapping[str, Histogram | None], method: Ranges) -> dict[str, Tensor]:
    """Return scale and zero point of integer activations from the histogram of each."""
    out: dict[str, Tensor] = {}
    for name, histogram in histograms.items():
        assert histogram is not None
        scale, zero = activation_scale(histogram, MAX_LEVEL, method)
        out[f"{name}.scale"], out[f"{name}.zero_point"] = torch.tensor(scale), torch.tensor(zero)
    return out


def _observe_in_torch(
    prepared: PreparedGraph, state: Mapping[str, Tensor], rows: Rows, device: torch.device
) -> list[Histogram | None]:
    moved = {name: tensor.to(device) for name, tensor in state.items()}
    if device.type != "cpu":  # constants too, which no state has, have to be on the device
        graph_tensors = (*prepared.graph.named_parameters(), *prepared.graph.named_buffers())
        moved = {name: tensor.to(device) for name, tensor in graph_tensors} | moved
    with mode(prepared.graph, weights="round", activations="watch") as observers:
        positions = positions_of_chunks(rows)
        for chunk in counted((rows[part] for part in positions), "calibration, batches", len(positions)):
            prepared.slots.call(moved, chunk.to(device))
        return [module.histogram for module in observers]


def logits_in_chunks(
    prepared: PreparedGraph, state: Mapping[str, Tensor], rows: Rows, *, rounded: bool
) -> Tensor:
    """Return the logits of many rows, computed in chunks."""
    return by_chunk(lambda chunk: prepared.run(state, chunk, rounded=rounded), rows)
