"""Compare a quantized file with its recipe. A failed check raises `VerificationError`, and the file is not shipped."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from fairpress.compression.errors import VerificationError
from fairpress.compression.quantized_graph.prepare import Layer
from fairpress.compression.quantized_graph.transposed_weights import transposed_weights
from fairpress.core.errors import UserError
from fairpress.core.output_kind import OutputKind
from fairpress.models.equivalence import load_for_check
from fairpress.runtime.backends.base import Backend, sums_saturate
from fairpress.runtime.backends.batching import outputs as run
from fairpress.runtime.backends.batching import rows_at_once
from fairpress.runtime.backends.registry import open_session
from fairpress.runtime.onnx.three_bits import three_bit_weights
from fairpress.runtime.onnx.weight_packing import INT2

WIDTHS = {TensorProto.INT8: 8, TensorProto.INT4: 4, INT2: 2}
RANDOM = frozenset(
    {
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Bernoulli",
        "Multinomial",
        "Dropout",
    }
)
INTEGER_KERNELS = frozenset(
    {
        "QGemm",
        "QLinearConv",
        "QLinearMatMul",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "ConvInteger",
        "DynamicQuantizeMatMul",
        "DynamicQuantizeLSTM",
    }
)
MIN_AGREEMENT, MAX_ERROR, NOTICEABLE_ERROR = 0.95, 0.15, 0.02
# The error may be 1.5 times that which rounding errors cause in the graph itself, and at most half the spread.
ROUNDING_FACTOR, MAX_ROUNDING_ERROR = 1.5, 0.5


def check_file(data: bytes, layers: Sequence[Layer], state: Mapping[str, Tensor], *, integer: bool) -> int:
    """Run every check that needs no rows, and return the number of layers on integer kernels.

    Parameters
    ----------
    data
        The finished file.
    layers
        The layers whose weights must be integers, with their bit widths.
    state
        The network's float weights; a weight of 0 must be stored as 0.
    integer
        Whether these layers must run on integer kernels; otherwise on float kernels, with weights unpacked at load time.
    """
    model = onnx.load_from_string(data)
    check_no_randomness(model)
    weights = integer_weights(model)
    check_widths(weights, layers)
    for layer, (_, values) in zip(layers, weights, strict=True):
        check_range(layer, values, layer.tops(state), layer.lows(state))
        check_zeros(layer.name, values, state[layer.weight])
    check_channels(model, layers, state)
    return check_kernels(data, layers, integer)


@dataclass(frozen=True)
class StoredWeight:
    """An integer weight of a file: bit width (of most channels), values, and a mask of the channels preserved at 8 bits."""

    bits: int
    values: np.ndarray
    preserved: np.ndarray


def integer_weights(model: onnx.ModelProto) -> list[tuple[int, np.ndarray]]:
    """Return bit width and values of every integer weight (two dimensions or more), in the order they are read."""
    return [(w.bits, w.values) for w in stored_weights(model)]


def stored_weights(model: onnx.ModelProto) -> list[StoredWeight]:
    """Return every integer weight, in the order they are read, output channels first.

    One stored in two parts (`pack_channels`) is merged.
    """
    graph = model.graph
    constants = {t.name: t for t in graph.initializer}
    stored = [t for t in graph.initializer if t.data_type in WIDTHS and len(t.dims) >= 2]
    cast = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Cast" and n.input[0] in constants}
    split = {part.low: part for part in three_bit_weights(graph)}
    cast |= {part.joined: part.low for part in split.values()}
    gathered = {n.input[0]: n.input[1] for n in graph.node if n.op_type == "Gather"}
    parts = {}  # the part that is read first → the other, and the order of both
    for node in graph.node:
        sources = [cast.get(i, i) for i in node.input]
        if node.op_type == "Concat" and node.output[0] in gathered and all(s in constants for s in sources):
            order = gathered[node.output[0]]
            parts[sources[0]] = (sources[1], numpy_helper.to_array(constants[cast.get(order, order)]))
    others = {other for other, _ in parts.values()}
    transposed = {cast.get(name, name) for name in transposed_weights(graph)}

    def integers(name: str) -> np.ndarray:
        values: np.ndarray = numpy_helper.to_array(constants[name]).astype(np.int8)
        if name not in split:
            return values
        return split[name].values(values, numpy_helper.to_array(constants[split[name].high]).astype(np.int8))

    out = []
    for tensor in stored:
        bits, values = 3 if tensor.name in split else WIDTHS[tensor.data_type], integers(tensor.name)
        preserved = np.zeros(len(values), bool)
        if tensor.name in parts:
            other, order = parts[tensor.name]
            other_values = integers(other)
            values = np.concatenate([values, other_values])[order]
            preserved = np.concatenate([preserved, np.ones(len(other_values), bool)])[order]
        if tensor.name in transposed and values.ndim == 2:
            values, preserved = values.T, np.zeros(values.shape[1], bool)
        if tensor.name not in others:
            out.append(StoredWeight(bits, values, preserved))
    return out


def check_no_randomness(model: onnx.ModelProto) -> None:
    """Raise VerificationError if the file contains an operator that draws random numbers."""
    operators = sorted(RANDOM & {node.op_type for node in model.graph.node})
    if operators:
        raise VerificationError(
            f"the file draws random numbers ({', '.join(operators)}): export the network in evaluation mode."
        )


def check_widths(weights: Sequence[tuple[int, np.ndarray]], layers: Sequence[Layer]) -> None:
    """Raise VerificationError unless each layer's weight is stored as integers of its bit width and shape."""
    if len(weights) != len(layers):
        raise VerificationError(f"expected {len(layers)} quantized layers, the file has {len(weights)}.")
    for layer, (bits, values) in zip(layers, weights, strict=True):
        if bits != layer.bits or values.shape != layer.shape:
            raise VerificationError(
                f"layer {layer.name!r} should have weights {layer.shape} of {layer.bits} bits, the file has "
                f"{values.shape} of {bits}."
            )


def check_range(
    layer: Layer,
    values: np.ndarray,
    tops: int | Tensor | None = None,
    lows: int | Tensor | None = None,
) -> None:
    """Raise VerificationError unless integers lie within the layer's limits; those of channels [channels] if they differ."""
    low, high = (
        limit.cpu().numpy() if isinstance(limit, Tensor) else np.full(len(values), default)
        for limit, default in ((lows, layer.low), (tops, layer.top))
    )
    flat = values.astype(np.int16).reshape(len(values), -1)
    beyond = (flat.max(1) > high) | (flat.min(1) < low)
    if beyond.any():
        out_of_range, bottom, top = values[beyond], int(low[beyond].max()), int(high[beyond].min())
        limits = f"±{top}" if bottom == -top else f"{bottom} … {top}"
        raise VerificationError(
            f"layer {layer.name!r} stores integers {out_of_range.min()} … {out_of_range.max()}, outside of {limits} "
            f"({layer.bits} bits{', some channels 8' if layer.preserved else ''})."
        )


def check_channels(model: onnx.ModelProto, layers: Sequence[Layer], state: Mapping[str, Tensor]) -> None:
    """Raise VerificationError unless exactly the chosen channels have 8 bits."""
    for layer, weight in zip(layers, stored_weights(model), strict=True):
        expected = np.zeros(len(weight.preserved), bool)
        if layer.preserved:
            expected = state[layer.channel_tops].cpu().numpy() > layer.top
        if expected.sum() != layer.preserved or not np.array_equal(weight.preserved, expected):
            raise VerificationError(
                f"layer {layer.name!r} should have {layer.preserved} channels preserved at 8 bits, the file has "
                f"{int(weight.preserved.sum())}, {int((weight.preserved & expected).sum())} of them as chosen."
            )


def check_zeros(layer: str, values: np.ndarray, weight: Tensor) -> None:
    """Raise VerificationError if a weight that was pruned to 0 is not 0 any more."""
    n_nonzero = int(np.count_nonzero(values[weight.detach().cpu().numpy() == 0]))
    if n_nonzero:
        raise VerificationError(f"{n_nonzero} weights of layer {layer!r} that were 0 are not 0 in the file.")


def integer_products(model: onnx.ModelProto) -> int:
    """Return the number of products of an optimised graph that multiply stored weights as integers.

    A product of two activations that are integers anyway, as in attention, is not one.
    """
    constant = {t.name for t in model.graph.initializer}
    return sum(
        node.op_type in INTEGER_KERNELS
        and node.input[3 if node.op_type in ("QGemm", "QLinearConv", "QLinearMatMul") else 1] in constant
        for node in model.graph.node
    )


def check_kernels(data: bytes, layers: Sequence[Layer], integer: bool) -> int:
    """Return the number of products on integer kernels of ONNX Runtime: all, or none for weight-only quantization.

    A layer that is called twice counts as two products. A layer whose weights are dequantized in every run is refused: it is
    slower than a float layer.
    """
    model = optimized_graph(data)
    integer_count = integer_products(model)
    stored = {t.name: t for t in model.graph.initializer if len(t.dims) >= 2}
    repeated = [n for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in stored]
    expected = sum(layer.uses for layer in layers)
    if repeated or integer_count != (expected if integer else 0):
        ops = Counter(node.op_type for node in model.graph.node)
        raise VerificationError(
            f"expected {expected} layers on {'integer' if integer else 'float'} kernels of ONNX Runtime, found "
            f"{integer_count} on integer kernels and {len(repeated)} dequantized in every run ({_text(ops)})."
            + _keep_remedy(repeated, stored, data, layers)
        )
    return integer_count


def _keep_remedy(
    repeated: Sequence[onnx.NodeProto],
    stored: Mapping[str, onnx.TensorProto],
    data: bytes,
    layers: Sequence[Layer],
) -> str:
    """Return the remedy for layers that are dequantized in every run, whose weights ONNX Runtime may have transposed."""
    repeated_values = [numpy_helper.to_array(stored[n.input[0]]) for n in repeated]
    weights = integer_weights(onnx.load_from_string(data))
    names = [
        layer.name
        for layer, (_, values) in zip(layers, weights, strict=True)
        if any(
            np.array_equal(oriented, other) for oriented in (values, values.T) for other in repeated_values
        )
    ]
    return f" Keep these layers in float: keep={'|'.join(names)}." if names else ""


def optimized_graph(data: bytes) -> onnx.ModelProto:
    """Return the graph as ONNX Runtime runs it on this machine."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimised.onnx"
        load_for_check(data, dump=str(path))
        return onnx.load(path)


def check_agreement(
    data: bytes,
    inputs: Tensor,
    expected: Tensor,
    perturbed: Callable[[], Sequence[Tensor]] | None = None,
    outputs: OutputKind = "classes",
) -> dict[str, Any]:
    """Return the agreement of a file with its graph: the share of equal predictions, and the relative error of logits.

    The error is the root mean square of the difference, divided by the spread of the graph's logits over rows: 0.02-0.1 if
    only rounding differs, about 1 for the file of another network. Neither suffices alone: predictions of a network with
    scores near the threshold change with a rounding error, and a constant predictor has no spread. If most of the error
    disappears with sums that do not saturate, the processor causes it: the file is accepted and the result has `saturates`.

    In a deep, badly conditioned network, rounding errors grow from layer to layer, and different implementations disagree.
    The effect of rounding on the graph itself is then the standard, and is part of the result (`moved_by_rounding`).

    Parameters
    ----------
    inputs
        Rows [rows, …].
    expected
        The graph's outputs [rows, width] for them.
    outputs
        What they are (`compare_outputs`).
    perturbed
        Returns logits of the same graph, several times, with all step sizes of activations perturbed by about 0.01 %, so
        that other values are rounded differently. Called only if the file would be refused; such a file is distinguished
        from a wrong one by its numbers (`numbers.check_values`).
    """
    agreement, error = _agreement(data, inputs, expected, Backend(), outputs)
    result: dict[str, Any] = {"agreement_with_graph": agreement, "error_against_graph": error}
    if error <= NOTICEABLE_ERROR:
        return result
    without_saturation = _without_saturation(data, inputs, expected, outputs) if sums_saturate() else None
    best = without_saturation or (agreement, error)
    if not _is_acceptable(agreement, error) and not _is_acceptable(*best):
        perturbed_logits = () if perturbed is None else perturbed()
        rounding_error = max(
            (compare_outputs(other.numpy(), expected.numpy(), outputs)[1] for other in perturbed_logits),
            default=0.0,
        )
        if best[1] > rounding_error * ROUNDING_FACTOR:
            raise VerificationError(
                f"the file agrees with its graph on only {best[0]:.1%} of {len(inputs)} predictions, and its logits "
                f"differ by {best[1]:.0%} of their spread."
            )
        if max(rounding_error, best[1]) > MAX_ROUNDING_ERROR:
            raise VerificationError(
                "this network is too sensitive to rounding errors: changing quantization steps by 0.01 % moves the "
                "logits of "
                f"its graph by {rounding_error:.0%} of their spread (the file differs by {best[1]:.0%}), so no file can "
                "reproduce its predictions; train it longer, or keep layers in float with `keep=`."
            )
        result["moved_by_rounding"] = rounding_error
    if without_saturation and (
        without_saturation[1] < error / 2
        or (_is_acceptable(*without_saturation) and not _is_acceptable(agreement, error))
    ):
        result["saturates"] = True
    return result


def clear_agreement(
    data: bytes, inputs: Tensor, expected: Tensor, outputs: OutputKind = "classes"
) -> dict[str, Any] | None:
    """Return the agreement of a file with its graph if a few rows settle that it is accepted; else None.

    The parameters and the result are those of `check_agreement`, which refuses a file, or looks for what saturates, on more
    rows.
    """
    agreement, error = _agreement(data, inputs, expected, Backend(), outputs)
    settled = _is_acceptable(agreement, error) and not sums_saturate()
    if error > NOTICEABLE_ERROR and not settled:
        return None
    return {"agreement_with_graph": agreement, "error_against_graph": error}


def _is_acceptable(agreement: float, error: float) -> bool:
    return agreement >= MIN_AGREEMENT or error <= MAX_ERROR


def _without_saturation(
    data: bytes, inputs: Tensor, expected: Tensor, outputs: OutputKind
) -> tuple[float, float] | None:
    """Return the agreement with sums that never saturate; None if ONNX Runtime fails (1.32 does on MatMulInteger)."""
    try:
        return _agreement(data, inputs, expected, Backend(variant="exact"), outputs)
    except UserError:
        return None


def _agreement(
    data: bytes, inputs: Tensor, expected: Tensor, runtime: Backend, outputs: OutputKind
) -> tuple[float, float]:
    rows = inputs.numpy()
    computed = run(open_session(data, runtime), rows, np.arange(len(rows)), rows_at_once(data))
    return compare_outputs(computed, expected.numpy(), outputs)


def compare_outputs(
    logits: np.ndarray, expected: np.ndarray, outputs: OutputKind = "classes"
) -> tuple[float, float]:
    """Return the share of equal predictions of outputs [rows, width], and the relative error (`check_agreement`).

    Several labels are equal where all of them are, at a probability of ½. Numbers and embeddings are no decisions: their
    share is that of rows whose outputs differ by at most `MAX_ERROR` of the spread.
    """
    if outputs != "classes":
        return _compare_values(logits, expected, outputs)
    same = float((logits.argmax(1) == expected.argmax(1)).mean())
    infinite = np.isinf(expected) & (logits == expected)  # classes of probability 0
    logits, expected = np.where(infinite, 0, logits), np.where(infinite, 0, expected)
    centred = expected - expected.mean(1, keepdims=True)
    difference = logits - logits.mean(1, keepdims=True) - centred
    spread = float(np.sqrt(np.square(centred - centred.mean(0)).mean()))
    error = float(np.sqrt(np.square(difference).mean())) / max(spread, 1e-12)
    return same, error


def _compare_values(computed: np.ndarray, expected: np.ndarray, outputs: OutputKind) -> tuple[float, float]:
    computed, expected = computed.reshape(len(computed), -1), expected.reshape(len(expected), -1)
    # Outputs that hardly scatter over rows differ by a rounding error.
    least = max(1e-5 * float(np.abs(expected).max()), 1e-12)
    spread = max(float(np.sqrt(np.square(expected - expected.mean(0)).mean())), least)
    errors = np.sqrt(np.square(computed - expected).mean(1)) / spread
    same = ((computed >= 0) == (expected >= 0)).all(1) if outputs == "labels" else errors <= MAX_ERROR
    return float(same.mean()), float(np.sqrt(np.square(errors).mean()))


@contextmanager
def assert_unmodified(module: nn.Module) -> Iterator[None]:
    """Check that the context does not change a caller's network: its tensors, modes and hooks."""
    before = _snapshot(module)
    yield
    after = _snapshot(module)
    changed = [k for k, v in before.items() if k not in after or not _equal(v, after[k])]
    changed += [k for k in after if k not in before]
    if changed:
        raise VerificationError(f"compressing changed the caller's network ({', '.join(changed[:3])}).")


def _snapshot(module: nn.Module) -> dict[str, Any]:
    """Return copies of a network's tensors, and its requires_grad flags, modes and hooks."""
    snapshot: dict[str, Any] = {}
    if not isinstance(module, nn.Module):
        return snapshot
    for name, child in module.named_modules():
        snapshot[f"its mode, {name}" if name else "its mode"] = child.training
        for key, value in (*child._parameters.items(), *child._buffers.items()):
            tensor_name = f"{name}.{key}" if name else key
            if value is not None and not is_lazy(value) and not value.is_meta:
                snapshot[tensor_name], snapshot[f"{tensor_name} requires_grad"] = (
                    value.detach().clone(),
                    value.requires_grad,
                )
        for kind in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks"):
            snapshot[f"{name}{kind}"] = tuple(getattr(child, kind, ()))
    return snapshot


def _equal(one: Any, other: Any) -> bool:
    """Return whether two entries of `_snapshot` are equal; NaN equals NaN."""
    if not isinstance(one, Tensor):
        return bool(one == other)
    return one.shape == other.shape and bool(((one == other) | ((one != one) & (other != other))).all())


def _text(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {op}" for op, n in sorted(counts.items()))
