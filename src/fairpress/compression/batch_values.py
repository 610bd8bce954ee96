"""The values of a batch as arrays: inputs, labels and groups."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from fairpress.compression.batch_inputs import MAX_EXACT_INTEGER
from fairpress.core.errors import UserError
from fairpress.core.values import spelling

Numbers = Literal["integer", "boolean", "other"]


def kind_of_numbers(value: Any) -> Numbers:
    """Return whether inputs are of an integer type, truth values, or other numbers (pixels of uint8 among them)."""
    if not isinstance(value, Tensor | np.ndarray):
        return "other"
    kind = str(value.dtype).removeprefix("torch.")
    return "boolean" if kind == "bool" else "integer" if kind != "uint8" and "int" in kind else "other"


class RowBuffer:
    """Rows [rows, …] of batches in one array that grows: each is copied once, and a loader may refill its batch."""

    def __init__(self) -> None:
        self._buffer = np.empty(0)
        self._rows = 0

    def add(self, batch: np.ndarray) -> None:
        """Copy the rows of a batch [rows, …], which has the shape and type of the batches before it."""
        if not self._rows:
            self._buffer = np.array(batch, order="C")
        elif len(batch):
            needed = self._rows + len(batch)
            if needed > len(self._buffer):
                capacity = max(needed, len(self._buffer) * 9 // 8)
                # Large arrays grow in place: memory is mapped anew, and not copied.
                self._buffer.resize((capacity, *batch.shape[1:]), refcheck=False)
            self._buffer[self._rows : needed] = batch
        self._rows += len(batch)

    def take(self) -> np.ndarray:
        """Return all rows; the buffer is empty then."""
        rows, self._buffer = self._buffer, np.empty(0)
        rows.resize((self._rows, *rows.shape[1:]), refcheck=False)
        self._rows = 0
        return rows


def inputs_of_batch(value: Any, batch_name: str) -> np.ndarray:
    """Return the inputs of a batch as uint8 or float32, which may share the memory of the batch.

    Raises UserError for inputs that are no numbers, not finite, or not exact in float32.
    """
    x = array_of(value, f"the inputs of {batch_name}")
    if x.dtype == np.uint8:
        return x
    if x.dtype.kind not in "fiub":
        raise UserError(f"the inputs of {batch_name} have type {x.dtype}; convert them to numbers.")
    values = x.astype(np.float32, copy=False)
    if x.dtype.kind in "iu" and np.abs(x.astype(np.float64)).max(initial=0) > MAX_EXACT_INTEGER:
        raise UserError(
            f"the inputs of {batch_name} contain integers above {MAX_EXACT_INTEGER:,}, which float32 cannot represent "
            "exactly; renumber them from 0."
        )
    if not np.isfinite(values).all():
        raise UserError(
            f"the inputs of {batch_name} have {int((~np.isfinite(values)).sum())} missing or infinite values; fill them or "
            "drop those rows."
        )
    return values


def labels_of_batch(value: Any, batch_name: str) -> np.ndarray:
    """Return labels [rows] or [rows, labels] as integers or floats; a column [rows, 1] as [rows]."""
    y = array_of(value, f"the labels of {batch_name}")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim not in (1, 2) or y.dtype.kind not in "fiub":
        kind = "text" if y.dtype.kind in "USO" else str(y.dtype)
        raise UserError(
            f"{batch_name} has labels {y.shape} of type {kind}; labels must be class indices [rows], integers from 0 in the "
            "order of the network's outputs; or numbers [rows], or 0 and 1 [rows, labels]."
        )
    if y.dtype.kind != "f":
        return y.astype(np.int64)
    invalid = int((~np.isfinite(y)).sum())
    if invalid:
        raise UserError(f"{batch_name} has {invalid} missing or infinite labels; leave those rows out.")
    return y.astype(np.float64)


def groups_of_batch(value: Any, rows: int, batch_name: str) -> np.ndarray:
    groups = (
        array_of(value, f"the groups of {batch_name}")
        if isinstance(value, Tensor | np.ndarray)
        else np.asarray(value, object)
    )
    groups = groups[:, 0] if groups.ndim == 2 and groups.shape[1] == 1 else groups
    if groups.shape != (rows,):
        raise UserError(
            f"{batch_name} has groups {groups.shape} for {rows} rows; give one group for each row."
        )
    names = [spelling(name) for name in groups]
    if None in names:
        raise UserError(f"{batch_name} has rows without a group; give one for each row, such as 'unknown'.")
    return np.asarray(names, dtype=str)


def array_of(value: Any, description: str) -> np.ndarray:
    try:
        if isinstance(value, Tensor):
            value = value.detach().cpu().resolve_conj().resolve_neg()
            return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
        return np.asarray(value)
    except Exception as error:
        if isinstance(value, list | tuple) and len({np.size(part) for part in value}) > 1:
            raise UserError(
                f"{description} are lists of different lengths; pad them to one, such as by tokenizer(texts, padding=True, "
                "return_tensors='pt')."
            ) from error
        raise UserError(
            f"{description} ({type(value).__name__}) cannot be converted to an array: "
            f"{(str(error).splitlines() or [''])[0].rstrip('.')}; pass a dense tensor."
        ) from error


def format_shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "1"
