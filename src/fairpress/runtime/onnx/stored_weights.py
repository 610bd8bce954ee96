"""How many weights an ONNX file stores at each bit width, and how many bytes they take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from onnx import TensorProto

from fairpress.runtime.onnx.embedding_table import embedding_tables
from fairpress.runtime.onnx.load import parse_model
from fairpress.runtime.onnx.three_bits import three_bit_weights

_BITS_BY_NAME = {
    "DOUBLE": 64,
    "FLOAT": 32,
    "FLOAT16": 16,
    "BFLOAT16": 16,
    "INT8": 8,
    "UINT8": 8,
    "INT4": 4,
    "UINT4": 4,
    "INT2": 2,  # the two of 2 bits since onnx 1.20
    "UINT2": 2,
}
_NUMBERS = dict(TensorProto.DataType.items())
BITS = {_NUMBERS[name]: bits for name, bits in _BITS_BY_NAME.items() if name in _NUMBERS}
# Operators whose weights may be packed into bytes, with the position of the weights; scales and zero points follow.
_PACKED = {"MatMulNBits": 1, "GatherBlockQuantized": 0}


@dataclass(frozen=True)
class StoredWeights:
    """Weights of one bit width.

    Attributes
    ----------
    bits
        Bits of a weight.
    embedding
        Whether they are those of a table in which token ids are looked up.
    weights
        Number of weights.
    bytes
        Bytes that they take, without scales.
    """

    bits: int
    embedding: bool
    weights: int
    bytes: int


def stored_weights(data: bytes) -> list[StoredWeights]:
    """Return the weights of a file by bit width, embedding tables apart, first the most bytes.

    Weights are stored tensors of two dimensions or more that are not scales or zero points of others; what remains of a
    file is its nodes, scales, biases and other vectors.
    """
    graph = parse_model(data).graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    packed, scales = packed_bits(graph), scales_of(graph) | _scales_of_rows(graph, stored)
    inputs = [value.name for value in graph.input if value.name not in stored]
    tables = set(embedding_tables(graph, inputs[0])) if inputs else set()
    three_bits = {part.low: part.high for part in three_bit_weights(graph)}
    third = set(three_bits.values())
    totals: dict[tuple[int, bool], tuple[int, int]] = {}
    for name, tensor in stored.items():
        bits = BITS.get(tensor.data_type)
        if bits is None or len(tensor.dims) < 2 or name in scales or name in third:
            continue
        size = math.prod(tensor.dims) * bits
        if name in packed:
            bits = packed[name]
            count = size // bits
        elif name in three_bits:
            count, bits = size // bits, 3
            size += math.prod(stored[three_bits[name]].dims) * 4
        else:
            count = size // bits
        key = (bits, name in tables)
        weights, n_bytes = totals.get(key, (0, 0))
        totals[key] = (weights + count, n_bytes + -(-size // 8))
    groups = [StoredWeights(*key, *total) for key, total in totals.items()]
    return sorted(groups, key=lambda g: (-g.bytes, g.bits, g.embedding))


def _scales_of_rows(graph: onnx.GraphProto, stored: Mapping[str, onnx.TensorProto]) -> set[str]:
    """Return the tables of floats [rows, …, 1] that are looked up at the ids of a table of integers: its scales."""
    lookups = [(n.input[0], n.input[1]) for n in graph.node if n.op_type == "Gather"]
    floats = {name for name, t in stored.items() if t.data_type in (TensorProto.FLOAT, TensorProto.FLOAT16)}
    ids_of_integers = {ids for table, ids in lookups if table not in floats}
    return {t for t, ids in lookups if t in floats and stored[t].dims[-1:] == [1] and ids in ids_of_integers}


def packed_bits(graph: onnx.GraphProto) -> dict[str, int]:
    """Return the bit width of weights that operators read from packed bytes."""
    out = {}
    stored = {t.name: t.data_type for t in graph.initializer}
    cast = {n.input[0] for n in graph.node if n.op_type == "Cast"}
    for node in graph.node:
        in_bytes = bool(node.input) and stored.get(node.input[0]) == TensorProto.UINT8
        if node.op_type == "Gather" and in_bytes and node.output[0] in cast:
            out[node.input[0]] = 4  # two in a byte, told apart after the lookup (`packed_embedding`)
        position = _PACKED.get(node.op_type)
        if position is None or stored.get(node.input[position]) != TensorProto.UINT8:
            continue
        out[node.input[position]] = next((int(a.i) for a in node.attribute if a.name == "bits"), 4)
    return out


def scales_of(graph: onnx.GraphProto) -> set[str]:
    """Return the stored tensors that operators read as scales, zero points or indices of other weights."""
    names: set[str] = set()
    source = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Cast"}
    for node in graph.node:
        if node.op_type == "DequantizeLinear":
            names.update(source.get(name, name) for name in node.input[1:])
        elif node.op_type in _PACKED:
            names.update(node.input[_PACKED[node.op_type] + 1 :])
    return names
