"""Store biases as integers, at the scale of the products that they are added to, where a runtime is faster with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from onnx import helper, numpy_helper

if TYPE_CHECKING:
    import onnx

NONNEGATIVE = ("Relu", "Sigmoid", "HardSigmoid", "Softmax")
# Operators whose result is not negative if none of their inputs is.
SIGN_PRESERVING = (
    *("QuantizeLinear", "DequantizeLinear", "MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean"),
    *("Add", "Mul", "Concat"),
)


@dataclass(frozen=True)
class Bias:
    """The names of a bias stored as int32 at the scale of a product, of that product, and of its two scales.

    A layer that runs twice has one for each of its products, since their scales differ.
    """

    name: str
    product: str
    activation: str
    weights: str

    @property
    def constants(self) -> tuple[str, str]:
        """Names of the integers and of their scale."""
        prefix = f"{self.name} of {self.product}"
        return (f"{prefix} integers", f"{prefix} scales")

    def numbers(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the integers and their scale [channels], by name, for the float bias and scales in `values`."""
        scale = (values[self.activation] * values[self.weights]).astype(np.float32)
        limit = 2**31 - 1
        exact = values[self.name].astype(np.float64) / scale
        integers = np.clip(np.round(exact), -limit, limit).astype(np.int32)
        return dict(zip(self.constants, (integers, scale), strict=True))


def integer_biases(model: onnx.ModelProto) -> tuple[Bias, ...]:
    """Store the biases of some quantized layers as int32 in place; `Bias.numbers` computes them for a network.

    Those of Gemm nodes, since ONNX Runtime uses its integer kernel (QGemm) only with such a bias. Those of convolutions that
    may read integers with a zero point other than 0, since OpenVINO then adds bias and zero point in one step with the
    rounding of the result; it adds a bias in float before. ONNX Runtime rounds all biases of convolutions so by itself.
    """
    graph = model.graph
    stored = {t.name: t for t in graph.initializer}
    producer = {o: n for n in graph.node for o in n.output}
    biases = []
    for node in list(graph.node):
        if node.op_type not in ("Gemm", "Conv") or len(node.input) < 3 or node.input[2] not in stored:
            continue
        x, w = (producer.get(name) for name in node.input[:2])
        if x is None or w is None or {x.op_type, w.op_type} != {"DequantizeLinear"}:
            continue
        if node.op_type == "Conv" and _is_nonnegative(node.input[0], producer, stored):
            continue
        bias = Bias(node.input[2], node.output[0], x.input[1], w.input[1])
        biases.append(bias)
        channels = numpy_helper.to_array(stored[bias.name]).shape
        for name, kind in zip(bias.constants, (np.int32, np.float32), strict=True):
            graph.initializer.append(numpy_helper.from_array(np.zeros(channels, kind), name))
        result = f"{bias.name} of {bias.product} dequantized"
        position = list(graph.node).index(node)
        graph.node.insert(position, helper.make_node("DequantizeLinear", bias.constants, [result], axis=0))
        node.input[2] = result
    return tuple(biases)


def _is_nonnegative(
    value: str, producer: Mapping[str, onnx.NodeProto], stored: Mapping[str, onnx.TensorProto]
) -> bool:
    """Return whether no number of a value can be negative, as behind a ReLU: its zero point is 0 for every network."""
    pending, seen = [value], set[str]()
    while pending:
        name = pending.pop()
        node = producer.get(name)
        if node is None:
            return False
        if node.op_type in SIGN_PRESERVING:
            read = node.input[:1] if node.op_type in ("QuantizeLinear", "DequantizeLinear") else node.input
            pending += [i for i in read if i not in seen]
            seen.update(read)
        elif node.op_type == "Clip":
            low = stored.get(node.input[1])
            if low is None or float(numpy_helper.to_array(low)) < 0:
                return False
        elif node.op_type not in NONNEGATIVE:
            return False
    return True
