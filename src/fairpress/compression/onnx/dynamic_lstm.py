"""LSTM layers of an ONNX file on ONNX Runtime's integer kernel, DynamicQuantizeLSTM.

It multiplies 8-bit weights by inputs and states that are rounded when the file runs. There is no such kernel for GRU and
for plain recurrent layers, and no other runtime reads the operator.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from fairpress.compression.errors import VerificationError
from fairpress.runtime.onnx.unread import drop_unread

KERNEL, DOMAIN = "DynamicQuantizeLSTM", "com.microsoft"


def use_integer_lstm(
    model: onnx.ModelProto, integers: Mapping[str, np.ndarray], scales: Mapping[str, np.ndarray]
) -> tuple[int, list[str]]:
    """Replace LSTM operators whose weights are computed from these ones, in place.

    Parameters
    ----------
    integers, scales
        Name of an initializer [channels, …] → its integers, within ±127, and its scales [channels].

    Returns
    -------
    The number of operators replaced, and the names of the initializers that they read.
    """
    graph = model.graph
    count, names = 0, list[str]()
    for node in [n for n in graph.node if n.op_type == "LSTM"]:
        read = _sources(graph, node.input[1:3])
        if not read or not read <= set(integers):
            continue
        codes = _evaluate(model, node.input[1:3], {n: integers[n].astype(np.float32) for n in read})
        steps = _evaluate(model, node.input[1:3], {n: _spread(scales[n], integers[n].shape) for n in read})
        inputs = [*node.input[:8], *[""] * (8 - len(node.input))]
        for position, (code, step) in enumerate(zip(codes, steps, strict=True), 1):
            kind = f"{node.output[0] or node.output[1] or node.output[2]} {'WR'[position - 1]}"
            constants = {
                f"{kind} integers": np.ascontiguousarray(code.round().astype(np.int8).transpose(0, 2, 1)),
                f"{kind} scales": np.ascontiguousarray(step[:, :, 0]),
                f"{kind} zeros": np.zeros(step.shape[:2], np.int8),
            }
            graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in constants.items())
            inputs[position] = f"{kind} integers"
            inputs += [f"{kind} scales", f"{kind} zeros"]
        new = helper.make_node(KERNEL, inputs, list(node.output), domain=DOMAIN)
        new.attribute.extend(a for a in node.attribute if a.name != "layout")
        position = list(graph.node).index(node)
        graph.node.remove(node)
        graph.node.insert(position, new)
        count, names = count + 1, [*names, *sorted(read)]
    if count:
        if DOMAIN not in {entry.domain for entry in model.opset_import}:
            model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
        drop_unread(graph)
    return count, names


def _spread(scales: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    columns = scales.reshape(-1, *[1] * (len(shape) - 1)).astype(np.float32)
    return np.ascontiguousarray(np.broadcast_to(columns, shape))


def _sources(graph: onnx.GraphProto, names: Iterable[str]) -> set[str]:
    """Return the float initializers of two axes or more from which values are computed; empty if an input is among them."""
    maker = {o: n for n in graph.node for o in n.output}
    stored = {t.name: t for t in graph.initializer}
    pending, seen, sources = list(names), set[str](), set[str]()
    while pending:
        name = pending.pop()
        if name in seen or not name:
            continue
        seen.add(name)
        if name in stored:
            if len(stored[name].dims) >= 2:
                sources.add(name)
        elif name in maker:
            pending += maker[name].input
        else:
            return set()
    return sources


def _evaluate(
    model: onnx.ModelProto, names: Iterable[str], values: Mapping[str, np.ndarray]
) -> list[np.ndarray]:
    """Return values that a graph computes from constants, some of them replaced."""
    requested = list(names)
    part = onnx.ModelProto()
    part.CopyFrom(model)
    graph = part.graph
    del graph.input[:], graph.output[:], graph.value_info[:]
    graph.output.extend(helper.make_empty_tensor_value_info(name) for name in requested)
    drop_unread(graph)
    for tensor in graph.initializer:
        if tensor.name in values:
            tensor.CopyFrom(numpy_helper.from_array(values[tensor.name], tensor.name))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        part.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    results: list[np.ndarray] = session.run(requested, {})
    if any(value.ndim != 3 for value in results):
        raise VerificationError(
            "an LSTM's weights in the exported file are not [directions, channels, inputs]."
        )
    return results
