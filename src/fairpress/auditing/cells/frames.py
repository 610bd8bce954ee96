"""Tables in memory (pandas, polars, pyarrow, dicts) as columns that DuckDB reads and that preserve the spelling of values.

The columns are Arrow's where pyarrow is installed, and NumPy's where it is not.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fairpress.auditing.cells.frame_arrays import (
    array_column,
    as_series,
    spelled_values,
    supported_precision,
    unreadable,
)
from fairpress.core.errors import UserError
from fairpress.core.values import spelling

NESTED = "NESTED"
_SAMPLED_ROWS = 1000


class Frame:
    """A table in memory whose columns are converted on demand.

    Attributes
    ----------
    names
        Column names as text; two may be equal.
    rows
        Number of rows.
    """

    def __init__(self, table: Any) -> None:
        self.names, self.rows, self._column = _open_frame(table)
        self._loaded: dict[int, Any] = {}
        library = type(table).__module__.partition(".")[0]
        self._by_arrow = library in ("polars", "pyarrow") or importlib.util.find_spec("pyarrow") is not None

    def kind(self, position: int) -> str:
        """Return the DuckDB type of a column by its first values; `NESTED` for lists and other non-scalar values."""
        if not self._by_arrow:
            try:
                return array_column(self._column(position, _SAMPLED_ROWS), self.names[position]).kind
            except UserError:
                return NESTED
        import pyarrow as pa

        try:
            kind = without_extension_types(self._column(position, _SAMPLED_ROWS), self.names[position]).type
        except UserError:
            return NESTED
        if pa.types.is_boolean(kind):
            return "BOOLEAN"
        if pa.types.is_integer(kind):
            return "UBIGINT" if kind == pa.uint64() else "BIGINT"
        if pa.types.is_floating(kind):
            return "DOUBLE" if kind == pa.float64() else "FLOAT"
        if pa.types.is_decimal(kind):
            return "DECIMAL"
        if pa.types.is_temporal(kind):
            return "TIMESTAMP"
        return "VARCHAR"

    def load(self, position: int) -> bool:
        """Convert a column; return False if it was converted before."""
        if position in self._loaded:
            return False
        convert = without_extension_types if self._by_arrow else array_column
        self._loaded[position] = convert(self._column(position, None), self.names[position])
        return True

    def register(self, connection: Any, name: str, complete: bool = False) -> None:
        """Show the loaded columns to DuckDB as a table with columns ``c0``, ``c1`` …, or only its rows if none is loaded.

        With `complete`, all other columns are there, too, without values.
        """
        if self._by_arrow:
            connection.register(name, self._arrow(complete))
            return
        arrays: dict[str, np.ndarray] = {}
        selected = []
        for i, column in self._loaded.items():
            arrays[f"c{i}"] = column.values
            value = f"c{i}"
            if column.missing is not None:  # a masked array would not do: DuckDB 1 ignores masks
                arrays[f"m{i}"] = column.missing
                value = f"CASE WHEN NOT m{i} THEN c{i} END AS c{i}"
            selected.append(value)
        if complete:
            selected += [f"NULL AS c{i}" for i in range(len(self.names)) if i not in self._loaded]
        if not arrays:
            arrays["rows"] = np.zeros(self.rows, np.int8)
        connection.register(f"{name}_arrays", arrays)
        connection.execute(
            f"CREATE OR REPLACE TEMP VIEW {name} AS SELECT {', '.join(selected) or 'rows'} FROM {name}_arrays"
        )

    def _arrow(self, complete: bool) -> Any:
        import pyarrow as pa

        columns = {f"c{i}": column for i, column in self._loaded.items()}
        if complete:
            columns |= {f"c{i}": pa.nulls(self.rows) for i in range(len(self.names)) if i not in self._loaded}
        return pa.table(columns or {"rows": pa.nulls(self.rows, pa.int8())})


def _open_frame(table: Any) -> tuple[list[str], int, Callable[[int, int | None], Any]]:
    """Return the names, the number of rows, and a function that returns (the first values of) a column."""
    kind = f"{type(table).__module__.partition('.')[0]}.{type(table).__name__}"
    if kind == "pandas.DataFrame":
        return [_column_name(c) for c in table.columns], len(table), lambda i, n: table.iloc[:n, i]
    if kind in ("polars.DataFrame", "polars.LazyFrame"):
        frame = table.collect() if kind.endswith("LazyFrame") else table
        return list(frame.columns), len(frame), lambda i, n: frame.to_series(i)[:n]
    if kind in ("pyarrow.Table", "pyarrow.RecordBatch"):
        return list(table.column_names), table.num_rows, lambda i, n: table.column(i).slice(0, n)
    if isinstance(table, Mapping):
        return _open_mapping(table)
    raise UserError(
        f"cannot audit an object of type {kind.removeprefix('builtins.')}; pass a pandas, polars or pyarrow frame, or a "
        "path to Parquet or CSV."
    )


def _column_name(column: Any) -> str:
    """Return the name of a pandas column as text; a single non-empty level of a MultiIndex is used alone."""
    if isinstance(column, tuple) and sum(part != "" for part in column) == 1:
        return str(next(part for part in column if part != ""))
    return str(column)


def _open_mapping(table: Mapping[Any, Any]) -> tuple[list[str], int, Callable[[int, int | None], Any]]:
    names, columns = [str(n) for n in table], list(table.values())
    lengths = {}
    for name, column in zip(names, columns, strict=True):
        if isinstance(column, (str, bytes, Mapping)) or not hasattr(column, "__len__"):
            raise UserError(
                f"the column {name!r} holds a single value instead of one per row; pass a list or an array."
            )
        if getattr(column, "ndim", 1) != 1:
            raise UserError(f"the column {name!r} is not one-dimensional; pass a list or a flat array.")
        lengths[name] = len(column)
    if len(set(lengths.values())) > 1:
        a, b = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
        raise UserError(
            f"the column {a!r} has {lengths[a]:,} values and {b!r} {lengths[b]:,}; all columns need the same length."
        )
    return names, next(iter(lengths.values()), 0), lambda i, n: columns[i][:n]


def without_extension_types(column: Any, name: str) -> Any:
    """Return a column as an Arrow array that DuckDB reads, with values spelled as in a CSV file.

    Raises UserError for lists, dicts and other values that are not scalars.
    """
    import pyarrow as pa

    try:
        array = _to_arrow(column)
        return _to_supported_type(array, name)
    except UserError:
        raise
    except (pa.ArrowException, ValueError, TypeError, OverflowError, NotImplementedError, AttributeError):
        return _spelled(column, name)
    except Exception as error:  # raised by the frame's library: polars panics on some types
        raise unreadable(name, error) from None


def _to_arrow(column: Any) -> Any:
    import pyarrow as pa

    kind = f"{type(column).__module__.partition('.')[0]}.{type(column).__name__}"
    if kind.startswith("pyarrow."):
        return column
    if kind == "polars.Series":
        if str(column.dtype) in ("Object", "Unknown"):
            raise TypeError
        return column.to_arrow()
    if kind.startswith("pandas."):
        return _from_pandas(as_series(column))
    if isinstance(column, np.ndarray):
        if column.dtype.kind in "Omc":
            return _from_objects(column.tolist() if column.dtype.kind == "O" else column)
        return pa.array(supported_precision(column), from_pandas=True)
    return _from_objects(column)


def _from_pandas(column: Any) -> Any:
    import pyarrow as pa

    dtype = str(column.dtype)
    if dtype == "category":
        names = [spelling(c) for c in column.cat.categories]
        codes = np.asarray(column.cat.codes)
        unique_names = [n for n in dict.fromkeys(names) if n is not None]
        positions = {n: i for i, n in enumerate(unique_names)}
        lookup = np.array([-1 if n is None else positions[n] for n in names] + [-1], dtype=np.int32)
        index = lookup[codes]
        indices = pa.array(np.maximum(index, 0), mask=index < 0)
        return pa.DictionaryArray.from_arrays(indices, pa.array(unique_names, pa.string()))
    if dtype.startswith("Sparse"):
        return _to_arrow(column.sparse.to_dense())
    if dtype == "object":
        return _from_objects(column)
    if dtype.startswith(("period", "interval", "timedelta", "datetime", "complex")):
        raise TypeError  # converted value by value
    values = supported_precision(column.to_numpy()) if isinstance(column.dtype, np.dtype) else column
    return pa.array(values, from_pandas=True)


def _from_objects(values: Any) -> Any:
    """Convert values of one type (text, bool, int, float); TypeError for all others, which are converted to text."""
    import pyarrow as pa

    kinds = {type(v) for v in values if v is not None}
    if kinds <= {str}:
        return pa.array(values, pa.string(), from_pandas=True)
    if kinds in ({bool}, {int}, {float}):
        return pa.array(values, from_pandas=True)
    raise TypeError


def _to_supported_type(array: Any, name: str) -> Any:
    """Return an Arrow array in a type that DuckDB groups by and that preserves the spelling of values."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    t = pa.types
    if t.is_run_end_encoded(kind):
        combined = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
        return _to_supported_type(pc.run_end_decode(combined), name)
    if isinstance(kind, pa.BaseExtensionType):
        if "uuid" in str(kind) or "period" in str(kind) or "interval" in str(kind):
            raise TypeError
        storage = array.storage if isinstance(array, pa.ExtensionArray) else array.cast(kind.storage_type)
        return _to_supported_type(storage, name)
    if t.is_nested(kind) or t.is_binary(kind) or t.is_large_binary(kind) or t.is_fixed_size_binary(kind):
        raise UserError(f"the column {name!r} holds {kind}, not plain values; write it as text or numbers.")
    if t.is_dictionary(kind):
        inner = kind.value_type
        if not (t.is_string(inner) or t.is_large_string(inner)):
            return _to_supported_type(array.cast(inner), name)
        return array
    if t.is_null(kind) or str(kind) == "string_view":
        return array.cast(pa.string())
    if t.is_float16(kind):
        return array.cast(pa.float32())
    if t.is_decimal256(kind):
        return array.cast(pa.string())
    if t.is_time(kind) or t.is_duration(kind) or t.is_interval(kind) or "binary_view" in str(kind):
        raise TypeError
    return array


def _spelled(column: Any, name: str) -> Any:
    """Convert a column to text, value by value."""
    import pyarrow as pa

    try:
        return pa.array(spelled_values(column, name), pa.string())
    except UserError:
        raise
    except Exception as error:  # unhashable values, dates outside Python's range, …
        try:
            return column.cast(pa.string())
        except Exception:
            raise unreadable(name, error) from None
