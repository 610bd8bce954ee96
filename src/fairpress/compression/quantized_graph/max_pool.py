"""Run pools, and reshapes after them, on integers: those of maxima with the grid of their input.

Every output of a max-pool is one of its inputs, so it lies on the same grid of integers. `pt2e_quantizer` therefore marks no
second quantization after it, and in the file the pool's output has the scale and zero point of its input: with two
different grids, runtimes pool in float between two conversions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx import helper

from fairpress.models.tracing import aten

if TYPE_CHECKING:
    import onnx

MAX_POOLS = (aten.max_pool2d.default,)
RESHAPES = (aten.flatten.using_ints,)
RESHAPED = ("Flatten", "Reshape")
GRID_PRESERVING = ("MaxPool", *RESHAPED)
MEANS = ("GlobalAveragePool", "AveragePool", "ReduceMean")


def on_grid(node: Any) -> bool:
    """Return whether a value of a graph is a maximum of quantized values, possibly reshaped."""
    if node.target in MAX_POOLS:  # uint8 pixels are not quantized
        return bool(node.meta["val"].dim() == 4 and node.meta["val"].is_floating_point())
    return node.target in RESHAPES and on_grid(node.args[0])


def pass_grids_on(model: onnx.ModelProto) -> None:
    """Quantize the output of max-pools on dequantized values with the scale and zero point of the input, in place."""
    graph = model.graph
    producer = {output: node for node in graph.node for output in node.output}
    integer_results: set[str] = set()  # outputs of max-pools that read integers
    for node in list(graph.node):
        source = producer.get(node.input[0]) if node.op_type in GRID_PRESERVING else None
        if source is None or source.op_type != "DequantizeLinear":
            continue
        if node.op_type != "MaxPool" and source.output[0] not in integer_results:
            continue
        result, pooled = node.output[0], f"{node.output[0]} passed on"
        node.output[0] = pooled
        integers = f"{pooled} integers"
        position = list(graph.node).index(node) + 1
        for new in (
            helper.make_node("DequantizeLinear", [integers, *source.input[1:]], [result]),
            helper.make_node("QuantizeLinear", [pooled, *source.input[1:]], [integers]),
        ):
            graph.node.insert(position, new)
            producer |= dict.fromkeys(new.output, new)
        integer_results.add(result)


def quantize_before_reshapes(model: onnx.ModelProto) -> None:
    """Quantize a mean before it is reshaped for a layer, not only afterwards, in place.

    Both are the same numbers. But where the reshape comes first, runtimes compute the mean and its reshape in float, and
    OpenVINO adds a conversion of its own.
    """
    graph = model.graph
    producer = {output: node for node in graph.node for output in node.output}
    for quantize in [n for n in graph.node if n.op_type == "QuantizeLinear"]:
        reshape = producer.get(quantize.input[0])
        if reshape is None or reshape.op_type not in RESHAPED:
            continue
        mean = producer.get(reshape.input[0])
        readers = [n for n in graph.node if reshape.output[0] in n.input]
        if mean is None or mean.op_type not in MEANS or len(readers) > 1:
            continue
        value = reshape.input[0]
        integers, rounded = (
            f"{value} before {reshape.output[0]} integers",
            f"{value} before {reshape.output[0]}",
        )
        reshape.input[0] = rounded
        position = list(graph.node).index(reshape)
        for new in (
            helper.make_node("DequantizeLinear", [integers, *quantize.input[1:]], [rounded]),
            helper.make_node("QuantizeLinear", [value, *quantize.input[1:]], [integers]),
        ):
            graph.node.insert(position, new)
