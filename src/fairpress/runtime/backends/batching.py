"""Batch sizes that fit into memory, and batched inference over large datasets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np

from fairpress.core.errors import UserError
from fairpress.runtime.backends.base import Session
from fairpress.runtime.onnx.load import parse_model

# A constant, not a share of the free memory: the batch size may change the last bits of a score, and equal commands
# must always give equal tables.
MEMORY_BUDGET = 128 * 2**20
MAX_BATCH, DEFAULT_BATCH = 8192, 32
SMALL = 1024  # values of a constant that may be a shape
# Operators whose results have shapes that no value of a constant decides.
SHAPED_BY_SHAPES = frozenset(
    {"Add", "Sub", "Mul", "Div", "Clip", "Gemm", "MatMul", "Conv", "QuantizeLinear", "DequantizeLinear"}
)
# Limits on the rows and the input bytes of one call.
MAX_ROWS, MAX_BYTES = 1_000_000, 2**30


def rows_at_once(data: bytes, *, budget: int = MEMORY_BUDGET) -> int:
    """Return the rows whose intermediate values fit into `budget` bytes; 1 … 8192.

    The sum over all values of the graph is an upper bound on the memory of a runtime. If shapes are not known in
    advance, 32.
    """
    size = bytes_per_row(data)
    return DEFAULT_BATCH if size is None else int(np.clip(budget // max(size, 1), 1, MAX_BATCH))


def bytes_per_row(data: bytes) -> int | None:
    """Return the bytes of all values that a graph computes from one row; None if their shapes are unknown."""
    model = parse_model(data)
    graph = model.graph
    read = {n for node in graph.node if node.op_type not in SHAPED_BY_SHAPES for n in node.input}
    nested = any(a.HasField("g") for node in graph.node for a in node.attribute)
    for tensor in graph.initializer:
        # Shape inference needs only few small constants; weights would be copied for nothing.
        if math.prod(tensor.dims) > SMALL or not (nested or tensor.name in read):
            tensor.ClearField("raw_data")
    return _bytes_per_row(model.SerializeToString())


@lru_cache(maxsize=64)
def _bytes_per_row(without_weights: bytes) -> int | None:
    """Return `bytes_per_row` of a graph without its weights; the networks of a study have few different ones."""
    import onnx

    model = onnx.load_from_string(without_weights)
    graph = model.graph
    stored = {t.name for t in graph.initializer}
    for value in graph.input:
        if value.name not in stored and value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_value = 1
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return None
    computed = {v.name for v in graph.input if v.name not in stored}
    for node in graph.node:  # in topological order; nodes that depend on constants only are folded at load
        if computed & set(node.input):
            computed |= set(node.output)
    total = 0
    for value in [*graph.input, *graph.value_info, *graph.output]:
        if value.name not in computed:
            continue
        kind = value.type.tensor_type
        if not kind.HasField("shape") or any(not d.HasField("dim_value") for d in kind.shape.dim):
            return None
        if kind.elem_type in (onnx.TensorProto.STRING, onnx.TensorProto.UNDEFINED):
            return None
        item = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize
        total += item * math.prod(d.dim_value for d in kind.shape.dim)
    return total


def require_batch(rows: int, bytes_of_a_row: int, model_name: str) -> None:
    """Raise UserError if one call cannot take this number of rows."""
    if not 1 <= rows <= MAX_ROWS or rows * bytes_of_a_row > MAX_BYTES:
        raise UserError(
            f"{model_name} needs exactly {rows:,} rows in every call, which exceeds the limits; export the model with a "
            "free batch dimension."
        )


def outputs(
    session: Session,
    inputs: np.ndarray,
    index: np.ndarray,
    batch: int,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Return the output [len(index), …] for the rows `index` of `inputs`, which may be memory-mapped and larger than memory.

    Only one batch of inputs is copied at a time. Every call has the same number of rows; the last one is padded
    with its last row. `progress` is called with the number of finished rows.
    """
    fixed = session.input.shape[0] if session.input.shape else None
    if fixed is not None:
        require_batch(fixed, inputs[0].nbytes if len(inputs) else 1, "the file")
    step = fixed or max(1, min(batch, len(index)))
    parts = []
    for rows, start in _chunks(inputs, index, step):
        short = step - len(rows)
        if short:
            rows = np.concatenate([rows, np.repeat(rows[-1:], short, axis=0)])
        parts.append(session.run(rows)[: step - short])
        if progress is not None:
            progress(min(start + step, len(index)))
    return np.concatenate(parts)


def _chunks(inputs: np.ndarray, index: np.ndarray, step: int) -> Iterator[tuple[np.ndarray, int]]:
    for start in range(0, len(index), step):
        yield np.ascontiguousarray(inputs[index[start : start + step]]), start
