"""What a bench runs: files with the rows they are given, real ones where the data is at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fairpress.core.card import ModelCard
from fairpress.core.errors import UserError
from fairpress.datasets.dataset import Dataset
from fairpress.datasets.reload import reload
from fairpress.runtime.backends.base import Backend, Input
from fairpress.runtime.backends.batching import MOST_BYTES, require_batch
from fairpress.runtime.onnx.load import parse_model

# Rows a bench draws from; more would only move the same numbers about.
ROWS = 1000
# Types of inputs as ONNX counts them: floats of 32, 64 and 16 bits, whole numbers of 8 to 64 bits, truth values.
READABLE = frozenset({1, 11, 10, 2, 3, 4, 5, 6, 7, 12, 13, 9})


@dataclass(frozen=True)
class BenchmarkModel:
    """A model that takes part: its file, its card if it has one, and what it runs on."""

    name: str
    onnx: bytes
    card: ModelCard | None
    runtimes: tuple[Backend, ...]


def available_data(card: ModelCard | None) -> Dataset | None:
    """Return the dataset of a card if it is on this machine as it was in training; nothing is fetched for it."""
    if card is None or not card.data:
        return None

    def no_slow_step(sentence: str) -> None:
        raise UserError(sentence)

    try:
        return reload(card.data, say=no_slow_step)
    except UserError:
        return None


def input_of(data: bytes, where: str) -> Input:
    """Return the one input of an ONNX file.

    Raises
    ------
    UserError
        No ONNX file, several inputs, or rows whose shape the file leaves open.
    """
    import onnx

    graph = parse_model(data, where).graph
    stored = {t.name for t in graph.initializer}
    inputs = [v for v in graph.input if v.name not in stored]
    if len(inputs) != 1:
        names = ", ".join(v.name for v in inputs) or "none"
        raise UserError(
            f"{where} has {len(inputs)} inputs ({names}); bench times files with one input of known shape."
        )
    kind = inputs[0].type.tensor_type
    shape = tuple(
        d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None for d in kind.shape.dim
    )
    if kind.elem_type not in READABLE:
        written = onnx.TensorProto.DataType.Name(kind.elem_type).lower()
        raise UserError(
            f"{where}: its input {inputs[0].name!r} takes {written}, which bench cannot make up; export it with an input of "
            "floats or whole numbers."
        )
    if not shape or None in shape[1:]:
        written = " × ".join("?" if d is None else str(d) for d in shape) or "of no known shape"
        raise UserError(
            f"{where}: its input {inputs[0].name!r} is {written}; bench needs numbers of a shape that is fixed but for "
            "the batch. Export it with fixed dimensions."
        )
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    row = int(np.prod([d or 0 for d in shape[1:]], dtype=float)) * dtype.itemsize
    if row > MOST_BYTES:
        raise UserError(f"{where}: one row of its input takes {row:,} bytes, which is too many to make up.")
    if shape[0] is not None:
        require_batch(shape[0], row, where)
    return Input(inputs[0].name, shape, dtype)


def rows_for(wanted: Input, dataset: Dataset | None, seed: int = 0) -> tuple[np.ndarray, str]:
    """Return rows [n, …] that fit the input, and what they are.

    Validation rows of the dataset where it fits; else made-up numbers: standard normal floats, or integers over the
    whole range of 8 bits (0 and 1 for others).
    """
    shape = tuple(d for d in wanted.shape[1:] if d is not None)
    if (
        dataset is not None
        and dataset.inputs.shape[1:] == shape
        and dataset.inputs.dtype == wanted.dtype
        and len(dataset.parts.get("validation", ()))
    ):
        rows = dataset.inputs[dataset.parts["validation"][:ROWS]]
        return rows, f"validation rows of {dataset.name}"
    rng = np.random.default_rng(seed)
    count = max(1, min(ROWS, 2**26 // max(1, int(np.prod(shape)) * wanted.dtype.itemsize)))
    return _made_up(rng, (count, *shape), wanted.dtype), "random numbers"


def _made_up(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    if dtype.kind == "f":
        return rng.standard_normal(shape, np.float32).astype(dtype)
    if dtype.itemsize == 1 and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, shape, dtype=dtype.name, endpoint=True)
    return rng.integers(0, 2, shape).astype(dtype)
