"""Columns of tables in memory as NumPy arrays that DuckDB reads, for where pyarrow is not installed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fairpress.auditing.cells.query_result import ResultColumn
from fairpress.core.errors import UserError
from fairpress.core.values import spelling

_DTYPES: dict[type, type[np.generic]] = {bool: np.bool_, int: np.int64, float: np.float64}


def array_column(column: Any, name: str) -> ResultColumn:
    """Return a column of numbers, of truth values, or of text, with values spelled as in a CSV file.

    Parameters
    ----------
    column
        A pandas Series, a NumPy array or a sequence [rows].
    name
        The column's name, for messages.

    Raises
    ------
    UserError
        The values are lists, dicts or others that are not scalars.
    ModuleNotFoundError
        It is a column of polars or pyarrow, and pyarrow is not installed.
    """
    try:
        return _typed(column, name)
    except UserError:
        raise
    except (ValueError, TypeError, OverflowError, NotImplementedError, AttributeError):
        pass
    try:
        return _text(spelled_values(column, name))
    except UserError:
        raise
    except Exception as error:  # unhashable values, dates outside Python's range, half of a surrogate pair, …
        raise unreadable(name, error) from None


def _typed(column: Any, name: str) -> ResultColumn:
    """Return a column in its own type; TypeError for all others, which are converted to text."""
    library = type(column).__module__.partition(".")[0]
    if library in ("polars", "pyarrow"):
        import pyarrow  # noqa: F401, without which the absent extra is named
    if library == "pandas":
        return _of_pandas(as_series(column), name)
    if isinstance(column, np.ndarray):
        return _of_array(column, name)
    return _of_objects(column)


def as_series(column: Any) -> Any:
    """Return a Series of a column, which an array or an index of pandas in a dict is not."""
    import pandas as pd

    return column if isinstance(column, pd.Series) else pd.Series(column)


def _of_pandas(column: Any, name: str) -> ResultColumn:
    dtype = column.dtype
    if str(dtype) == "category":
        names = np.array([*map(spelling, column.cat.categories), None], dtype=object)
        return _text(names[np.asarray(column.cat.codes)])
    if str(dtype).startswith("Sparse"):
        return _of_pandas(column.sparse.to_dense(), name)
    if isinstance(dtype, np.dtype):
        return _of_array(column.to_numpy(), name)
    if str(dtype).startswith(("str", "string")):
        return _text(_masked(column.tolist(), column.isna()))
    numpy_dtype = getattr(dtype, "numpy_dtype", None)
    if numpy_dtype is None:
        raise TypeError
    missing = column.isna().to_numpy(dtype=bool)
    return _of_array(column.fillna(numpy_dtype.type(0)).to_numpy(dtype=numpy_dtype), name, missing)


def _of_array(values: np.ndarray, name: str, missing: np.ndarray | None = None) -> ResultColumn:
    if values.dtype.kind == "O":
        return _of_objects(values.tolist())
    if values.dtype.kind == "S":
        raise UserError(f"the column {name!r} holds binary, not plain values; write it as text or numbers.")
    if isinstance(values, np.ma.MaskedArray):
        values, missing = values.data, np.ma.getmaskarray(values)
    if values.dtype.kind == "U":
        return _text(_masked(values.tolist(), missing))
    if values.dtype.kind not in "biuf" or not values.dtype.isnative:
        raise TypeError
    values = np.ascontiguousarray(supported_precision(values))
    return ResultColumn(
        _kind(values.dtype), values, missing if missing is not None and missing.any() else None
    )


def _kind(dtype: np.dtype[Any]) -> str:
    if dtype.kind == "b":
        return "BOOLEAN"
    if dtype.kind == "f":
        return "FLOAT" if dtype == np.float32 else "DOUBLE"
    return "UBIGINT" if dtype == np.uint64 else "BIGINT"


def _of_objects(values: Sequence[Any]) -> ResultColumn:
    """Convert values of one type (text, bool, int, float); TypeError for all others, which are converted to text."""
    kinds = {type(v) for v in values if v is not None}
    if kinds <= {str}:
        return _text(values)
    (kind,) = kinds if len(kinds) == 1 else (None,)
    if kind not in _DTYPES:
        raise TypeError
    missing = np.fromiter((v is None for v in values), bool, len(values))
    array = np.array([kind(0) if v is None else v for v in values], dtype=_DTYPES[kind])
    return ResultColumn(_kind(array.dtype), array, missing if missing.any() else None)


def _text(values: Iterable[Any]) -> ResultColumn:
    """Return text as objects of exactly `str`, None where it is missing: DuckDB 1 reads no subclasses."""
    listed = [v if v is None or type(v) is str else str(v) for v in values]
    "".join({v for v in listed if v is not None}).encode()  # raises for half of a surrogate pair
    array = np.empty(len(listed), dtype=object)
    array[:] = listed
    return ResultColumn("VARCHAR", array)


def _masked(values: list[Any], missing: Any) -> list[Any]:
    return values if missing is None else [None if m else v for v, m in zip(values, missing, strict=True)]


def supported_precision(values: np.ndarray) -> np.ndarray:
    """Return floats in a precision that DuckDB supports."""
    if values.dtype == np.float16:
        return values.astype(np.float32)
    return values.astype(np.float64) if values.dtype == np.longdouble else values


def spelled_values(column: Any, name: str) -> list[str | None]:
    """Return the values of a column as text, None where one is missing; UserError for values that are not scalars."""
    values: Iterable[Any]
    if type(column).__module__.startswith("pyarrow"):
        values = column.to_pylist()
    elif hasattr(column, "to_list"):
        values = column.to_list()
    else:
        values = column
    spellings: dict[Any, str | None] = {}
    out = []
    for value in values:
        if isinstance(value, (list, tuple, dict, set, np.ndarray)):
            raise UserError(
                f"the column {name!r} holds a {type(value).__name__}, not plain values; write it as text or numbers."
            )
        if _has_default_text(value):
            raise UserError(
                f"the column {name!r} holds objects ({type(value).__name__}), not plain values; write it as text or "
                "numbers."
            )
        key = (type(value), value)
        if key not in spellings:
            spellings[key] = spelling(value)
        out.append(spellings[key])
    return out


def unreadable(name: str, error: Exception) -> UserError:
    """Return the error that names a column which cannot be read."""
    return UserError(
        f"the column {name!r} cannot be read ({type(error).__name__}); write it as plain text or numbers."
    )


def _has_default_text(value: Any) -> bool:
    """Return whether a value has no text form but its memory address."""
    kind: Any = type(value)
    return bool(kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__)
