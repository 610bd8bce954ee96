"""Quantize many networks of one architecture: one export of the graph, each network its own ranges and file.

torch.export and the ONNX exporter take seconds and depend on the architecture only. So both run once;
every network is calibrated on a copy of the prepared graph, and its integers, scales and zero points are
put into a copy of the ONNX template. The file is then checked against the graph it came from.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from fairpress.models.export import export_graph, quiet
from fairpress.runtime.pack import finish, pack_weights

with quiet():  # torchao registers its enums in a way that torch will not need in future, and says so
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    from fairpress.compression.quantizer import BitQuantizer

decomposed = torch.ops.quantized_decomposed
LEAST_AGREEMENT = 0.95
RANDOM = {
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Bernoulli",
    "Multinomial",
}


class NotAsAsked(RuntimeError):
    """The quantized file is not what was asked for; it is not shipped."""


@dataclass(frozen=True)
class Quantized:
    """A finished file, the PT2E graph it came from, and what was checked."""

    onnx: bytes
    graph: nn.Module
    details: Mapping[str, Any]


def quantize_many(
    module: nn.Module,
    states: Sequence[Mapping[str, Tensor]],
    calibration: Sequence[Tensor],
    *,
    weight_bits: int = 8,
    overrides: Mapping[str, int] | None = None,
    ranges: str = "mse",
) -> list[Quantized]:
    """Quantize a network with each of the given states.

    Parameters
    ----------
    module
        The architecture; it is not changed.
    states
        A state dict per network.
    calibration
        Inputs [rows, …] per network that set the ranges of its activations.
    weight_bits, overrides
        Width of the weights, and of single layers by name.
    ranges
        ``"mse"`` or ``"minmax"``, for weights.

    Raises
    ------
    UserError
        `overrides` names no layer.
    NotAsAsked
        A file has other layers, widths or kernels than asked for, or does not agree with its graph.
    """
    from torch.utils import _pytree  # noqa: F401  imported before warnings are filtered

    module = copy.deepcopy(module).cpu().eval()
    for child in module.modules():
        if type(child).__name__ in ("StochasticDepth", "DropPath"):
            child.p = child.drop_prob = 0.0
    quantizer = BitQuantizer(weight_bits, dict(overrides or {}), ranges)
    batch = torch.export.Dim("batch", min=1, max=2**20)
    with quiet():
        exported = torch.export.export(module, (calibration[0][:2],), dynamic_shapes=({0: batch},)).module()
        graphs = [
            _convert(exported, quantizer, state, rows)
            for state, rows in zip(states, calibration, strict=True)
        ]
        template = export_graph(graphs[0], calibration[0][:2])
    first = _constants(graphs[0])
    layers = quantizer.layers
    out = []
    for graph, rows in zip(graphs, calibration, strict=True):
        model = _refill(template, first, _constants(graph))
        widths = _weights_of(model, layers)
        _integer_biases(model)
        pack_weights(model, widths)
        data = finish(model)
        kernels = _check(data, graph, rows, layers)
        out.append(Quantized(data, graph, {"bits": dict(layers), "ranges": ranges, **kernels}))
    return out


def _convert(
    exported: torch.fx.GraphModule, quantizer: BitQuantizer, state: Mapping[str, Tensor], rows: Tensor
) -> torch.fx.GraphModule:
    own = copy.deepcopy(exported)
    targets = {**dict(own.named_parameters()), **dict(own.named_buffers())}
    with torch.no_grad():
        for name, value in state.items():
            targets[name].copy_(value)
    # After the state: preparing folds batch norm into the convolutions, and its names are gone.
    prepared = prepare_pt2e(own, quantizer)
    with torch.no_grad():
        prepared(rows)
    converted = convert_pt2e(prepared)
    converted.eval = converted.train = lambda *_: converted  # an exported graph refuses both
    converted.training = False
    return converted


@dataclass(frozen=True)
class _Constants:
    """What differs between two networks of one graph.

    Named tensors, (scale, zero point) of each value that is quantized, scales of each weight; the latter two
    in the order of the graph. A value that is dequantized twice counts once: the exporter joins equal nodes.
    """

    tensors: Mapping[str, np.ndarray]
    activations: Sequence[tuple[float, int]]
    channels: Sequence[np.ndarray]


def _constants(graph: nn.Module) -> _Constants:
    assert isinstance(graph, torch.fx.GraphModule)
    values = {k: v.detach().cpu().numpy() for k, v in graph.state_dict().items()}
    activations, channels = [], []
    for node in graph.graph.nodes:
        if node.target is decomposed.quantize_per_tensor.default:
            activations.append((float(node.args[1]), int(node.args[2])))
        elif node.target is decomposed.dequantize_per_channel.default:
            channels.append(values[str(node.args[1].target)])
    return _Constants(values, activations, channels)


def _refill(template: onnx.ModelProto, before: _Constants, after: _Constants) -> onnx.ModelProto:
    """Return a copy of the template with another network's numbers; raises NotAsAsked if one has no place."""
    model = onnx.ModelProto()
    model.CopyFrom(template)
    graph = model.graph
    stored = {t.name: t for t in graph.initializer}
    for name, tensor in stored.items():
        if name in before.tensors:
            old = numpy_helper.to_array(tensor)
            if not np.array_equal(old, before.tensors[name]):
                raise NotAsAsked(f"the exporter changed {name!r}")
            tensor.CopyFrom(numpy_helper.from_array(after.tensors[name].astype(old.dtype), name))
    pairs = iter(zip(before.activations, after.activations, strict=True))
    channels = iter(zip(before.channels, after.channels, strict=True))
    quantized = {}  # value → the node that quantizes it, from which its dequantizers take their numbers
    try:
        for i, node in enumerate(graph.node):
            if node.op_type == "QuantizeLinear":
                (scale_was, zero_was), (scale, zero) = next(pairs)
                node.input[2] = _replace(graph, stored, node.input[2], zero_was, zero, i)
                node.input[1] = _replace(
                    graph, stored, node.input[1], np.float32(scale_was), np.float32(scale), i
                )
                quantized[node.output[0]] = node
            elif node.op_type == "DequantizeLinear" and node.input[0] in stored:
                was, now = next(channels)
                node.input[1] = _replace(graph, stored, node.input[1], was, now, i)
            elif node.op_type == "DequantizeLinear":
                node.input[1:] = quantized[node.input[0]].input[1:]
        left = next(pairs, None) is not None or next(channels, None) is not None
    except (StopIteration, KeyError):
        left = True
    if left:
        raise NotAsAsked("the file does not quantize the same values as the graph it came from")
    return model


def _replace(
    graph: onnx.GraphProto, stored: Mapping[str, onnx.TensorProto], name: str, was: Any, now: Any, at: int
) -> str:
    """Give a node a constant of its own: networks may differ where the first one had equal values."""
    old = numpy_helper.to_array(stored[name])
    if not np.array_equal(old.ravel(), np.asarray(was, old.dtype).ravel()):
        raise NotAsAsked(f"{name!r} does not hold the graph's value")
    own = f"{name}@{at}"
    graph.initializer.append(numpy_helper.from_array(np.asarray(now, old.dtype).reshape(old.shape), own))
    return own


def _weights_of(model: onnx.ModelProto, layers: Mapping[str, int]) -> dict[str, int]:
    """Return initializer → width of the quantized weights, in the order of the layers."""
    stored = {t.name for t in model.graph.initializer}
    names = [n.input[0] for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in stored]
    if len(names) != len(layers):
        raise NotAsAsked(f"{len(layers)} layers were to be quantized, the file has {len(names)}")
    return dict(zip(names, layers.values(), strict=True))


def _integer_biases(model: onnx.ModelProto) -> None:
    """Store biases of quantized Gemm nodes as int32 at the scale of their products.

    ONNX Runtime runs the integer kernel (QGemm) only then; otherwise it multiplies floats.
    """
    graph = model.graph
    producer = {o: n for n in graph.node for o in n.output}
    stored = {t.name: t for t in graph.initializer}
    for i, node in enumerate(list(graph.node)):
        if node.op_type != "Gemm" or len(node.input) < 3 or node.input[2] not in stored:
            continue
        x, w = (producer.get(name) for name in node.input[:2])
        if x is None or w is None or {x.op_type, w.op_type} != {"DequantizeLinear"}:
            continue
        scale = numpy_helper.to_array(stored[x.input[1]]) * numpy_helper.to_array(stored[w.input[1]])
        bias = numpy_helper.to_array(stored[node.input[2]])
        limit = 2**31 - 1
        integers = np.clip(np.round(bias.astype(np.float64) / scale), -limit, limit).astype(np.int32)
        names = [f"bias{i}", f"bias{i}_scale", f"bias{i}_zero", f"bias{i}_float"]
        for name, value in zip(
            names, (integers, scale.astype(np.float32), np.zeros_like(integers)), strict=False
        ):
            graph.initializer.append(numpy_helper.from_array(value, name))
        position = list(graph.node).index(node)
        graph.node.insert(position, helper.make_node("DequantizeLinear", names[:3], names[3:], axis=0))
        node.input[2] = names[3]


def _check(data: bytes, graph: nn.Module, rows: Tensor, layers: Mapping[str, int]) -> dict[str, Any]:
    """Hold the file against what was asked for; return what a card tells of it."""
    from fairpress.runtime.pack import weight_bits as stored_bits
    from fairpress.runtime.session import operators, run

    found = sorted(bits for bits in stored_bits(data).values() if bits < 32)
    if found != sorted(layers.values()):
        raise NotAsAsked(f"weights of {sorted(layers.values())} bits were asked for, the file stores {found}")
    counts = operators(data)
    random = RANDOM & set(counts)
    if random:
        raise NotAsAsked(f"the file draws random numbers ({', '.join(random)})")
    integer = sum(
        v
        for k, v in counts.items()
        if k.startswith("QLinear") or k in ("QGemm", "MatMulInteger", "ConvInteger")
    )
    if integer < len(layers):
        raise NotAsAsked(f"only {integer} of {len(layers)} layers run on integer kernels ({counts})")
    with torch.no_grad():
        wanted = graph(rows).argmax(1).numpy()
    agreement = float((run(data, rows.numpy()).argmax(1) == wanted).mean())
    if agreement < LEAST_AGREEMENT:
        raise NotAsAsked(
            f"the file decides as its graph on {agreement:.1%} of {len(rows)} rows only; on processors without "
            "VNNI, sums of 8-bit products can saturate"
        )
    return {"integer_kernels": integer, "agreement_with_graph": agreement}
