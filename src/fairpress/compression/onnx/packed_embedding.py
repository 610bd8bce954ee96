"""Embedding tables of an ONNX file as integers of 8 or 4 bits: only the rows of the tokens at hand become floats.

A table that is dequantized before it is looked up would be a table of floats in memory. The operators are those of opset
13, so that ONNX Runtime and OpenVINO read the file. Nibbles are told apart in float arithmetic, which is exact: OpenVINO
2026.4 rounds the result of BitShift instead of dropping bits.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fairpress.compression.errors import VerificationError
from fairpress.runtime.onnx.embedding_table import lookup_axis

MIDDLE = 8  # q + 8 of an integer of 4 bits is stored


def look_up_integers(
    model: onnx.ModelProto, name: str, integers: np.ndarray, scales: np.ndarray, bits: int
) -> None:
    """Store a float table [rows, width] as integers, and scale those of the rows that are looked up, in place.

    Parameters
    ----------
    integers
        [rows, width], within ±127 at 8 bits and −8 … 7 at 4.
    scales
        [rows, blocks] of as many values each, float16 or float32, stored as they are; `blocks` divides the width.
    bits
        8, or 4: two in a byte, which stay packed in memory.

    Raises
    ------
    VerificationError
        The file has no such table, or something other than a lookup of rows reads it.
    """
    graph = model.graph
    stored = next((t for t in graph.initializer if t.name == name), None)
    if stored is None or tuple(stored.dims) != integers.shape:
        raise VerificationError(f"the exported file has no table {name!r} of shape {integers.shape}.")
    readers = [n for n in graph.node if name in n.input]
    if not readers or not all(_looks_up_rows(n, name) for n in readers):
        raise VerificationError(f"the table {name!r} has a reader other than a lookup of its rows.")
    width, blocks = integers.shape[1], scales.shape[1]
    q = integers if blocks == 1 else integers.reshape(len(integers), blocks, width // blocks)
    constants = {
        f"{name} integers": q.astype(np.int8) if bits == 8 else packed_nibbles(q),
        f"{name} scales": scales if blocks == 1 else scales[:, :, None],
    }
    if bits == 4:
        constants |= {
            f"{name} sixteen": np.array(16, np.float32),
            f"{name} sixteenth": np.array(1 / 16, np.float32),
            f"{name} middle": np.array(MIDDLE, np.float32),
        }
    if blocks > 1:
        constants[f"{name} width"] = np.array([width])
    graph.initializer.remove(stored)
    graph.initializer.extend(numpy_helper.from_array(value, key) for key, value in constants.items())
    for node in readers:
        position = list(graph.node).index(node)
        graph.node.remove(node)
        for new in reversed(_row_nodes(name, node.input[1], node.output[0], bits, scales)):
            graph.node.insert(position, new)


def packed_nibbles(integers: np.ndarray) -> np.ndarray:
    """Return integers −8 … 7 of an even last axis, two in a byte: the first half of the axis in the lower bits."""
    stored = (integers + MIDDLE).astype(np.uint8)
    first, second = np.split(stored, 2, axis=-1)
    packed: np.ndarray = first | second << 4
    return packed


def _row_nodes(name: str, ids: str, result: str, bits: int, scales: np.ndarray) -> list[onnx.NodeProto]:
    """Return nodes that compute the rows `ids` […] of a table."""
    node, at, blocks = helper.make_node, f"{result} {{}}".format, scales.shape[1]
    half = scales.dtype == np.float16
    nodes = [node("Gather", [f"{name} integers", ids], [at("rows")], axis=0)]
    if bits == 4:
        nodes += [
            node("Cast", [at("rows")], [at("bytes")], to=TensorProto.FLOAT),
            node("Mul", [at("bytes"), f"{name} sixteenth"], [at("quotients")]),
            node("Floor", [at("quotients")], [at("second")]),
            node("Mul", [at("second"), f"{name} sixteen"], [at("high")]),
            node("Sub", [at("bytes"), at("high")], [at("first")]),
            node("Concat", [at("first"), at("second")], [at("shifted")], axis=-1),
            node("Sub", [at("shifted"), f"{name} middle"], [at("floats")]),
        ]
    else:
        nodes.append(node("Cast", [at("rows")], [at("floats")], to=TensorProto.FLOAT))
    nodes.append(node("Gather", [f"{name} scales", ids], [at("half steps" if half else "steps")], axis=0))
    if half:
        nodes.append(node("Cast", [at("half steps")], [at("steps")], to=TensorProto.FLOAT))
    nodes += [
        node("Mul", [at("floats"), at("steps")], [result if blocks == 1 else at("blocks")]),
    ]
    if blocks > 1:
        nodes += [
            node("Shape", [ids], [at("shape of ids")]),
            node("Concat", [at("shape of ids"), f"{name} width"], [at("shape")], axis=0),
            node("Reshape", [at("blocks"), at("shape")], [result]),
        ]
    return nodes


def _looks_up_rows(node: onnx.NodeProto, name: str) -> bool:
    table_alone = node.input[0] == name and name not in node.input[1:]
    return node.op_type == "Gather" and table_alone and lookup_axis(node) == 0
