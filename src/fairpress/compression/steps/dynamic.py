"""Dynamic quantization: linear layers as 8-bit integers, with input ranges computed in each call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from fairpress.compression.step import TrainedNetwork
from fairpress.compression.steps.onnx_step import OnnxStep
from fairpress.core.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from torch.fx import GraphModule

    from fairpress.compression.quantization.batch_quantizer import BatchQuantizer

SLOW_CONVOLUTIONS = (
    "ONNX Runtime runs dynamically quantized ones slower than fp32 (benchmarks/dynamic_convolutions.py); "
    "take int8"
)
RANGES = {
    "call": "of each call: a row's prediction can depend on the other rows of its batch",
    "row": "of each row that a layer reads, such as a token: the other rows of its batch change nothing",
}


class QuantizeDynamic(OnnxStep):
    """Store the weights of linear layers as 8-bit integers, a scale per output channel.

    Embedding tables are stored as 8-bit integers too, a scale per row, and only the rows that a text needs become floats.
    The inputs of a layer become unsigned 8-bit integers, over a range that is computed when the file runs. Networks with
    most of their weights in convolutions are refused; a few convolutions (a transformer's patches) stay in float. LSTM
    layers run on ONNX Runtime's DynamicQuantizeLSTM, with the range of the call. Weights without an integer kernel (GRU,
    einsum, …) are stored as integers and become floats when the file is loaded.

    Attributes
    ----------
    ranges
        ``"call"``: one range for all inputs of a layer in a call, so that a row's prediction can depend on the other rows
        of the batch, which the card records. ``"row"``: a range for each vector that a layer reads (a row of a table, a
        token of a text), so that it cannot.
    rounding
        ``"nearest"``, without calibration rows, or ``"gptq"`` (`Quantize`), which reads them.
    """

    done: ClassVar[str] = "quantized"

    ranges: Literal["call", "row"] = "call"
    rounding: Literal["nearest", "gptq"] = "nearest"

    def file(
        self, engine: BatchQuantizer, network: TrainedNetwork, rows: Tensor
    ) -> tuple[bytes, Mapping[str, Any]]:
        """Quantize linear layers. Raises UserError for a network of convolutions, naming the largest."""
        from fairpress.compression.onnx.dynamic import integer_layers, multiply_integers
        from fairpress.compression.onnx.dynamic_lstm import use_integer_lstm
        from fairpress.compression.onnx.float_graph import (
            agreement,
            chosen_layers,
            chosen_stored,
            chosen_tables,
            float_model,
        )
        from fairpress.compression.onnx.packed_embedding import look_up_integers
        from fairpress.compression.onnx.stored_integers import store_integers
        from fairpress.compression.quantization.float_layers import computed_in_float, float_layers_note
        from fairpress.compression.quantization.sensitivity import rounded_weights
        from fairpress.compression.quantized_graph.range_estimators import weight_scales
        from fairpress.compression.verification.checks import check_zeros
        from fairpress.models.tracing import products, stored_weight
        from fairpress.runtime.onnx.weight_packing import finalize

        state = engine.fold(network.state)
        chosen = chosen_layers(engine, self.keep)
        stored = chosen_stored(engine, self.keep)
        convolutions = refuse_convolutions(chosen, state, "int8-dynamic", SLOW_CONVOLUTIONS, stored)
        tied = read_elsewhere(engine.folded, chosen)
        chosen = [name for name in chosen if name not in (*convolutions, *tied)]
        stored += tied  # other operators read them as a whole
        model = float_model(engine, state)
        weights = rounded_weights(engine, state, chosen, (8,), rows, self.rounding)
        tables = chosen_tables(engine, self.keep)
        codes: dict[str, np.ndarray] = {}
        steps: dict[str, np.ndarray] = {}
        for layer in (*chosen, *tables, *stored):
            name = stored_weight(layer, state)
            weight = state[name]
            scale = weight_scales(weight.flatten(1), 127, "mse")
            values = weights[layer][8] if layer in weights else weight
            columns = scale.view(-1, *[1] * (weight.dim() - 1))
            integers = (values / columns).round().clamp(-127, 127)
            state[name] = integers * columns
            check_zeros(layer, integers.numpy(), weight)
            if layer in tables:
                look_up_integers(model, name, integers.numpy(), scale[:, None].numpy(), 8)
            elif layer in stored:
                codes[name], steps[name] = integers.numpy(), scale.numpy()
            else:
                multiply_integers(model, name, integers.numpy(), scale.numpy(), self.ranges)
        recurrent, in_kernels = use_integer_lstm(model, codes, steps) if self.ranges == "call" else (0, [])
        for name in codes.keys() - set(in_kernels):
            store_integers(model, name, codes[name], steps[name], 8)
        data = finalize(model)
        uses = sum(count for name, count in products(engine.folded).items() if name in chosen)
        float_bits = dict.fromkeys([*convolutions, *self.keep], 32)
        details = {
            "bits": {**dict.fromkeys([*tables, *chosen, *stored], 8), **float_bits},
            "activation_ranges": RANGES[self.ranges],
            "integer_kernels": integer_layers(data, uses + recurrent),
            **computed_in_float(
                engine.folded,
                [n for n in stored if stored_weight(n, state) not in in_kernels],
                dynamic=self.ranges == "call",
            ),
            **float_layers_note(engine.folded, [*tables, *chosen, *stored], self.keep),
        }
        return data, {**details, **agreement(data, engine, state, rows)}


def read_elsewhere(graph: GraphModule, layers: Sequence[str]) -> list[str]:
    """Return the layers whose weight is also read by other operators than their products, such as tied weights."""
    from fairpress.models.tracing import is_weighted, layer_name

    products = {layer_name(node) for node in graph.graph.nodes if is_weighted(node)}
    shared = []
    for node in graph.graph.nodes:
        name = str(node.target).removesuffix(".weight")
        if node.op != "get_attr" or name not in products:
            continue
        if not all(is_weighted(user) and user.args[1] is node for user in node.users):
            shared.append(name)
    return [name for name in layers if name in shared]


def refuse_convolutions(
    layers: Sequence[str], state: Mapping[str, Tensor], recipe: str, reason: str, others: Sequence[str] = ()
) -> list[str]:
    """Return the convolutions among layers.

    Raises UserError, with a reason, if they contain most of the weights of these layers and the `others`.
    """
    from fairpress.models.tracing import stored_weight

    sizes = {name: state[stored_weight(name, state)].numel() for name in (*layers, *others)}
    convolutions = [name for name in layers if state[stored_weight(name, state)].dim() > 2]
    if 2 * sum(sizes[name] for name in convolutions) > sum(sizes.values()):
        largest = max(convolutions, key=lambda name: sizes[name])
        raise UserError(
            f"{recipe} is for networks of linear layers; this network has most of its weights in "
            f"{len(convolutions)} convolutions, the largest {largest!r}, and {reason}."
        )
    return convolutions
