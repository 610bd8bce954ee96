"""How many rows go through a network at once, and how all of a large dataset go through it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from fairpress.core.errors import UserError
from fairpress.runtime.backends.base import Session
from fairpress.runtime.onnx.load import parse_model

# A constant, not a share of the free memory: the size of a batch may move the last bits of a score, and equal
# commands must give equal tables on every day.
BUDGET = 128 * 2**20
MOST, UNKNOWN = 8192, 32
# A call with more rows than this, or whose inputs take more memory, is not tried.
MOST_ROWS, MOST_BYTES = 1_000_000, 2**30


def rows_at_once(data: bytes, *, budget: int = BUDGET) -> int:
    """Return the rows whose intermediate values fit into `budget` bytes; 1 … 8192.

    The sum over all values of the graph is an upper bound of what a runtime keeps. Where shapes are not known
    in advance, 32.
    """
    size = bytes_per_row(data)
    return UNKNOWN if size is None else int(np.clip(budget // max(size, 1), 1, MOST))


def bytes_per_row(data: bytes) -> int | None:
    """Return the bytes of all values that a graph computes from one row; None where their shapes are not known."""
    import onnx

    model = parse_model(data)
    graph = model.graph
    stored = {t.name for t in graph.initializer}
    for tensor in graph.initializer:
        # Shapes follow from shapes and from small constants; weights would only be copied.
        if math.prod(tensor.dims) > 1024:
            tensor.ClearField("raw_data")
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
    for node in graph.node:  # in the order of computation; what depends on constants only is folded at load
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


def require_batch(rows: int, bytes_of_a_row: int, what: str) -> None:
    """Raise UserError where a call with so many rows cannot be made."""
    if not 1 <= rows <= MOST_ROWS or rows * bytes_of_a_row > MOST_BYTES:
        raise UserError(
            f"{what} reads exactly {rows:,} rows in every call, which cannot be run here; export the model with a free "
            "batch dimension."
        )


def outputs(
    session: Session,
    inputs: np.ndarray,
    index: np.ndarray,
    batch: int,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Return the output [len(index), …] for the rows `index` of `inputs`, which may lie in a file larger than memory.

    Only one batch of inputs is copied at a time. Every call has the same number of rows, the last filled up
    with its last row. `progress` is told the number of rows done.
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
