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
