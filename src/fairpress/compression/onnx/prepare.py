"""Convert an external ONNX file to the form that ONNX Runtime's quantizer reads.

The quantizer needs opset 13, and finds weights among the initializers only.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fairpress.core.errors import UserError

if TYPE_CHECKING:
    import onnx

MIN_OPSET, MIN_IR_VERSION = 13, 8
MAX_BYTES = 2**31 - 2**24  # limit of a protobuf message, less a margin for what is added
LAYERS = ("Conv", "MatMul", "Gemm")
QUANTIZED = frozenset(
    {
        "QuantizeLinear",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "MatMulNBits",
        "MatMulInteger",
        "ConvInteger",
        "QLinearMatMul",
        "QLinearConv",
        "QGemm",
        "DynamicQuantizeMatMul",
        "MatMulIntegerToFloat",
        "GatherBlockQuantized",
        "MatMulBnb4",
    }
)


def prepare_file(path: Path) -> onnx.ModelProto:
    """Return the model with its weights inside: functions inlined, constants as initializers, opset 13 or later.

    Raises
    ------
    UserError
        The file is already quantized, above 2 GiB, of an opset that cannot be converted, or its weights are not float32.
    """
    import onnx
    from onnx import inliner

    try:
        model = onnx.load(path)
    except Exception as error:
        raise UserError(
            f"cannot read {path} ({str(error).splitlines()[0][:200]}); export it again."
        ) from None
    if model.ByteSize() > MAX_BYTES:
        raise UserError(
            f"{path} has {model.ByteSize():,} bytes; ONNX files above 2 GiB are not supported: compress the network it was "
            "exported from."
        )
    if model.functions:
        model = inliner.inline_local_functions(model)
    _refuse_quantized(model, path)
    stored = {t.name for t in model.graph.initializer}
    # Up to version 3 of the format, weights are listed among the inputs.
    inputs = [v for v in model.graph.input if v.name not in stored]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, MIN_IR_VERSION)
    model = _converted(model, path)
    _store_constants(model.graph)
    _refuse_other_floats(model.graph, path)
    return model


def weighted_nodes(graph: onnx.GraphProto, kinds: tuple[str, ...]) -> list[onnx.NodeProto]:
    """Return the layers of these kinds that have stored weights."""
    stored = {t.name for t in graph.initializer}
    return [n for n in graph.node if n.op_type in kinds and set(n.input[1:2]) & stored]


def _refuse_quantized(model: onnx.ModelProto, path: Path) -> None:
    operators = sorted(QUANTIZED & {n.op_type for n in model.graph.node})
    if operators:
        raise UserError(
            f"{path} is already quantized ({', '.join(operators)}); compress the float file it was made from."
        )


def _converted(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    from onnx import version_converter

    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), MIN_OPSET)
    if opset >= MIN_OPSET:
        return model
    try:
        converted: onnx.ModelProto = version_converter.convert_version(model, MIN_OPSET)
    except Exception as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{path} has opset {opset} and cannot be converted to {MIN_OPSET}, which quantized files need "
            f"({first[:160]}); export it with opset {MIN_OPSET} or later."
        ) from None
    converted.ir_version = max(converted.ir_version, MIN_IR_VERSION)
    return converted


def _store_constants(graph: onnx.GraphProto) -> None:
    """Turn constants, and copies and transposes of stored weights, into stored weights, in place."""
    from onnx import numpy_helper

    values = {t.name: t for t in graph.initializer}
    outputs = {o.name for o in graph.output}
    remaining = []
    for node in graph.node:
        array = None
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx") and len(node.attribute) == 1:
            array = _constant(node.attribute[0])
        elif node.op_type in ("Identity", "Transpose") and node.input[0] in values:
            array = numpy_helper.to_array(values[node.input[0]])
            if node.op_type == "Transpose":
                order = next((list(a.ints) for a in node.attribute if a.name == "perm"), None)
                array = np.ascontiguousarray(array.transpose(order))
        if array is None or node.output[0] in outputs:
            remaining.append(node)
            continue
        tensor = numpy_helper.from_array(array, node.output[0])
        graph.initializer.append(tensor)
        values[tensor.name] = tensor
    del graph.node[:]
    graph.node.extend(remaining)
    _drop_unread(graph)


def _constant(attribute: onnx.AttributeProto) -> np.ndarray | None:
    from onnx import numpy_helper

    if attribute.name == "value":
        return np.asarray(numpy_helper.to_array(attribute.t))
    if attribute.name in ("value_float", "value_int"):
        return np.array(attribute.f, np.float32) if attribute.name == "value_float" else np.array(attribute.i)
    if attribute.name in ("value_floats", "value_ints"):
        floats = attribute.name == "value_floats"
        return (
            np.array(list(attribute.floats), np.float32)
            if floats
            else np.array(list(attribute.ints), np.int64)
        )
    return None


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Remove stored weights without a reader, so that a transposed weight is not stored twice."""
    read = _names_read(graph) | {o.name for o in graph.output}
    used = [t for t in graph.initializer if t.name in read]
    del graph.initializer[:]
    graph.initializer.extend(used)


def _names_read(graph: onnx.GraphProto) -> set[str]:
    names: set[str] = set()
    for node in graph.node:
        names |= set(node.input)
        for attribute in node.attribute:
            for subgraph in [attribute.g, *attribute.graphs]:
                if subgraph.node:
                    names |= _names_read(subgraph) | {o.name for o in subgraph.output}
    return names


def _refuse_other_floats(graph: onnx.GraphProto, path: Path) -> None:
    from onnx import TensorProto

    types = {t.name: t.data_type for t in graph.initializer}
    type_counts = Counter(types[n.input[1]] for n in weighted_nodes(graph, LAYERS))
    if type_counts and TensorProto.FLOAT not in type_counts:
        name = TensorProto.DataType.Name(type_counts.most_common(1)[0][0]).lower()
        raise UserError(
            f"the weights of {path} are {name}, and ONNX Runtime's quantizer takes float32; export the model in float32."
        )
