"""Weights of external ONNX files that ONNX Runtime's quantizers leave in float: stored as integers, and named. No torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from fairpress.compression.onnx.stored_integers import store_integers

# Operators without an integer kernel in ONNX Runtime → the inputs that are weights. The last axis shares a scale for
# recurrent ones [directions, channels, inputs]; otherwise all axes but the first.
RECURRENT = {"LSTM": (1, 2), "GRU": (1, 2), "RNN": (1, 2)}
WEIGHTED = {**RECURRENT, "ConvTranspose": (1,), "Einsum": (0, 1)}
MIN_SHARE = 0.05  # of the file's weights, from which on floats that remain are named


def store_remaining(content: bytes, bits: int, keep: Collection[str]) -> tuple[bytes, dict[str, Any]]:
    """Return the file with the weights of recurrent layers, transposed convolutions and Einsum as integers, and facts.

    Runtimes make floats of them when they load the file, and multiply floats. Nodes named in `keep` stay as they are.

    Returns
    -------
    The file's bytes, and for the report the number of weights that were stored so (``computed_in_float``) and notes.
    """
    model = onnx.load_from_string(content)
    graph = model.graph
    stored = {t.name: t for t in graph.initializer}
    sizes = {name: int(np.prod(t.dims)) for name, t in stored.items() if len(t.dims) >= 2}
    axes: dict[str, bool] = {}  # weight → whether a recurrent operator reads it
    kept: set[str] = set()
    kinds: dict[str, None] = {}
    for node in graph.node:
        for position in WEIGHTED.get(node.op_type, ()):
            name = node.input[position] if position < len(node.input) else ""
            if name in stored and stored[name].data_type == TensorProto.FLOAT and len(stored[name].dims) >= 2:
                axes[name] = node.op_type in RECURRENT
                kinds[node.op_type] = None
                kept.update([name] if node.name in keep else [])
    count = 0
    for name in axes.keys() - kept:
        values = numpy_helper.to_array(stored[name])
        shared = (-1,) if axes[name] else tuple(range(1, values.ndim))
        top = 2 ** (bits - 1) - 1
        largest = np.abs(values).max(shared, keepdims=True)
        scales = (np.where(largest == 0, 1, largest) / top).astype(np.float32)
        integers = np.clip(np.round(values / scales), -top, top)
        store_integers(model, name, integers, scales, bits)
        count += values.size
    notes = _floats_that_remain(graph, sizes)
    if not count:
        return content, {"notes": notes} if notes else {}
    del graph.value_info[:]
    operators = " and ".join(kinds)
    notes.insert(
        0,
        f"the weights of {operators} are stored as integers and multiplied as floats, since ONNX Runtime's quantizer has no "
        "integer kernel for them: they take fewer bytes, and no less time",
    )
    return bytes(model.SerializeToString(deterministic=True)), {"computed_in_float": count, "notes": notes}


def _floats_that_remain(graph: onnx.GraphProto, sizes: Mapping[str, int]) -> list[str]:
    """Return a sentence on the operators that read float weights, if these are no small share of weights of these sizes."""
    floats = {t.name for t in graph.initializer if t.data_type == TensorProto.FLOAT and t.name in sizes}
    readers: dict[str, int] = {}
    for node in graph.node:
        if node.op_type in ("Mul", "DequantizeLinear", "QuantizeLinear", "MatMulNBits"):
            continue  # they read scales
        for name in floats & set(node.input):
            readers[f"{node.name or node.op_type!s} ({node.op_type})"] = sizes[name]
    share = sum(readers.values()) / max(sum(sizes.values()), 1)
    if share < MIN_SHARE:
        return []
    largest = sorted(readers, key=lambda reader: -readers[reader])
    more = f" and {len(largest) - 5} more" if len(largest) > 5 else ""
    return [f"{share:.1%} of the file's weights stay in float, in {', '.join(largest[:5])}{more}"]
