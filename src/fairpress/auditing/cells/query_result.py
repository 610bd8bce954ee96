"""The result of a query, column by column, without Arrow: most audits read tables from files alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

_NUMPY = frozenset(
    ("BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
) | {"FLOAT", "DOUBLE", "VARCHAR"}
"""Types that DuckDB returns as NumPy arrays without loss; values of all others are made one by one."""
_WITH_ZONE = "TIMESTAMP WITH TIME ZONE"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_AS_TEXT = ("UUID", "INTERVAL")


@dataclass(frozen=True)
class ResultColumn:
    """A column of a result.

    Attributes
    ----------
    kind
        Its type as DuckDB names it.
    values
        Values [rows]: numbers of the type's own precision, or objects; any value where one is missing.
    missing
        Rows without a value [rows]; None if every row has one.
    """

    kind: str
    values: np.ndarray
    missing: np.ndarray | None = None

    @classmethod
    def of_objects(cls, kind: str, values: Sequence[Any]) -> ResultColumn:
        """Return a column of Python objects, of which None is missing."""
        array = np.empty(len(values), dtype=object)
        array[:] = values
        missing = np.fromiter((v is None for v in values), bool, len(values))
        return cls(kind, array, missing if missing.any() else None)

    @property
    def is_time(self) -> bool:
        """Whether it holds dates or times."""
        return self.kind.startswith(("DATE", "TIME", "INTERVAL"))

    def to_pylist(self) -> list[Any]:
        """Return the values as Python objects, None where one is missing."""
        values: list[Any] = self.values.tolist()
        if self.missing is None:
            return values
        return [None if absent else v for v, absent in zip(values, self.missing.tolist(), strict=True)]


@dataclass(frozen=True)
class QueryResult:
    """Columns of one length, by name."""

    columns: Mapping[str, ResultColumn]
    num_rows: int

    @classmethod
    def of(cls, relation: Any) -> QueryResult:
        """Run a relation of DuckDB."""
        kinds = dict(zip(relation.columns, map(str, relation.types), strict=True))
        if _NUMPY.issuperset(kinds.values()):
            arrays = relation.fetchnumpy()
            columns = {name: _of_array(kind, arrays[name]) for name, kind in kinds.items()}
            return cls(columns, len(next(iter(columns.values())).values))
        selected = ", ".join(_selected(name, kind) for name, kind in kinds.items())
        lines = relation.project(selected).fetchall()
        parts = list(zip(*lines, strict=True)) if lines else [()] * len(kinds)
        columns = {
            name: ResultColumn.of_objects(kind, [_value(v, kind) for v in part])
            for (name, kind), part in zip(kinds.items(), parts, strict=True)
        }
        return cls(columns, len(lines))

    @classmethod
    def of_arrow(cls, table: Any) -> QueryResult:
        """Take over an Arrow table, such as a warehouse's answer."""
        columns = {
            name: ResultColumn.of_objects(str(column.type).upper(), column.to_pylist())
            for name, column in zip(table.column_names, table.columns, strict=True)
        }
        return cls(columns, table.num_rows)

    def __getitem__(self, name: str) -> ResultColumn:
        return self.columns[name]

    def __iter__(self) -> Iterator[ResultColumn]:
        return iter(self.columns.values())

    def to_pylist(self) -> list[dict[str, Any]]:
        """Return the lines as dicts."""
        lists = [column.to_pylist() for column in self]
        return [dict(zip(self.columns, line, strict=True)) for line in zip(*lists, strict=True)]

    def value(self) -> Any:
        """Return the value of a result of one line and one column."""
        return next(iter(self)).to_pylist()[0]


@dataclass(frozen=True)
class DictionaryColumn:
    """A column as its distinct values and, per line, the index of its value."""

    values: list[Any]
    codes: np.ndarray


def encode(column: ResultColumn) -> DictionaryColumn:
    """Return a column as its distinct values, in the order of their first line, and their indices.

    Values of single precision stay so: as doubles they would show spurious digits.
    """
    if column.values.dtype.kind in "iu" and column.missing is None and len(column.values):
        lowest, highest = int(column.values.min()), int(column.values.max())
        if highest - lowest < 4 * len(column.values):
            return _encode_integers(column.values, lowest, highest)
    if column.values.dtype != object and column.kind != "FLOAT" and column.missing is None:
        distinct, first, codes = np.unique(column.values, return_index=True, return_inverse=True)
        order = np.argsort(first)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        return DictionaryColumn(distinct[order].tolist(), rank[codes.reshape(-1)].astype(np.int64))
    values = column.to_pylist()
    if column.kind == "FLOAT":
        values = [None if v is None else np.float32(v) for v in values]
    if column.kind == "VARCHAR":
        numbering: defaultdict[Any, int] = defaultdict()
        numbering.default_factory = numbering.__len__  # one pass, which hashes each text once
        codes = np.fromiter(map(numbering.__getitem__, values), np.int64, len(values))
        return DictionaryColumn(list(numbering), codes)
    index: dict[Any, int] = {}
    # NaN differs from itself, and is one value here.
    coded = (index.setdefault(v if v == v else _NAN, len(index)) for v in values)
    codes = np.fromiter(coded, np.int64, len(values))
    return DictionaryColumn(list(index), codes)


def _encode_integers(values: np.ndarray, lowest: int, highest: int) -> DictionaryColumn:
    """Encode integers that lie close together by a table of their first lines, which takes no sorting."""
    offset = values
    if lowest:
        offset = (values - values.dtype.type(lowest)).astype(f"u{values.dtype.itemsize}")
    offset = offset.astype(np.intp, copy=False)
    size = highest - lowest + 1
    # Often the first lines have every integer, as of two classes, or of rows whose runs are stacked.
    first = _first_lines(offset[: max(2 * size, _HEAD)], size)
    if (first < 0).any():
        first = _first_lines(offset, size)
    present = np.flatnonzero(first >= 0)
    present = present[np.argsort(first[present])]
    rank = np.zeros(size, dtype=np.int64)
    rank[present] = np.arange(len(present))
    return DictionaryColumn([lowest + p for p in present.tolist()], rank[offset])


def _first_lines(offset: np.ndarray, size: int) -> np.ndarray:
    """Return the first line of each number below `size`; −1 where there is none."""
    first = np.full(size, -1)
    first[offset[::-1]] = np.arange(len(offset))[::-1]  # of equal numbers the last assignment holds
    return first


_HEAD = 4096
_NAN = float("nan")


def numbers(column: ResultColumn) -> np.ndarray:
    """Return a column of numbers as float64, NaN where one is missing."""
    if column.missing is None:
        return column.values.astype(np.float64)
    values = np.where(column.missing, np.nan, column.values)
    return np.asarray(values, dtype=np.float64)


def _of_array(kind: str, array: Any) -> ResultColumn:
    if type(array) is np.ndarray:  # no masked one, whose module takes long to load
        return ResultColumn(kind, array)
    missing = np.ma.getmaskarray(array)
    return ResultColumn(kind, array.data, missing if missing.any() else None)


def _selected(name: str, kind: str) -> str:
    quoted = '"' + name.replace('"', '""') + '"'
    if kind == _WITH_ZONE:  # DuckDB returns such times only where pytz is installed
        return f"epoch_us({quoted}) AS {quoted}"
    if kind == "TIMESTAMP_NS":  # as `values.spelling` does: a day without a time is written as one
        return f"regexp_replace({quoted}::VARCHAR, ' 00:00:00(\\.0+)?$', '') AS {quoted}"
    return f"{quoted}::VARCHAR AS {quoted}" if kind in _AS_TEXT else quoted


def _value(value: Any, kind: str) -> Any:
    if value is None or kind not in (_WITH_ZONE, "FLOAT"):
        return value
    return np.float32(value) if kind == "FLOAT" else _EPOCH + timedelta(microseconds=value)
