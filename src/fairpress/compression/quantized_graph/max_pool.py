"""A maximum of rounded numbers is rounded already: max-pools run on integers, and nothing is rounded twice.

Every value that max-pooling gives is one of those it read. Where these lie on a grid of integers, the result lies on the
same one, so `quantizer` marks no second rounding after it, and in the file scale and zero point before the pool are
written behind it as well: with two different grids, runtimes pool floats, between two conversions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx import helper

from fairpress.models.tracing import aten

if TYPE_CHECKING:
    import onnx

MAX_POOLS = (aten.max_pool2d.default,)
RESHAPES = (aten.flatten.using_ints,)
GRID_PRESERVING = ("MaxPool", "Flatten", "Reshape")


def on_grid(node: Any) -> bool:
    """Tell whether a value of a graph is a maximum of rounded ones, or such a maximum in another shape."""
    if node.target in MAX_POOLS:  # of pixels that are integers already, nothing was rounded
        return bool(node.meta["val"].dim() == 4 and node.meta["val"].is_floating_point())
    return node.target in RESHAPES and on_grid(node.args[0])


def pass_grids_on(model: onnx.ModelProto) -> None:
    """Quantize and dequantize what a max-pool makes of dequantized values by their own scale and zero point, in place."""
    graph = model.graph
    producer = {output: node for node in graph.node for output in node.output}
    integer_results: set[str] = set()  # what comes from a max-pool that reads integers
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
