"""Weights of 3 bits in an ONNX file, which has no such type: two bits of each as INT2, the third packed four per INT4.

Operators on constants, which runtimes fold when the file is loaded, join them again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

JOINING_BYTES = 260  # about what the nodes of one weight take in a file
TABLE, ROWS = "third bits", "table of third bits"  # names of the constant, and of its form [16, 4]


@dataclass(frozen=True)
class ThreeBitWeight:
    """Names of the INT2 constant, of the INT4 constant with the third bits, and of the joined INT8 value."""

    low: str
    high: str
    joined: str

    def values(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Return the integers −4 … 3 from the values of both constants."""
        bits = (high.astype(np.uint8).ravel()[:, None] >> np.arange(4, dtype=np.uint8)) & 1
        third = bits.ravel()[: low.size].reshape(low.shape)
        joined: np.ndarray = (low.astype(np.int8) + 4 * third.astype(np.int8) - 2).astype(np.int8)
        return joined


def split_three_bits(
    graph: onnx.GraphProto, low: str, joined: str, values: np.ndarray
) -> tuple[np.ndarray, list[onnx.NodeProto]]:
    """Return the two lower bits of integers −4 … 3 as integers −2 … 1, and the nodes that join them with the third.

    q = l + h, where l is stored under the name `low`, and h is −2 or 2. Four third bits are the index of a row of a table
    [16, 4] of h; negative indices count from its end, since INT4 is signed. The table and the third bits are added to the
    graph's constants.
    """
    codes = (values.astype(np.int16) + 4).astype(np.uint8)
    third = np.pad((codes >> 2).ravel(), (0, -codes.size % 4)).reshape(-1, 4)
    nibbles = np.bitwise_or.reduce(third << np.arange(4, dtype=np.uint8), axis=1)
    pairs = np.pad(nibbles, (0, len(nibbles) % 2)).reshape(-1, 2)
    high = f"{joined} high"
    packed = bytes((pairs[:, 0] | pairs[:, 1] << 4).astype(np.uint8).tobytes())
    stored = {t.name for t in graph.initializer}
    nodes = []
    if TABLE not in stored:
        table = 4 * ((np.arange(16)[:, None] >> np.arange(4)) & 1) - 2
        graph.initializer.append(numpy_helper.from_array(table.astype(np.int8).ravel(), TABLE))
        graph.initializer.append(numpy_helper.from_array(np.array([16, 4]), f"{ROWS} shape"))
        graph.node.insert(0, helper.make_node("Reshape", [TABLE, f"{ROWS} shape"], [ROWS]))
    graph.initializer.extend(
        [
            onnx.TensorProto(name=high, data_type=TensorProto.INT4, dims=[len(nibbles)], raw_data=packed),
            numpy_helper.from_array(np.array(values.shape), f"{joined} shape"),
        ]
    )
    rows, flat = f"{joined} rows", f"{joined} flat"
    nodes = [
        helper.make_node("Cast", [high], [f"{joined} index"], to=TensorProto.INT32),
        helper.make_node("Gather", [ROWS, f"{joined} index"], [rows], axis=0),
    ]
    if codes.size % 4:
        nodes += _without_padding(graph, rows, flat, codes.size)
        rows = flat
    nodes += [
        helper.make_node("Reshape", [rows, f"{joined} shape"], [f"{joined} third"]),
        helper.make_node("Cast", [f"{joined} third"], [f"{joined} wide third"], to=TensorProto.INT32),
        helper.make_node("Cast", [low], [f"{joined} wide low"], to=TensorProto.INT32),
        helper.make_node("Add", [f"{joined} wide low", f"{joined} wide third"], [f"{joined} sum"]),
        helper.make_node("Cast", [f"{joined} sum"], [joined], to=TensorProto.INT8),
    ]
    return (codes & 3).astype(np.int8) - 2, nodes


def _without_padding(graph: onnx.GraphProto, rows: str, flat: str, size: int) -> list[onnx.NodeProto]:
    """Return nodes that take the first `size` values of a table's rows."""
    for name, value in ((f"{flat} axis", -1), (f"{flat} start", 0), (f"{flat} end", size)):
        graph.initializer.append(numpy_helper.from_array(np.array([value]), name))
    return [
        helper.make_node("Reshape", [rows, f"{flat} axis"], [f"{flat} padded"]),
        helper.make_node("Slice", [f"{flat} padded", f"{flat} start", f"{flat} end"], [flat]),
    ]


def three_bit_weights(graph: onnx.GraphProto) -> list[ThreeBitWeight]:
    """Return the weights that `split_three_bits` stored, by the form of the nodes, since names have been shortened."""
    producer = {o: n for n in graph.node for o in n.output}
    readers = {i: n for n in graph.node for i in n.input}
    kinds = {t.name: t.data_type for t in graph.initializer}
    two_bits = getattr(TensorProto, "INT2", None)  # since onnx 1.20
    out = []
    for node in graph.node:
        if node.op_type != "Add":
            continue
        low, high = (_constant(producer, i, kinds) for i in node.input)
        if kinds.get(low, 0) == two_bits and kinds.get(high) == TensorProto.INT4:
            out.append(ThreeBitWeight(low, high, readers[node.output[0]].output[0]))
    return out


def _constant(producer: dict[str, onnx.NodeProto], name: str, kinds: dict[str, int]) -> str:
    """Return the constant that a value is unpacked from."""
    while name in producer:
        node = producer[name]
        if node.op_type not in ("Cast", "Reshape", "Slice", "Gather"):
            return ""
        name = node.input[1 if node.op_type == "Gather" else 0]
    return name if name in kinds else ""
