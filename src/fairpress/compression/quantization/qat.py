"""Graphs, ranges and files for quantization-aware training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fairpress.compression.quantization.batch_quantizer import BatchQuantizer, Quantized
from fairpress.compression.quantization.calibrate import (
    Calibrated,
    Choice,
    calibrate,
    scales_of_activations,
    scales_of_histograms,
    scales_of_weights,
)
from fairpress.compression.quantized_graph.prepare import PreparedGraph, prepare
from fairpress.compression.quantized_graph.range_estimators import MIN_SCALE, Ranges, replace_scales
from fairpress.compression.quantized_graph.rounded_chain import activation_histograms, rounded_chain
from fairpress.compression.quantized_graph.row_chunks import Rows, rows_at_once
from fairpress.compression.quantized_graph.scheme import Scheme
from fairpress.compression.rounding.compensate import compensate
from fairpress.core.errors import UserError
from fairpress.models.tracing import fold_factor, set_training


@dataclass(frozen=True)
class QATGraphs:
    """One architecture's fake-quantized graph for training (with batch norms) and for the file (folded).

    Both have the same fake-quantize modules under the same names.
    """

    engine: BatchQuantizer
    training: PreparedGraph
    shipping: PreparedGraph

    @classmethod
    def prepare(cls, engine: BatchQuantizer, scheme: Scheme) -> QATGraphs:
        """Prepare both graphs. Raises UserError if the scheme names an unknown layer, or the graphs differ."""
        training, shipping = prepare(engine.graph, scheme), engine.prepare(scheme)
        if (training.layers, training.activations) != (shipping.layers, shipping.activations):
            raise UserError(
                "quantization-aware training cannot round this network as its file will: an operator is written otherwise "
                "in the graph that trains than in the one that ships; take a recipe without training, such as int8 or "
                "int4(rounding=gptq)."
            )
        return cls(engine, training, shipping)

    def first_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a float network's state, extended by the tensors of its fake-quantize modules."""
        training_state = {k: v.detach().clone() for k, v in self.training.graph.state_dict().items()}
        return training_state | {k: v.detach().clone() for k, v in state.items() if k in training_state}

    def choose(
        self,
        states: Sequence[Mapping[str, Tensor]],
        calibration: Sequence[Rows],
        validation: Sequence[Rows] | None,
        weights: Choice,
        activations: Choice,
        groups: Sequence[Tensor] | None = None,
    ) -> list[tuple[Ranges, Ranges]]:
        """Return each network's methods for weights and activations; ``"auto"`` is resolved as in `calibrate`."""
        if weights != "auto" and activations != "auto":
            return [(weights, activations)] * len(states)
        assert validation is not None
        chosen = []
        for i, (state, rows, held_out) in enumerate(zip(states, calibration, validation, strict=True)):
            calibrated = calibrate(
                self.shipping,
                self.engine.fold(state),
                rows,
                weights=weights,
                activations=activations,
                validation=held_out,
                groups=None if groups is None else groups[i],
                outputs=self.engine.outputs,
            )
            chosen.append((calibrated.weights, calibrated.activations))
        return chosen

    def compensated(self, state: Mapping[str, Tensor], rows: Rows, method: Ranges) -> dict[str, Tensor]:
        """Return a network's state with error-compensated weights and their scales (`rounding.compensate`).

        They are chosen for the folded graph and divided by the factors of folding, so that the first forward pass rounds to
        the compensated integers. Zero weights stay zero; a channel whose integers would all be 0 keeps its weights.
        """
        folded = self.engine.fold(state)
        scales = scales_of_weights(self.shipping, folded, method)
        moved, _ = compensate(self.shipping, {**folded, **scales}, rows)
        factors = {fold.weight: fold_factor(state, fold) for fold in self.engine.pairs}
        out = {**state, **scales_of_weights(self.training, state, method)}
        for layer in self.training.layers:
            scale = f"{layer.module}.scale"
            weight, step, before = moved[layer.weight].double(), moved[scale].double(), state[layer.weight]
            shape = (-1, *[1] * (weight.dim() - 1))
            kept = weight.flatten(1).abs().amax(1) == 0
            if layer.weight in factors:
                factor = torch.where(kept, 1.0, factors[layer.weight])
                weight, step = weight / factor.view(shape), step / factor.abs()
            weight = torch.where(before == 0, 0.0, weight)
            out[layer.weight] = torch.where(kept.view(shape), before, weight.float())
            out[scale] = torch.where(kept, out[scale], step.float())
        return out

    def update_ranges(
        self,
        stacked: Mapping[str, Tensor],
        calibration: Sequence[Rows],
        methods: Sequence[tuple[Ranges, Ranges]],
        *,
        on_grid: bool = False,
    ) -> None:
        """Update the ranges of a stack of networks in place, with batch norm in training mode.

        Training that started from weights `on_grid` keeps the scale of a channel as long as no other rounds it with less
        error; estimating it would change integers before anything is trained.
        """
        set_training(self.training.graph, True, dropout=False)
        tensors = {k: v.detach() for k, v in stacked.items()}
        for method in dict.fromkeys(weights for weights, _ in methods):
            indices = torch.tensor([i for i, (weights, _) in enumerate(methods) if weights == method])
            layer_tensors = {
                name: tensors[name][indices]
                for layer in self.training.layers
                for name in (layer.weight, *([layer.channel_tops] if layer.preserved else ()))
            }
            scales = scales_of_weights(self.training, layer_tensors, method)
            for layer in self.training.layers if on_grid else ():
                name, flat = f"{layer.module}.scale", layer_tensors[layer.weight].flatten(2)
                current = tensors[name][indices]
                scales[name] = replace_scales(flat, layer.tops(layer_tensors), current, scales[name])
            for name, value in scales.items():
                tensors[name][indices] = value
        for i, scales in enumerate(self._activation_scales(tensors, calibration, [a for _, a in methods])):
            for name, value in scales.items():
                tensors[name][i] = value

    def _activation_scales(
        self, tensors: Mapping[str, Tensor], calibration: Sequence[Rows], methods: Sequence[Ranges]
    ) -> Iterator[dict[str, Tensor]]:
        """Yield the scales and zero points of each network of a stack: of small networks that are chains, together."""
        chain = rounded_chain(self.training.graph) if _fit_together(calibration) else None
        if chain is not None:
            histograms = activation_histograms(chain, tensors, [rows[:] for rows in calibration])
            for i, method in enumerate(methods):
                yield scales_of_histograms({name: each[i] for name, each in histograms.items()}, method)
            return
        for i, (rows, method) in enumerate(zip(calibration, methods, strict=True)):
            # In training mode batch norm updates its running statistics: give it copies.
            state = {k: v[i].clone() if "running" in k else v[i] for k, v in tensors.items()}
            yield scales_of_activations(self.training, state, rows, (method,))[method]

    def finish(self, state: Mapping[str, Tensor], rows: Rows, methods: tuple[Ranges, Ranges]) -> Quantized:
        """Write a trained network's file: integers as trained, ranges of activations re-estimated on the folded graph.

        Folding a batch norm multiplies an output channel's weights, and so its scale, by a factor: the integers stay
        (or change sign).
        """
        folded = self.engine.fold(state)
        by_weight = {layer.weight: f"{layer.module}.scale" for layer in self.shipping.layers}
        for fold in self.engine.pairs:
            if fold.weight in by_weight:
                name = by_weight[fold.weight]
                factor = fold_factor(state, fold).abs()
                folded[name] = (folded[name].double() * factor).clamp_min(MIN_SCALE).float()
        weights, activations = methods
        folded |= scales_of_activations(self.shipping, folded, rows, (activations,))[activations]
        return self.engine.finish(self.shipping, Calibrated(folded, weights, activations), rows)


def _fit_together(calibration: Sequence[Rows]) -> bool:
    """Return whether the rows of several networks that read tables fit into one call."""
    first = calibration[0]
    return (
        len(calibration) > 1
        and all(
            isinstance(rows, Tensor) and rows.is_floating_point() and rows.dim() == 2 for rows in calibration
        )
        and len(calibration) * max(map(len, calibration)) <= rows_at_once(first)
    )
