"""Equivalent forms of a network for runtimes that cannot read the original file; results do not change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairpress.runtime.onnx.load import parse_model

if TYPE_CHECKING:
    import onnx


def widen_two_bits(data: bytes) -> bytes:
    """Return the network with 2-bit constants as 8-bit ones; files without any are returned unchanged.

    OpenVINO 2026.4 reads INT4 and refuses INT2 ("Unsupported data type INT2").
    """
    import numpy as np
    from onnx import TensorProto, numpy_helper

    wide = {
        getattr(TensorProto, name, -1): (dtype, kind)  # since onnx 1.20
        for name, dtype, kind in (
            ("INT2", np.int8, TensorProto.INT8),
            ("UINT2", np.uint8, TensorProto.UINT8),
        )
    }
    model = parse_model(data)
    kinds: dict[str, int] = {}
    for tensor in model.graph.initializer:
        if tensor.data_type in wide:
            dtype, kind = wide[tensor.data_type]
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(dtype), tensor.name))
            kinds[tensor.name] = kind
    if not kinds:
        return data
    # A cast that has become the identity would hide the weights from the fusion of integer kernels.
    alias: dict[str, str] = {}
    for node in list(model.graph.node):
        if node.op_type == "Cast" and kinds.get(node.input[0]) == node.attribute[0].i:
            alias[node.output[0]] = node.input[0]
            model.graph.node.remove(node)
    _rewire(model, alias)
    return bytes(model.SerializeToString())


def separate_constants(data: bytes) -> bytes:
    """Return the network in which every quantizer, dequantizer and integer product has its own constants.

    ONNX Runtime 1.32 turns signed 8-bit constants into unsigned ones for its exact kernels and fails where two nodes
    share one ("Attempt to replace the existing tensor").
    """
    import onnx

    model = parse_model(data)
    stored = {t.name: t for t in model.graph.initializer}
    used: set[str] = set()
    for node in model.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear", "MatMulInteger"):
            continue
        for i, name in enumerate(node.input):
            if name in stored and name in used:
                copy = onnx.TensorProto()
                copy.CopyFrom(stored[name])
                copy.name = f"{name}/{len(model.graph.initializer)}"
                model.graph.initializer.append(copy)
                node.input[i] = copy.name
            used.add(name)
    return bytes(model.SerializeToString())


def _rewire(model: onnx.ModelProto, alias: dict[str, str]) -> None:
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            if name in alias:
                node.input[i] = alias[name]
