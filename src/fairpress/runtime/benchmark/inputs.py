"""The inputs of a benchmark: model files, and rows to run them on, real ones if the dataset is available."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fairpress.core.card import ModelCard
from fairpress.core.errors import UserError
from fairpress.datasets.dataset import Dataset
from fairpress.datasets.reload import reload
from fairpress.runtime.backends.base import Backend, Input
from fairpress.runtime.backends.batching import MAX_BYTES, require_batch
from fairpress.runtime.benchmark.token_rows import reads_token_ids
from fairpress.runtime.external.engines.registry import files_of
from fairpress.runtime.onnx.load import parse_model
from fairpress.tokenization.tokenizer import TextTokenizer

# Rows that a benchmark draws from; more would not change the timings.
ROWS = 1000
# ONNX codes of supported input types: floats of 32, 64 and 16 bits, integers of 8 to 64 bits, booleans.
READABLE = frozenset({1, 11, 10, 2, 3, 4, 5, 6, 7, 12, 13, 9})


@dataclass(frozen=True)
class BenchmarkModel:
    """A model to benchmark: its file, its card if it has one, its backends, and its tokenizer if it reads texts.

    `path` is that of a file in another format than ONNX; `onnx` is empty then.
    """

    name: str
    onnx: bytes
    card: ModelCard | None
    runtimes: tuple[Backend, ...]
    tokenizer: TextTokenizer | None = None
    path: Path | None = None

    @property
    def content(self) -> bytes:
        """The bytes that are shipped, those of weights beside the file included."""
        return self.onnx if self.path is None else b"".join(p.read_bytes() for p in files_of(self.path))


def available_data(card: ModelCard | None) -> Dataset | None:
    """Return the dataset of a card if it is on this machine and unchanged since training; nothing is downloaded."""
    if card is None or not card.data:
        return None

    def no_slow_step(sentence: str) -> None:
        raise UserError(sentence)

    try:
        return reload(card.data, on_message=no_slow_step)
    except UserError:
        return None


def input_of(data: bytes, model_name: str) -> Input:
    """Return the one input of an ONNX file; of token ids, the length may be free (`token_rows.reads_token_ids`).

    Raises
    ------
    UserError
        The data are not an ONNX file, have several inputs, or the shape of a row is not fixed.
    """
    import onnx

    graph = parse_model(data, model_name).graph
    stored = {t.name for t in graph.initializer}
    inputs = [v for v in graph.input if v.name not in stored]
    if len(inputs) != 1:
        names = ", ".join(v.name for v in inputs) or "none"
        raise UserError(
            f"{model_name} has {len(inputs)} inputs ({names}); bench supports files with one input of known shape."
        )
    kind = inputs[0].type.tensor_type
    shape = tuple(
        d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None for d in kind.shape.dim
    )
    if kind.elem_type not in READABLE:
        written = onnx.TensorProto.DataType.Name(kind.elem_type).lower()
        raise UserError(
            f"{model_name}: its input {inputs[0].name!r} takes {written}, which bench cannot generate; export it "
            "with an input of "
            "floats or integers."
        )
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    spec = Input(inputs[0].name, shape, dtype)
    if not reads_token_ids(spec):
        check_shape(spec, model_name)
    return spec


def check_shape(spec: Input, model_name: str) -> None:
    """Raise UserError if rows cannot be generated for an input, because its shape is free or too large."""
    shape = spec.shape
    if not shape or None in shape[1:]:
        written = " × ".join("?" if d is None else str(d) for d in shape) or "of no known shape"
        raise UserError(
            f"{model_name}: its input {spec.name!r} is {written}; bench needs a shape that is fixed except for "
            "the batch; export it with fixed dimensions."
        )
    row = int(np.prod([d or 0 for d in shape[1:]], dtype=float)) * spec.dtype.itemsize
    if row > MAX_BYTES:
        raise UserError(
            f"{model_name}: one row of its input takes {row:,} bytes, which is too large to generate; use a model "
            "with smaller inputs."
        )
    if shape[0] is not None:
        require_batch(shape[0], row, model_name)


def rows_for(spec: Input, dataset: Dataset | None, seed: int = 0) -> tuple[np.ndarray, str]:
    """Return rows [n, …] that fit the input, and their source.

    Validation rows of the dataset if it fits; otherwise random numbers: standard normal floats, or integers over the
    whole range of 8 bits (0 and 1 for other integers).
    """
    shape = tuple(d for d in spec.shape[1:] if d is not None)
    if (
        dataset is not None
        and dataset.inputs.shape[1:] == shape
        and dataset.inputs.dtype == spec.dtype
        and len(dataset.parts.get("validation", ()))
    ):
        rows = dataset.inputs[dataset.parts["validation"][:ROWS]]
        return rows, f"validation rows of {dataset.name}"
    rng = np.random.default_rng(seed)
    count = max(1, min(ROWS, 2**26 // max(1, int(np.prod(shape)) * spec.dtype.itemsize)))
    return _random_rows(rng, (count, *shape), spec.dtype), "random numbers"


def _random_rows(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    if dtype.kind == "f":
        return rng.standard_normal(shape, np.float32).astype(dtype)
    if dtype.itemsize == 1 and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, shape, dtype=dtype.name, endpoint=True)
    return rng.integers(0, 2, shape).astype(dtype)
