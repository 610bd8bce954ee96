"""Weights of an ONNX file as integers that become floats when the file is loaded: smaller, and as fast as before."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fairpress.compression.errors import VerificationError
from fairpress.runtime.onnx.weight_packing import pack_weights


def store_integers(
    model: onnx.ModelProto, name: str, integers: np.ndarray, scales: np.ndarray, bits: int
) -> None:
    """Replace a float initializer [channels, …] by integers and a scale per channel, in place.

    Operators on constants (Cast, Mul), which runtimes fold when they load the file, compute the weight under its old name.

    Parameters
    ----------
    integers
        Of the weight's shape, within the limits of `bits`: 8, 4, 3 or 2.
    scales
        [channels] float32, or of a shape that is spread over the weight's.

    Raises
    ------
    VerificationError
        The file has no such weight.
    """
    graph = model.graph
    stored = next((t for t in graph.initializer if t.name == name), None)
    if stored is None or tuple(stored.dims) != integers.shape:
        raise VerificationError(f"the exported file has no weight {name!r} of shape {integers.shape}.")
    graph.initializer.remove(stored)
    codes, steps, floats = (f"{name} {kind}" for kind in ("integers", "scales", "floats"))
    columns = scales.astype(np.float32)
    if columns.ndim == 1:
        columns = columns.reshape(-1, *[1] * (integers.ndim - 1))
    graph.initializer.extend(
        [numpy_helper.from_array(integers.astype(np.int8), codes), numpy_helper.from_array(columns, steps)]
    )
    for node in (
        helper.make_node("Mul", [floats, steps], [name]),
        helper.make_node("Cast", [codes], [floats], to=TensorProto.FLOAT),
    ):
        graph.node.insert(0, node)
    pack_weights(model, {codes: bits})
