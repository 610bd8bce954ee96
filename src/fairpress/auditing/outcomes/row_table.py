"""The rows of a table as arrays: the groups, units and weights of each row, and the columns that an outcome needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fairpress.auditing.cells.cells import Cells, EncodedTable
from fairpress.auditing.cells.counting import bin_edges_of
from fairpress.auditing.cells.duckdb_source import TableSource
from fairpress.auditing.cells.encoding import encode_attribute, refuse_merged
from fairpress.auditing.cells.query_result import DictionaryColumn, ResultColumn, encode, numbers
from fairpress.auditing.options import AuditOptions
from fairpress.auditing.statistics.t_estimate import Floats
from fairpress.core.attribute import Attribute, names_of
from fairpress.core.errors import UserError
from fairpress.core.values import spelling

EXACT = 2.0**53
"""Whole numbers up to here are exact as floating-point numbers."""
_DIGITS = r"\s*[+-]?[0-9]{16,}(\.[0-9]*)?\s*"
TOO_FEW = "fewer than two rows (or people) in this group"
"""Why a group has no mean with an error."""


@dataclass(frozen=True)
class RowTable:
    """The rows of a table.

    Attributes
    ----------
    name
        What messages call the table.
    cells
        Attributes, weights and people, with one combination per row; it has no labels and predictions.
    numbers
        Column → its numbers [rows], all finite.
    texts
        Column → its texts [rows], none missing.
    """

    name: str
    cells: Cells
    numbers: Mapping[str, Floats]
    texts: Mapping[str, EncodedTable]

    @property
    def rows(self) -> int:
        return len(self.cells.rows)


def read_rows(
    source: TableSource,
    options: AuditOptions,
    by: Sequence[Attribute],
    numbers: Mapping[str, str],
    texts: Mapping[str, str],
) -> RowTable:
    """Read the attributes, the subject, the weight and the given columns of every row, in one pass.

    Parameters
    ----------
    numbers, texts
        Column → what it is in messages, such as ``the predictions of model 'int8'``.

    Raises
    ------
    UserError
        A column is missing, a number is missing or not finite (with the first row), a weight is negative, a group or
        person is unknown; or the table has no rows.
    """
    attributes = names_of(by)
    for name in attributes:
        source.require(name, "a sensitive attribute")
    for name, role in texts.items():
        source.require(name, role)
    columns = dict(numbers) | ({options.weight: "the weight"} if options.weight is not None else {})
    for name, role in columns.items():
        source.require(name, role)
        source.number(name, role)
    if options.subject is not None:
        source.require(options.subject, "the subject")
    edges = {name: bin_edges_of(name, e, attributes) for name, e in options.bins.items()}
    select = [source.binned(n, edges[n]) if n in edges else source.column(n) for n in attributes]
    select += [source.column(n) for n in texts]
    select += [source.column(options.subject)] if options.subject is not None else []
    select += [source.as_number(n) for n in columns]
    query = ", ".join(f"{expression} AS k{i}" for i, expression in enumerate(select))
    result = source.read(f"SELECT {query} FROM {source.relation}")
    rows = result.num_rows
    if not rows:
        raise UserError(f"{source.name} has no rows; provide a table with predictions.")
    ones = np.ones(rows)
    parts = iter([result[f"k{i}"] for i in range(len(select))])
    groups = {
        n: encode_attribute(encode(next(parts)), ones, n, options.missing, source.name) for n in attributes
    }
    text_columns = {n: _texts(encode(next(parts)), texts[n], n, source.name) for n in texts}
    keys = {}
    if options.subject is not None:
        keys["subject"] = _units(next(parts), options.subject, source.name)
    values = {n: _finite(next(parts), role, n, source.name) for n, role in columns.items()}
    for name, role in numbers.items():
        _refuse_rounded(source, name, role, values[name])
    weight, scale = ones, 1.0
    if options.weight is not None:
        weight, scale = _weights(values[options.weight], options.weight, source.name)
    label = np.zeros(rows, dtype=np.int64)
    cells = Cells(groups, label, {}, ones, weight, weight**2, (), None, keys, scale)
    return RowTable(source.name, cells, values, text_columns)


def _finite(column: ResultColumn, role: str, name: str, source_name: str) -> Floats:
    """Return the numbers of a column; the first row without one is named."""
    values = numbers(column)
    bad = ~np.isfinite(values)
    if bad.any():
        row = int(np.argmax(bad))
        content = "is infinite" if np.isinf(values[row]) else "is missing"
        count = int(bad.sum())
        others = f" and {count - 1:,} more" if count > 1 else ""
        raise UserError(
            f"{source_name}: {name!r} ({role}) {content} in row {row + 1:,}{others}; drop those rows for all models, or "
            "fill in the values, knowing that this changes the audit."
        )
    return values


def _refuse_rounded(source: TableSource, name: str, role: str, values: Floats) -> None:
    """Raise UserError for whole numbers beyond 2^53, between which DOUBLE has gaps: small errors would be 0, or 128."""
    if not np.abs(values).max(initial=0) >= EXACT or source.columns[name] in ("FLOAT", "DOUBLE"):
        return
    text = f"{source.column(name)}::VARCHAR"
    rows = f"(SELECT row_number() OVER () AS r, {text} AS v FROM {source.relation})"
    matches = source.read(
        f"SELECT r, v FROM {rows} WHERE regexp_full_match(v, '{_DIGITS}') LIMIT 1"
    ).to_pylist()
    if matches:
        raise UserError(
            f"{source.name}: {name!r} ({role}) is {matches[0]['v']} in row {matches[0]['r']:,}: so large numbers lose their "
            "last digits; subtract one constant from all columns that are compared, or rescale them."
        )


def _weights(values: Floats, name: str, source_name: str) -> tuple[Floats, float]:
    if (values < 0).any():
        raise UserError(
            f"{source_name}: the weight {name!r} is negative in row {int(np.argmax(values < 0)) + 1:,}; correct it."
        )
    if not values.sum() > 0 or not np.isfinite((values**2).sum()):
        raise UserError(f"{source_name}: the weights {name!r} sum to 0 or overflow; correct them.")
    scale = len(values) / values.sum()
    return values * scale, float(scale)


def _units(column: ResultColumn, name: str, source_name: str) -> np.ndarray:
    """Number the people; their names are not read one by one, because there can be as many as rows."""
    coded = encode(column)
    refuse_merged(coded, f"the subject column {name!r}", source_name)
    unknown = [i for i, v in enumerate(coded.values) if v is None or (isinstance(v, float) and v != v)]
    absent = np.isin(coded.codes, unknown)
    if absent.any():
        raise UserError(
            f"{source_name}: the subject column {name!r} is missing in {int(absent.sum()):,} of {len(absent):,} rows, "
            f"first in row {int(np.argmax(absent)) + 1:,}; drop those rows or fill in the values."
        )
    return coded.codes


def _texts(column: DictionaryColumn, role: str, name: str, source_name: str) -> EncodedTable:
    spellings = [spelling(v) for v in column.values]
    absent = np.isin(column.codes, [i for i, t in enumerate(spellings) if t is None])
    if absent.any():
        raise UserError(
            f"{source_name}: {name!r} ({role}) is missing in {int(absent.sum()):,} rows, first in row "
            f"{int(np.argmax(absent)) + 1:,}; drop those rows or fill in the values."
        )
    names = sorted({t for t in spellings if t is not None})
    index = {t: i for i, t in enumerate(names)}
    lookup = np.array([index[t] if t is not None else -1 for t in spellings], dtype=np.int64)
    return EncodedTable(tuple(names), lookup[column.codes])
