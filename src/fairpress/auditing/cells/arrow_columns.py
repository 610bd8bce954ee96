"""Arrow columns as NumPy arrays and as dictionaries of distinct values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class DictionaryColumn:
    """A column as its distinct values and, per line, the index of its value."""

    values: list[Any]
    codes: np.ndarray


def encode(column: Any) -> DictionaryColumn:
    """Return an Arrow column as its distinct values and their indices."""
    import pyarrow as pa
    import pyarrow.compute as pc

    array = _contiguous(column)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    coded = pc.dictionary_encode(array, null_encoding="encode")
    return DictionaryColumn(
        _python_values(coded.dictionary), np.asarray(_values(coded.indices), dtype=np.int64)
    )


def _python_values(values: Any) -> list[Any]:
    """Return Arrow values as Python objects that keep the spelling of their type."""
    import pyarrow as pa

    if str(values.type) in ("float", "halffloat"):  # as doubles they would show spurious digits
        return [None if v is None else np.float32(v) for v in values.to_pylist()]
    try:
        return list(values.to_pylist())
    except (ValueError, OverflowError, pa.ArrowException):  # dates outside Python's range
        return list(values.cast(pa.string()).to_pylist())


def numbers(column: Any) -> np.ndarray:
    """Return an Arrow column of numbers without nulls as float64.

    Arrow's ``to_numpy`` imports pandas where it is installed, which takes longer than most audits.
    """
    import pyarrow as pa

    return _values(_contiguous(column).cast(pa.float64()))


def hashes(column: Any) -> np.ndarray:
    """Return an Arrow column of uint64 without nulls as an array of its own."""
    chunks = column.chunks
    return np.concatenate([_values(chunk) for chunk in chunks]) if chunks else np.array([], dtype=np.uint64)


def _values(array: Any) -> np.ndarray:
    """Return an Arrow array of float64, int32 or uint64 without nulls, read from its buffer."""
    kind = {"double": np.float64, "int32": np.int32, "uint64": np.uint64}[str(array.type)]
    memory = array.buffers()[1]
    if memory is None:
        return np.array([], dtype=kind)
    return np.asarray(np.frombuffer(memory, dtype=kind)[array.offset : array.offset + len(array)])


def _contiguous(column: Any) -> Any:
    import pyarrow as pa

    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    return array
