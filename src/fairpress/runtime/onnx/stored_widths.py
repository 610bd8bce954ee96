"""The bit widths at which an ONNX file stores its parameters: how many of them, and the bytes that they take."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import TensorProto

from fairpress.runtime.onnx.load import parse_model
from fairpress.runtime.onnx.stored_weights import BITS, packed_bits, scales_of
from fairpress.runtime.onnx.three_bits import three_bit_weights

INTEGERS = frozenset(number for number, bits in BITS.items() if bits <= 8)
# Operators that return a stored tensor in another type or shape.
_SAME = ("Cast", "Identity", "Unsqueeze", "Squeeze", "Reshape", "Transpose", "DequantizeLinear")


@dataclass(frozen=True)
class StoredWidth:
    """Parameters of one bit width.

    Attributes
    ----------
    bits
        Bits of a parameter; those of biases are 32, as floats or as integers.
    count, bytes
        How many there are, and what they take in the file.
    scale_bytes
        Bytes of the scales of integers, at 32 bits; 0 for other widths.
    """

    bits: int
    count: int
    bytes: int
    scale_bytes: int = 0


def stored_widths(data: bytes) -> list[StoredWidth]:
    """Return the parameters that a file stores by bit width, the widest first.

    Parameters are weights, tables, biases and factors. Scales, zero points, shapes and other constants are none.
    """
    graph = parse_model(data).graph
    packed, three = packed_bits(graph), {part.low: part.high for part in three_bit_weights(graph)}
    halves, scales = set(three.values()), scales_of(graph) | _factors(graph)
    counts: dict[int, int] = {}
    taken: dict[int, int] = {}
    of_scales = 0
    for tensor in graph.initializer:
        bits, numbers = BITS.get(tensor.data_type), math.prod(tensor.dims)
        if tensor.data_type == TensorProto.INT32 and len(tensor.dims) == 1:
            bits = 32  # a bias at the scale of its products
        integers = tensor.data_type in INTEGERS
        if bits is None or not tensor.dims or (integers and len(tensor.dims) < 2) or tensor.name in halves:
            continue
        if tensor.name in scales:
            of_scales += 0 if integers else numbers * bits // 8
            continue
        size = -(-numbers * bits // 8)
        if tensor.name in packed:
            numbers, bits = numbers * bits // packed[tensor.name], packed[tensor.name]
        elif tensor.name in three:
            high = next(t for t in graph.initializer if t.name == three[tensor.name])
            size, bits = size + -(-math.prod(high.dims) * BITS[high.data_type] // 8), 3
        counts[bits] = counts.get(bits, 0) + numbers
        taken[bits] = taken.get(bits, 0) + size
    if of_scales:
        counts.setdefault(32, 0)
    return [
        StoredWidth(bits, counts[bits], taken.get(bits, 0), of_scales if bits == 32 else 0)
        for bits in sorted(counts, reverse=True)
    ]


def shares(widths: Iterable[StoredWidth]) -> dict[str, dict[str, Any]]:
    """Return bit width → its number and share of the parameters, and its share of their bytes, for a card.

    Scales count as bytes of 32 bits.
    """
    groups = list(widths)
    count = sum(g.count for g in groups)
    size = sum(g.bytes + g.scale_bytes for g in groups)
    if not count:
        return {}
    return {
        str(g.bits): {
            "count": g.count,
            "parameters": g.count / count,
            "bytes": (g.bytes + g.scale_bytes) / size,
        }
        for g in reversed(groups)
    }


def widths_text(widths: Iterable[StoredWidth]) -> str:
    """Return how many parameters are at which width, and their share of the bytes, as part of a sentence."""
    groups = list(widths)
    parts = shares(groups)
    texts = [
        f"{entry['parameters']:.1%} in {bits} bits ({entry['bytes']:.1%} of the bytes)"
        for bits, entry in sorted(parts.items(), key=lambda part: -part[1]["parameters"])
        if entry["count"]
    ]
    return f"{sum(g.count for g in groups):,} parameters: {', '.join(texts)}" if texts else "no parameters"


def _factors(graph: onnx.GraphProto) -> set[str]:
    """Return the stored floats by which what integers become is multiplied: scales that no DequantizeLinear reads."""
    producers = {output: node for node in graph.node for output in node.output}
    stored: Mapping[str, onnx.TensorProto] = {t.name: t for t in graph.initializer}

    def source(name: str) -> tuple[str, bool]:
        """Return the stored tensor that a value is or is looked up in, and whether integers are multiplied on the way."""
        for _ in range(len(graph.node) + 1):
            node = producers.get(name)
            if node is None:
                break
            if node.op_type in ("MatMulInteger", "ConvInteger", "DynamicQuantizeLinear"):
                return name, True
            if node.op_type not in (*_SAME, "Gather", "Concat", "Slice", "Floor", "Sub"):
                break
            name = node.input[0]
        return name, name in stored and stored[name].data_type in INTEGERS

    factors: set[str] = set()
    for node in graph.node:
        if node.op_type == "DynamicQuantizeLSTM":
            factors.update(name for name in node.input[8:12] if name)
        if node.op_type != "Mul":
            continue
        ends = [source(name) for name in node.input]
        for (_, integers), (other, _) in (ends, ends[::-1]):
            if integers and other in stored and stored[other].data_type not in INTEGERS:
                factors.add(other)
    return factors
