"""Which weights of a file may have their zero points in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def separate_zero_points(graph: onnx.GraphProto) -> None:
    """Give weights of another rank, or with scales along another axis, zero points of their own, in place.

    OpenVINO reshapes zero points [channels] to the rank of the weight. Where a convolution and a linear layer share them, it
    dequantizes the weights of both when the batch size is fixed, and multiplies in float.
    """
    stored = {t.name: t for t in graph.initializer}
    first_inputs = {output: node.input[0] for node in graph.node if node.input for output in node.output}
    owners: dict[str, tuple[int, int]] = {}
    for node in graph.node:
        if node.op_type != "DequantizeLinear" or len(node.input) < 3 or node.input[2] not in stored:
            continue
        shared = stored[node.input[2]]
        source = node.input[0]
        while source in first_inputs:  # unpacking starts with the stored integers, and keeps their rank
            source = first_inputs[source]
        if source not in stored or not shared.dims:
            continue
        kind = (len(stored[source].dims), next((a.i for a in node.attribute if a.name == "axis"), 1))
        if owners.setdefault(shared.name, kind) == kind:
            continue
        name = f"{shared.name} of rank {kind[0]} along {kind[1]}"
        if name not in stored:
            stored[name] = graph.initializer.add()
            stored[name].CopyFrom(shared)
            stored[name].name = name
        node.input[2] = name
