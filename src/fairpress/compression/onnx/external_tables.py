"""Embedding tables of external ONNX files, which ONNX Runtime's quantizers leave in float or scale as a whole. No torch."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from fairpress.compression.onnx.packed_embedding import look_up_integers
from fairpress.runtime.onnx.embedding_table import lookup_axis

MIN_ROWS = 16  # smaller tables, such as those of token types, would gain nothing
BLOCK = 32  # weights of a row that share a scale, at 4 bits


def quantize_tables(data: bytes, bits: int, keep: Collection[str]) -> tuple[bytes, dict[str, Any]]:
    """Return the file with its embedding tables as integers of 8 or 4 bits, and facts for the report.

    A table is a float matrix of which nodes look up rows (Gather) and that nothing else reads. At 8 bits a row has a scale,
    at 4 bits 32 of its values have; where they do not divide a row, it has 8 bits. Lookups named in `keep` stay in float.
    """
    model = onnx.load_from_string(data)
    graph = model.graph
    tables, in_float = _tables(graph, keep)
    for tensor in tables:
        values = numpy_helper.to_array(tensor)
        width = bits if bits == 8 or values.shape[1] % BLOCK == 0 else 8
        integers, scales = _rounded(values, width, values.shape[1] if width == 8 else BLOCK)
        look_up_integers(model, tensor.name, integers, scales, width)
    facts = {"tables": {"integer": len(tables), "float": in_float}} if tables or in_float else {}
    if not tables:
        return data, facts
    del graph.value_info[:]
    return bytes(model.SerializeToString(deterministic=True)), facts


def _tables(graph: onnx.GraphProto, keep: Collection[str]) -> tuple[list[onnx.TensorProto], int]:
    """Return the tables to quantize, and the number of tables that stay in float."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in set(node.input):
            readers.setdefault(name, []).append(node)
    chosen, in_float = [], 0
    for tensor in graph.initializer:
        nodes = readers.get(tensor.name, [])
        floats = (
            tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 2 and tensor.dims[0] >= MIN_ROWS
        )
        lookups = [
            n for n in nodes if n.op_type == "Gather" and n.input[0] == tensor.name and not lookup_axis(n)
        ]
        if not floats or not lookups:
            continue
        if len(lookups) < len(nodes) or any(n.name in keep for n in lookups):
            in_float += 1
        else:
            chosen.append(tensor)
    return chosen, in_float


def _rounded(values: np.ndarray, bits: int, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Return integers and float32 scales; the value of largest magnitude in a block is ±127 at 8 bits and −8 at 4."""
    blocks = values.reshape(len(values), -1, block)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(-1)[..., None], -1)
    scales = np.where(largest == 0, 1, np.abs(largest) / 127 if bits == 8 else largest / -8)
    low, top = (-127, 127) if bits == 8 else (-8, 7)
    integers = np.clip(np.round(blocks / scales), low, top).astype(np.int8)
    return integers.reshape(values.shape), scales[..., 0].astype(np.float32)
