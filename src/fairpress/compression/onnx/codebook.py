"""Weights in an ONNX file as packed indices into a few values, looked up when the file is loaded."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fairpress.compression.errors import VerificationError
from fairpress.compression.verification.checks import optimized_graph
from fairpress.runtime.onnx.weight_packing import FORMATS, pack_bits


def index_bits(clusters: int) -> int:
    """Return the bits that an index into `clusters` values takes in a file: 2, 4 or 8."""
    return 2 if clusters <= 4 else 4 if clusters <= 16 else 8


def look_up_weights(model: onnx.ModelProto, name: str, values: np.ndarray, index: np.ndarray) -> int:
    """Store a float initializer as indices and values, in place, and return the bit width of an index.

    At 2 and 4 bits runtimes read signed types only, and Gather counts negative indices from the end: index i of 2^b is
    stored as i − 2^b from the middle on, and the values are padded to 2^b.

    Raises
    ------
    VerificationError
        The file has no such weight.
    """
    bits = index_bits(len(values))
    table_size = 2**bits
    graph = model.graph
    stored = next((t for t in graph.initializer if t.name == name), None)
    if stored is None or tuple(stored.dims) != index.shape:
        raise VerificationError(f"the exported file has no weight {name!r} of shape {index.shape}.")
    table = values.astype(np.float32)
    graph.initializer.remove(stored)
    if bits == 8:
        indices = numpy_helper.from_array(index.astype(np.uint8), f"{name} indices")
    else:
        signed = np.where(index >= table_size // 2, index - table_size, index).astype(np.int8)
        table = np.concatenate([table, np.full(table_size - len(table), table[-1])])
        kind, opset, ir = FORMATS[bits]
        indices = onnx.TensorProto(
            name=f"{name} indices", data_type=kind, dims=index.shape, raw_data=pack_bits(signed, bits)
        )
        model.opset_import[0].version = max(model.opset_import[0].version, opset)
        model.ir_version = max(model.ir_version, ir)
    graph.initializer.extend([indices, numpy_helper.from_array(table, f"{name} values")])
    wide_indices = f"{name} wide"
    for node in (
        helper.make_node("Gather", [f"{name} values", wide_indices], [name], axis=0),
        helper.make_node("Cast", [indices.name], [wide_indices], to=TensorProto.INT32),
    ):
        graph.node.insert(0, node)
    return bits


def lookup_nodes(data: bytes, expected: int) -> None:
    """Check that a file looks up the expected number of weights, and that ONNX Runtime does so once, at load time.

    Raises
    ------
    VerificationError
        The number differs, or a lookup is repeated in every run.
    """

    def count(model: onnx.ModelProto) -> int:
        stored = {
            t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT and len(t.dims) == 1
        }
        return sum(n.op_type == "Gather" and n.input[0] in stored for n in model.graph.node)

    lookups, remaining = count(onnx.load_from_string(data)), count(optimized_graph(data))
    if lookups != expected or remaining:
        raise VerificationError(
            f"expected {expected} layers with looked-up weights, found {lookups}, {remaining} of them looked up in "
            "every run."
        )
