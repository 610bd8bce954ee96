"""Quantize many networks of one architecture with a single export of the graph.

torch.export and the ONNX exporter take seconds and depend on the architecture only, so both run once. Every network is
calibrated on the same prepared graph (PT2E's, with fairpress's fake-quantize modules), and its integers, scales and zero
points are written into a copy of the ONNX template. Each file is then compared with that graph. Quantization-aware training
(`steps.train_quantized`) provides its own scales.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from fairpress.compression.quantization.calibrate import (
    Calibrated,
    Choice,
    calibrate,
    logits_in_chunks,
    scales_of_weights,
)
from fairpress.compression.quantization.float_layers import (
    check_quantizable,
    computed_in_float,
    float_layers_note,
)
from fairpress.compression.quantized_graph.onnx_template import OnnxTemplate, make_template
from fairpress.compression.quantized_graph.prepare import PreparedGraph, prepare
from fairpress.compression.quantized_graph.row_chunks import Rows, take, values_per_row
from fairpress.compression.quantized_graph.scheme import Scheme
from fairpress.compression.rounding.group_moments import Moments
from fairpress.compression.rounding.round_weights import Rounding
from fairpress.compression.verification.checks import (
    assert_unmodified,
    check_agreement,
    check_file,
    check_zeros,
    clear_agreement,
)
from fairpress.compression.verification.numbers import check_values
from fairpress.core.output_kind import OutputKind
from fairpress.models.equivalence import check_equivalence, reference
from fairpress.models.export import export_with_names
from fairpress.models.functional_call import FastFunctionalCall
from fairpress.models.registry import build
from fairpress.models.tracing import BatchNormFold, find_batch_norm_folds, fold_graph, fold_state, trace

if TYPE_CHECKING:
    from fairpress.models.registry import Architecture

CHECKED_ROWS, CHECKED_NUMBERS = 512, 2**17
LEAST_ROWS, LEAST_ROWS_IN_DOUBT = 8, 64
PERTURBATION = 1e-4  # relative change of step sizes; badly conditioned networks amplify it
N_PERTURBATIONS = 3


@dataclass(frozen=True)
class Quantized:
    """A finished file, the graph and state that it was made from, and the results of the checks."""

    onnx: bytes
    prepared: PreparedGraph
    state: Mapping[str, Tensor]
    details: Mapping[str, Any]

    def graph(self, inputs: Rows) -> Tensor:
        """Return logits [rows, classes] of the graph that the file was made from."""
        return logits_in_chunks(self.prepared, self.state, inputs, rounded=True)


@dataclass
class BatchQuantizer:
    """The graph of an architecture and the template of each kind of file, shared by all its networks.

    Attributes
    ----------
    graph
        The traced graph with its batch norms, which quantization-aware training starts from.
    folded, pairs
        The graph with batch norms folded, and the batch norms that became part of a layer.
    outputs
        What the networks predict, which decides how their outputs are compared.
    device
        Where activations are observed and gradients taken: that of the networks' training. Files and their checks are
        computed on the CPU.
    """

    graph: GraphModule
    folded: GraphModule
    pairs: tuple[BatchNormFold, ...]
    example: Tensor
    outputs: OutputKind = "classes"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @classmethod
    def from_module(
        cls, module: nn.Module, example: Tensor, outputs: OutputKind = "classes"
    ) -> BatchQuantizer:
        """Trace a network without changing it. Raises UserError naming the layer that cannot be traced."""
        with assert_unmodified(module):
            graph = trace(module, example[:2])
        return cls(graph, fold_graph(graph), find_batch_norm_folds(graph), example[:2].clone(), outputs)

    def __post_init__(self) -> None:
        self._templates: dict[Hashable, OnnxTemplate] = {}
        self._floats: onnx.ModelProto | None = None

    def check(self, module: nn.Module, state: Mapping[str, Tensor], rows: Tensor) -> None:
        """Compare the graph that all files are made from with the network.

        Raises
        ------
        UserError
            Nearly all weights would stay in float, or the network's outputs are not a function of its inputs.
        EquivalenceError
            The graph gives other outputs.
        """
        check_quantizable(self.folded)
        slots, folded_state = FastFunctionalCall(self.folded), self.fold(state)

        def compute(rows: Tensor) -> np.ndarray:
            with torch.no_grad():
                return np.asarray(slots.call(folded_state, rows).numpy())

        check_equivalence(compute, reference(module, state, rows), "the exported graph")

    def prepare(self, scheme: Scheme) -> PreparedGraph:
        """Return the folded graph with the fake quantization of a scheme. Raises UserError for an unknown layer."""
        return prepare(self.folded, scheme)

    def on_device(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a state on the device that computes."""
        return {name: value.to(self.device) for name, value in state.items()}

    def fold(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a network's state for the folded graph."""
        return fold_state(state, self.pairs)

    def finish(self, prepared: PreparedGraph, calibrated: Calibrated, rows: Rows) -> Quantized:
        """Write a calibrated network's file, and check it.

        Raises
        ------
        VerificationError
            The file has other layers, bit widths or kernels than the scheme, or other predictions than its graph.
        """
        data = self.template(prepared, calibrated.state).fill(prepared, calibrated.state)
        integer = bool(prepared.activations)
        kernels = check_file(data, prepared.layers, calibrated.state, integer=integer)
        check_values(data, prepared, calibrated.state)
        agreement = self._agreement(data, prepared, calibrated.state, rows)
        details = {
            "bits": {**prepared.widths, **dict.fromkeys(prepared.float_layers, 32)},
            "weight_ranges": calibrated.weights,
            **({"activation_ranges": calibrated.activations} if integer else {}),
            **float_layers_note(
                self.folded, [layer.name for layer in prepared.layers], prepared.float_layers
            ),
            **computed_in_float(
                self.folded, [layer.name for layer in prepared.layers if prepared.integer and layer.stored]
            ),
            **calibrated.facts,
            **self._preserved(prepared, calibrated, data),
            "integer_kernels": kernels,
            **agreement,
        }
        return Quantized(data, prepared, calibrated.state, details)

    def _agreement(
        self, data: bytes, prepared: PreparedGraph, state: Mapping[str, Tensor], rows: Rows
    ) -> dict[str, Any]:
        """Return the agreement of a file with its graph, on few rows where they are large and settle it."""
        few, count = (rows_to_check(rows, least) for least in (LEAST_ROWS, LEAST_ROWS_IN_DOUBT))
        for checked in (take(rows, slice(few)), take(rows, slice(count))):
            expected = logits_in_chunks(prepared, state, checked, rounded=True)
            if len(checked) == count:
                break
            if (clear := clear_agreement(data, checked[:], expected, self.outputs)) is not None:
                return clear

        def perturbed() -> list[Tensor]:
            states = (perturb_scales(prepared, state, draw) for draw in range(N_PERTURBATIONS))
            return [logits_in_chunks(prepared, other, checked, rounded=True) for other in states]

        return check_agreement(data, checked[:], expected, perturbed, self.outputs)

    def _preserved(self, prepared: PreparedGraph, calibrated: Calibrated, data: bytes) -> dict[str, Any]:
        """Return the channels with 8 bits, and the bytes that they add to the file."""
        split_layers = [layer for layer in prepared.layers if layer.preserved]
        if not split_layers:
            return {}
        without_preserved = self.template(prepared, calibrated.state).fill(prepared.even, calibrated.state)
        return {
            "preserved_bytes": len(data) - len(without_preserved),
            "preserved": {
                layer.name: torch.nonzero(calibrated.state[layer.channel_tops] > layer.top).flatten().tolist()
                for layer in split_layers
            },
        }

    def float_template(self, state: Mapping[str, Tensor]) -> onnx.ModelProto:
        """Return the folded graph in float, each tensor under the name it has in `state`; exported once."""
        if self._floats is None:
            self._floats = export_with_names(self.folded, state, self.example)
        return self._floats

    def template(self, prepared: PreparedGraph, state: Mapping[str, Tensor]) -> OnnxTemplate:
        """Return the template of all files with these layers; bit widths change the numbers, not the graph.

        `state` is any network's folded state, calibrated or not: all its numbers are replaced.
        """
        kind = (prepared.float_layers, bool(prepared.activations))
        if kind not in self._templates:
            if any(layer.preserved for layer in prepared.layers):
                # PT2E supports one bit width per layer; the template does not depend on the integers.
                prepared = self.prepare(Scheme(8, prepared.integer, keep=prepared.float_layers))
            scales = scales_of_weights(prepared, state, "minmax")
            steps = {f"{name}.scale": torch.tensor(1 + i / 64) for i, name in enumerate(prepared.activations)}
            zeros = {f"{name}.zero_point": torch.zeros(()) for name in prepared.activations}
            self._templates[kind] = make_template(
                prepared, {**state, **scales, **steps, **zeros}, self.example
            )
        return self._templates[kind]


def rows_to_check(rows: Rows, least: int = LEAST_ROWS_IN_DOUBT) -> int:
    """Return on how many rows a file is compared with its graph: fewer of large ones, but `least`, if there are so many."""
    return min(len(rows), CHECKED_ROWS, max(least, CHECKED_NUMBERS // values_per_row(rows)))


def perturb_scales(
    prepared: PreparedGraph, state: Mapping[str, Tensor], draw: int = 0, relative_change: float = PERTURBATION
) -> dict[str, Tensor]:
    """Return a network's state with the step size of every activation perturbed by about `relative_change`.

    `draw` seeds the perturbation.
    """
    generator = torch.Generator().manual_seed(draw)
    names = [f"{name}.scale" for name in prepared.activations]
    changes = (
        1 + relative_change * torch.randn(state[n].shape, generator=generator).to(state[n]) for n in names
    )
    return {**state, **{n: state[n] * change for n, change in zip(names, changes, strict=True)}}


@lru_cache(maxsize=4)
def make_quantizer(
    architecture: Architecture,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    width: int,
    outputs: OutputKind = "classes",
) -> BatchQuantizer:
    """Return the quantizer of an architecture with `width` outputs by its config, cached in this process."""
    return BatchQuantizer.from_module(
        build(architecture, shape, width), torch.zeros((2, *shape), dtype=dtype), outputs
    )


def quantize_many(
    engine: BatchQuantizer,
    states: Sequence[Mapping[str, Tensor]],
    calibration: Sequence[Rows],
    scheme: Scheme | None = None,
    *,
    weights: Choice = "mse",
    activations: Choice = "mse",
    validation: Sequence[Rows] | None = None,
    groups: Sequence[Tensor] | None = None,
    tops: Sequence[Mapping[str, Tensor]] | None = None,
    rounding: Rounding = "nearest",
    bias_correction: bool = False,
    moments: Moments = "pooled",
    row_groups: Sequence[Tensor] | None = None,
) -> list[Quantized]:
    """Quantize a network with each of the given states after its training.

    Parameters
    ----------
    states
        A state dict per network, batch norms and all.
    calibration
        Inputs [rows, …] per network that set the ranges of its activations.
    scheme
        Bit widths; by default 8 bits everywhere.
    weights, activations, rounding, bias_correction
        Methods of range estimation and of rounding (`calibrate.calibrate`).
    validation, groups
        Inputs [rows, …] per network, for ``"auto"``; their groups [rows] if the worst group's error counts.
    tops
        Per network the largest integer of every channel [channels], by the names of `Layer.channel_tops`, if the scheme
        preserves channels.
    moments, row_groups
        How groups count in the rounding (`calibrate.calibrate`), and per network the group of each calibration row [rows].

    Raises
    ------
    UserError
        The scheme names an unknown layer.
    VerificationError
        A file does not match its graph or the scheme.
    """
    prepared = engine.prepare(scheme or Scheme())
    every_calibrated = calibrate_many(
        engine,
        prepared,
        states,
        calibration,
        weights=weights,
        activations=activations,
        validation=validation,
        groups=groups,
        tops=tops,
        rounding=rounding,
        bias_correction=bias_correction,
        moments=moments,
        row_groups=row_groups,
        writes_files=True,
    )
    return [
        engine.finish(prepared, calibrated, rows)
        for calibrated, rows in zip(every_calibrated, calibration, strict=True)
    ]


def calibrate_many(
    engine: BatchQuantizer,
    prepared: PreparedGraph,
    states: Sequence[Mapping[str, Tensor]],
    calibration: Sequence[Rows],
    *,
    weights: Choice = "mse",
    activations: Choice = "mse",
    validation: Sequence[Rows] | None = None,
    groups: Sequence[Tensor] | None = None,
    tops: Sequence[Mapping[str, Tensor]] | None = None,
    rounding: Rounding = "nearest",
    bias_correction: bool = False,
    moments: Moments = "pooled",
    row_groups: Sequence[Tensor] | None = None,
    writes_files: bool = False,
) -> Iterator[Calibrated]:
    """Yield the calibrated state of each network for a prepared graph; the parameters are those of `quantize_many`.

    With `writes_files` the template of their files is made first, and activations are observed in it.
    """
    for i, (state, rows) in enumerate(zip(states, calibration, strict=True)):
        folded = {**engine.fold(state), **({} if tops is None else tops[i])}
        calibrated = calibrate(
            prepared,
            folded,
            rows,
            weights=weights,
            activations=activations,
            validation=None if validation is None else validation[i],
            groups=None if groups is None else groups[i],
            rounding=rounding,
            bias_correction=bias_correction,
            moments=moments,
            row_groups=None if row_groups is None else row_groups[i],
            outputs=engine.outputs,
            device=engine.device,
            template=engine.template(prepared, folded) if writes_files and prepared.activations else None,
        )
        for layer in prepared.layers:  # the file is compared with weights that the rounding has moved
            check_zeros(layer.name, calibrated.state[layer.weight].cpu().numpy(), folded[layer.weight])
        yield calibrated
