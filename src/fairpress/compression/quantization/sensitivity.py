"""Sensitivity of a network's predictions to the quantization of single layers, on calibration rows."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from fairpress.compression.quantization.batch_quantizer import BatchQuantizer
from fairpress.compression.quantization.calibrate import scales_of_weights
from fairpress.compression.quantized_graph.range_estimators import weight_scales
from fairpress.compression.quantized_graph.row_chunks import Rows, by_chunk
from fairpress.compression.quantized_graph.scheme import Scheme
from fairpress.core.time_left import counted
from fairpress.models.functional_call import FastFunctionalCall
from fairpress.models.tracing import stored_weight
from fairpress.training.output_divergence import output_divergence

Table = dict[str, dict[int, Tensor]]
Weights = Mapping[str, Mapping[int, Tensor]]
MAX_TABLES = 4  # cached for several budgets of one network, or for a search
_tables: OrderedDict[str, Table] = OrderedDict()


def sensitivity_table(
    method: Literal["measured", "gradient"],
    engine: BatchQuantizer,
    state: Mapping[str, Tensor],
    layers: Sequence[str],
    widths: Sequence[int],
    rows: Rows,
    rounding: Literal["nearest", "gptq"] = "nearest",
) -> Table:
    """Return the result of `measure_sensitivity` or `estimate_sensitivity`, cached by network and rows.

    The last `MAX_TABLES` tables are kept.
    """
    nodes = [(n.name, n.op, str(n.target), repr((n.args, n.kwargs))) for n in engine.folded.graph.nodes]
    modules = [(name, repr(module)) for name, module in engine.folded.named_modules() if name]
    key = hashlib.sha256(
        repr(
            (method, engine.outputs, rounding, list(layers), list(widths), sorted(state), nodes, modules)
        ).encode()
    )
    for tensor in (*(state[name] for name in sorted(state)), rows[:]):
        key.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        key.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    name = key.hexdigest()
    if name not in _tables:
        find = measure_sensitivity if method == "measured" else estimate_sensitivity
        _tables[name] = find(
            engine,
            state,
            layers,
            widths,
            rows,
            rounded_weights(engine, state, layers, widths, rows, rounding),
        )
    _tables.move_to_end(name)
    while len(_tables) > MAX_TABLES:
        _tables.popitem(last=False)
    return _tables[name]


def measure_sensitivity(
    engine: BatchQuantizer,
    state: Mapping[str, Tensor],
    layers: Sequence[str],
    widths: Sequence[int],
    rows: Rows,
    weights: Weights | None = None,
) -> Table:
    """Return layer → bit width → divergence of the outputs from the float network's [rows], in nats (`output_divergence`).

    Each layer is quantized alone and the divergence is measured; HAWQ and related methods estimate it by second derivatives
    (Dong et al. 2019, arXiv 1905.03696). Activations stay in float: they have 8 bits in every candidate.

    Parameters
    ----------
    state
        The (folded) float state.
    rows
        Inputs [rows, …] of the calibration part; never test rows.
    weights
        Layer → bit width → the rounded weight; by default rounded to nearest.
    """
    weights = weights or rounded_weights(engine, state, layers, widths, rows)
    expected = network_outputs(engine, state, rows)
    return {
        layer: {
            bits: output_divergence(
                network_outputs(engine, {**state, name: weights[layer][bits]}, rows), expected, engine.outputs
            )
            for bits in widths
        }
        for layer in counted(layers, "measuring the sensitivity of layers")
        for name in [stored_weight(layer, state)]
    }


def network_outputs(engine: BatchQuantizer, state: Mapping[str, Tensor], rows: Rows) -> Tensor:
    """Return the outputs [rows, width], float64, of the folded graph with this state."""
    slots = FastFunctionalCall(engine.folded)
    with torch.no_grad():
        return by_chunk(lambda chunk: slots.call(state, chunk), rows).double()


def estimate_sensitivity(
    engine: BatchQuantizer,
    state: Mapping[str, Tensor],
    layers: Sequence[str],
    widths: Sequence[int],
    rows: Rows,
    weights: Weights | None = None,
) -> Table:
    """Estimate the result of `measure_sensitivity` from gradients: passes grow with the classes, not with the layers."""
    from fairpress.compression.quantization.gradient_sensitivity import layer_sensitivities

    weights = weights or rounded_weights(engine, state, layers, widths, rows)
    changes = {
        layer: {bits: weights[layer][bits] - state[name].detach() for bits in widths}
        for layer in layers
        for name in [stored_weight(layer, state)]
    }
    return layer_sensitivities(engine.folded, engine.on_device(state), changes, rows, engine.outputs)


def rounded_weights(
    engine: BatchQuantizer,
    state: Mapping[str, Tensor],
    layers: Sequence[str],
    widths: Sequence[int],
    rows: Rows,
    rounding: Literal["nearest", "gptq"] = "nearest",
) -> Weights:
    """Return layer → bit width → the weight, rounded to nearest or with error compensation."""
    if rounding == "gptq":
        from fairpress.compression.rounding.compensate import compensated_alone

        prepared = engine.prepare(Scheme(8, activations=False))
        scaled = {**state, **scales_of_weights(prepared, state, "mse")}
        return compensated_alone(prepared, scaled, rows, layers, widths)
    return {
        layer: {bits: rounded(state[stored_weight(layer, state)], bits) for bits in widths}
        for layer in layers
    }


def mean_divergence(values: Tensor, groups: Tensor | None = None, group: int = 0) -> float:
    """Return the mean of a divergence [rows] over all rows or over a group; never below 0."""
    selected = values if groups is None else values[groups == group]
    return max(0.0, float(selected.mean()))


def rounded(weight: Tensor, bits: int) -> Tensor:
    """Return a quantized weight, with the scale of least squared error per output channel."""
    top = Scheme().top(bits)
    scale = weight_scales(weight.flatten(1), top, "mse").view(-1, *[1] * (weight.dim() - 1))
    return (weight / scale).round().clamp(-top, top) * scale
