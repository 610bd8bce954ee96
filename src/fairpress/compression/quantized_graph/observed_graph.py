"""Observe activations on ONNX Runtime: the template with rounded weights, float activations, and these as its outputs.

ONNX Runtime runs a float network up to four times as fast as PyTorch's eager mode does on a processor, and the template of
the file is exported anyway. The first row is observed in PyTorch too: where the two differ, PyTorch is used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from fairpress.compression.quantized_graph.fake_quantize import mode
from fairpress.compression.quantized_graph.onnx_template import OnnxTemplate, integers_of, numbers_of_layers
from fairpress.compression.quantized_graph.prepare import PreparedGraph
from fairpress.compression.quantized_graph.range_estimators import MIN_SCALE, Histogram
from fairpress.compression.quantized_graph.row_chunks import Rows, positions_of_chunks, rows_at_once, take
from fairpress.compression.quantized_graph.transposed_weights import store_transposed
from fairpress.core.errors import UserError
from fairpress.core.time_left import counted
from fairpress.models.export import fill
from fairpress.runtime.backends.onnxruntime import session
from fairpress.training.token_rows import TokenRows

MAX_BYTES = 3 * 2**29  # of float weights: a serialized graph has 2 GiB at most
OBSERVED_BYTES = 2**26  # of the observed values of one call
TOLERANCE = 1e-3  # of the range of a value; orders of summation differ by far less


@dataclass(frozen=True)
class ObservedGraph:
    """An ONNX graph in float, and the value that each module before an activation reads."""

    model: onnx.ModelProto
    sources: Mapping[str, str]


def observe(
    template: OnnxTemplate, prepared: PreparedGraph, state: Mapping[str, Tensor], rows: Rows
) -> list[Histogram] | None:
    """Return the histogram of every activation of a prepared graph, in its order; None if ONNX Runtime cannot.

    It cannot where a graph has subgraphs, weights of more than `MAX_BYTES`, operators without a kernel, or other values of
    the first row than PyTorch computes.

    Parameters
    ----------
    template
        The template of the files of this graph.
    state
        A network's state with the scales of its weights.
    rows
        Inputs [rows, …]; each is run once, and the first once more.
    """
    if sum(math.prod(layer.shape) for layer in prepared.layers) * 4 > MAX_BYTES:
        return None
    observed = observed_graph(template, prepared, state)
    if observed is None:
        return None
    try:
        runner = _Runner(observed)
        longest = int(rows.lengths.argmax()) if isinstance(rows, TokenRows) else 0
        row = take(rows, slice(longest, longest + 1))[:]
        values = runner.run(row)
        if not _agree(
            [values[observed.sources[name]] for name in prepared.activations], prepared, state, row
        ):
            return None
        histograms = {name: Histogram() for name in values}
        size = sum(value.numel() * value.element_size() for value in values.values())
        positions = positions_of_chunks(rows, min(rows_at_once(rows), max(1, OBSERVED_BYTES // size)))
        for chunk in counted((rows[part] for part in positions), "calibration, batches", len(positions)):
            for name, value in runner.run(chunk).items():
                histograms[name].add(value)
    except UserError:
        return None
    return [histograms[observed.sources[name]] for name in prepared.activations]


def observed_graph(
    template: OnnxTemplate, prepared: PreparedGraph, state: Mapping[str, Tensor]
) -> ObservedGraph | None:
    """Return the template's graph with rounded weights in float, without the rounding of activations.

    None if values within a subgraph, or constants, would be observed, or not all that the prepared graph observes.
    """
    values = {k: v.detach().cpu().numpy() for k, v in state.items()} | numbers_of_layers(prepared, state)
    model = fill(template.model, values)
    graph = model.graph
    if any(attribute.HasField("g") for node in graph.node for attribute in node.attribute):
        return None
    store_transposed(model, {integers_of(layer.name) for layer in prepared.layers})
    stored = {t.name: t for t in graph.initializer}
    floats = {bias.constants[0]: bias.name for bias in template.biases}
    sources: dict[str, str] = {}
    unrounded: dict[str, str] = {}  # a quantized or dequantized value → the value in float
    kept = []
    for node in graph.node:
        inputs = [unrounded.get(name, name) for name in node.input]
        if node.op_type == "QuantizeLinear":
            sources.setdefault(node.input[1].removesuffix(".scale"), inputs[0])
            unrounded[node.output[0]] = inputs[0]
        elif node.op_type == "DequantizeLinear" and node.input[0] in unrounded:
            unrounded[node.output[0]] = inputs[0]
        elif node.op_type == "DequantizeLinear" and node.input[0] in floats:
            unrounded[node.output[0]] = floats[node.input[0]]
        elif node.op_type == "DequantizeLinear" and node.input[0] in stored:
            graph.initializer.append(_dequantized(node, stored))
        else:
            del node.input[:]
            node.input.extend(inputs)
            kept.append(node)
    if set(sources) != set(prepared.activations) or not stored.keys().isdisjoint(sources.values()):
        return None
    del graph.node[:], graph.output[:], graph.value_info[:]
    graph.node.extend(kept)
    read = {name for node in kept for name in node.input}
    unread = [t for t in graph.initializer if t.name not in read]
    for tensor in unread:
        graph.initializer.remove(tensor)
    given = {value.name for value in graph.input}
    graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        for name in dict.fromkeys(sources.values())
        if name not in given
    )
    return ObservedGraph(model, sources)


def _dequantized(node: onnx.NodeProto, stored: Mapping[str, onnx.TensorProto]) -> onnx.TensorProto:
    """Return the result of a DequantizeLinear of stored integers, one scale per channel, as a constant."""
    integers, scales = (numpy_helper.to_array(stored[name]) for name in node.input[:2])
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1) % integers.ndim
    shape = [-1 if i == axis and scales.ndim else 1 for i in range(integers.ndim)]
    return numpy_helper.from_array(integers.astype(scales.dtype) * scales.reshape(shape), node.output[0])


class _Runner:
    """An observed graph in ONNX Runtime."""

    def __init__(self, observed: ObservedGraph) -> None:
        self._session = session(observed.model.SerializeToString(), threads=torch.get_num_threads())
        self._input = observed.model.graph.input[0].name
        self._reads_input = self._input in observed.sources.values()
        self._outputs = [value.name for value in observed.model.graph.output]

    def run(self, rows: Tensor) -> dict[str, Tensor]:
        """Return the observed values [rows, …] by name. Raises UserError if ONNX Runtime cannot compute them."""
        import onnxruntime as ort

        fed = {self._input: ort.OrtValue.ortvalue_from_numpy(rows.contiguous().numpy())}
        try:
            computed = self._session.run_with_ort_values(self._outputs, fed)
        except Exception as error:  # the classes of ONNX Runtime's errors are not public
            raise UserError(f"ONNX Runtime cannot run the observed graph ({error}).") from error
        values = {n: _tensor(v) for n, v in zip(self._outputs, computed, strict=True)}
        return values | ({self._input: rows} if self._reads_input else {})


def _tensor(value: Any) -> Tensor:
    """Return a value of ONNX Runtime as a tensor without copying it."""
    # In ONNX Runtime 1.24, only the value inside knows DLPack.
    return torch.from_dlpack(value if hasattr(value, "__dlpack__") else value._ortvalue)


@torch.no_grad()
def _agree(
    values: Sequence[Tensor], prepared: PreparedGraph, state: Mapping[str, Tensor], rows: Tensor
) -> bool:
    """Return whether PyTorch observes the same least and largest values of these rows, up to rounding."""
    with mode(prepared.graph, weights="round", activations="watch") as observers:
        prepared.slots.call(state, rows)
        histograms = [module.histogram for module in observers]
    for value, histogram in zip(values, histograms, strict=True):
        assert histogram is not None
        low, high = (float(v) for v in torch.aminmax(value))
        width = max(histogram.high, 0.0) - min(histogram.low, 0.0)
        # Not the opposite comparison: it must fail for NaN.
        if not max(abs(low - histogram.low), abs(high - histogram.high)) <= TOLERANCE * max(width, MIN_SCALE):
            return False
    return True
