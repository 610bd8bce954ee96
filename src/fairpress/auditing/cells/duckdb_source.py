"""Open a predictions table in any supported form, and count combinations of its columns with DuckDB."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairpress.auditing.cells.frames import Frame
from fairpress.auditing.cells.table_readers import (
    DELIMITERS,
    files,
    header,
    is_text,
    parquet_schema,
    read_error,
    refuse_uneven,
    repeated_header,
    text_literal,
)
from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.json_file import parse_json
from fairpress.core.slow import show_progress
from fairpress.datasets.binning import bin_names

ROWS, WEIGHT, WEIGHT_SQUARES = "fairpress.rows", "fairpress.weight", "fairpress.weight_squares"
"""Columns of a table of cells: the number of rows of each line, the sum of their weights and of squared weights."""

RUNS = b"fairpress.runtimes"
"""Metadata of a predictions table: JSON, model → ``{"runtime": …, "threshold": …}``."""

CAST_TOLERANCE = 1e-6
"""Tolerance for probabilities outside 0 … 1 due to rounding."""

_DECIDE = re.compile(
    r"\s*(?P<column>.+?)\s*(?P<sign>>=|<=|>|<|==)\s*(?P<number>[-+]?[0-9.]+(?:[eE][-+]?\d+)?)\s*"
)
_NUMBER = re.compile(r"(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL.*)$")
_INTEGERS = frozenset(("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"))
_LONG_INTEGERS = frozenset(("UBIGINT", "HUGEINT", "UHUGEINT"))
_COLUMN_INDEX = re.compile(r"\bc(\d{1,6})\b")
_UNSUPPORTED_TYPE = re.compile(r"(STRUCT|MAP|UNION|BLOB|BIT|NESTED)|.*\]$")


@dataclass(frozen=True)
class DictionaryColumn:
    """A column as its distinct values and, per line, the index of its value."""

    values: list[Any]
    codes: np.ndarray


@dataclass(frozen=True)
class CellCounts:
    """Distinct combinations of the requested columns, with the number of rows and the weights of each."""

    columns: Mapping[str, DictionaryColumn]
    models: Mapping[str, DictionaryColumn]
    rows: np.ndarray
    weight: np.ndarray
    weight_squares: np.ndarray


@dataclass(frozen=True)
class Numbers:
    """Summary of a column's values as numbers.

    `non_numeric`: rows whose value is not a number. `missing`: rows without a number, including NaN and `non_numeric`.
    `low`, `high`: the range; None where there is no number. `outside`: rows outside 0 … 1, beyond rounding. `rows`: rows of
    the table.
    """

    non_numeric: int
    missing: int
    low: float | None
    high: float | None
    outside: int
    rows: int


@dataclass(frozen=True)
class Decision:
    """How a model's class follows from a column: directly, or by ``column sign number``.

    `among`: columns ``M.score.<class>``, of which the largest determines the class (the first of equal ones).
    """

    column: str
    sign: str = ""
    number: float = 0.0
    among: tuple[str, ...] = ()


def parse_decision(text: str, model: str) -> Decision:
    """Parse ``decile_score>=5``. Raises UserError for anything else; the text is never evaluated as code."""
    match = _DECIDE.fullmatch(text) if isinstance(text, str) else None
    try:
        if match:
            return Decision(match["column"], match["sign"], float(match["number"]))
    except ValueError:
        match = None
    raise UserError(
        f"`decide=`: cannot parse {text!r} for {model!r}; write column>=number, such as decile_score>=5."
    )


# By default DuckDB downloads and loads extensions, such as for a table named by an address.
WITHOUT_EXTENSIONS = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}


class TableSource:
    """A table that can be counted.

    DuckDB treats ``g`` and ``G`` as one column, so queries name columns by position, ``c0``, ``c1`` … (`column`); users
    name them exactly.

    Parameters
    ----------
    table
        A pandas, polars or pyarrow frame, a dict of columns, a path or glob of Parquet or CSV files, or a list of those.

    Attributes
    ----------
    columns
        Name → type as named by DuckDB. All columns of a CSV file are text.

    Raises
    ------
    UserError
        A file does not exist, or DuckDB cannot read it; the message names the file.
    """

    def __init__(self, table: Any) -> None:
        import duckdb

        self._connection = duckdb.connect(":memory:", config=WITHOUT_EXTENSIONS)
        # Progress is measured and not printed: DuckDB prints on standard output, where --json has the audit.
        self._connection.execute("SET enable_progress_bar = true")
        self._connection.execute("SET enable_progress_bar_print = false")
        tables = list(table) if isinstance(table, (list, tuple)) else [table]
        if not tables:
            raise UserError("the list of tables is empty; name at least one.")
        given = [os.fspath(t) for t in tables if isinstance(t, (str, os.PathLike))]
        self.name = " + ".join(given) if len(given) == len(tables) else "the table"
        file_groups = files(given)
        self.paths = [p for part in file_groups for p in part.paths]
        self._frames = [Frame(t) for t in tables if not isinstance(t, (str, os.PathLike))]
        self._schemas = [arrow_schema(t) for t in tables]
        parts = [(part.names, f"({part.query})") for part in file_groups]
        parts += [(tuple(frame.names), f"f{i}") for i, frame in enumerate(self._frames)]
        self._numbers: dict[str, Numbers] = {}
        self._files_read = len(file_groups)
        self._first_files = [part.paths[0] for part in file_groups]
        self._unreadable = [part.unreadable for part in file_groups]
        self._stale = bool(self._frames)
        self._union(parts)

    def _union(self, parts: Sequence[tuple[Sequence[str], str]]) -> None:
        """Concatenate tables by column name; equal names within a table are matched in order."""
        self.relation = ""
        part_types = [
            self._column_types(i, relation, len(names)) for i, (names, relation) in enumerate(parts)
        ]
        keys = [_with_occurrence(names) for names, _ in parts]
        union = list(dict.fromkeys(key for part in keys for key in part))
        positions = [{key: i for i, key in enumerate(part)} for part in keys]
        self._origin = [[indices.get(key) for indices in positions] for key in union]
        united = []
        for key in union:
            types = {k[i[key]] for i, k in zip(positions, part_types, strict=True) if key in i}
            united.append(_common_type(types))
        self._positions: dict[str, list[int]] = {}
        for i, (name, _) in enumerate(union):
            self._positions.setdefault(name, []).append(i)
        self.columns: dict[str, str] = {name: united[indices[0]] for name, indices in self._positions.items()}
        if len(parts) == 1:
            self.relation = parts[0][1]
            return
        selects = []
        for indices, column_types, (_, relation) in zip(positions, part_types, parts, strict=True):
            chosen = [
                f"{_cast(f'c{j}', column_types[j], target) if (j := indices.get(key)) is not None else 'NULL'} AS c{i}"
                for i, (key, target) in enumerate(zip(union, united, strict=True))
            ]
            selects.append(f"(SELECT {', '.join(chosen)} FROM {relation})")
        self.relation = "(" + " UNION ALL ".join(selects) + ")"

    def _column_types(self, part: int, relation: str, width: int) -> list[str]:
        first = part - self._files_read
        if first >= 0:
            return [self._frames[first].kind(i) for i in range(width)]
        if "read_csv" in relation:
            return ["VARCHAR"] * width
        described = self.read(f"DESCRIBE SELECT * FROM {relation}")
        types = [str(k) for k in described["column_type"].to_pylist()]
        return ["NESTED" if i in self._unreadable[part] else kind for i, kind in enumerate(types)]

    def column(self, name: str) -> str:
        """Return the name of a column in queries; the first of two with the same name."""
        position = self._positions[name][0]
        self._load(position)
        return f"c{position}"

    def _load(self, position: int) -> None:
        """Load a column from the frames."""
        for i, frame in enumerate(self._frames):
            origin = self._origin[position][self._files_read + i]
            if origin is not None and frame.load(origin):
                self._stale = True

    def head(self, rows: int, columns: int = 500) -> tuple[list[str], Any]:
        """Return the names of the first columns of plain values, and their first rows as an Arrow table."""
        chosen = [
            (name, position)
            for name, positions in self._positions.items()
            for position in positions
            if not _UNSUPPORTED_TYPE.match(self.columns[name])
        ][:columns]
        names, selected = [], []
        for name, position in chosen:
            try:
                self._load(position)
            except UserError:  # an unreadable column that was not requested
                continue
            names.append(name)
            selected.append(f"c{position}")
        query = f"SELECT {', '.join(selected)} FROM {self.relation} LIMIT {rows}"
        return names, self.read(query)

    def metadata(self, key: bytes) -> list[tuple[str, bytes]]:
        """Return the schema metadata under a key as (table name, bytes), for each table that has it."""
        schemas = [("the table", schema) for schema in self._schemas]
        schemas += [(p, parquet_schema(p)) for p in self.paths if not is_text(p)]
        entries = [
            (table_name, (getattr(schema, "metadata", None) or {}).get(key)) for table_name, schema in schemas
        ]
        return [(table_name, value) for table_name, value in entries if isinstance(value, bytes)]

    def runs(self) -> dict[str, dict[str, Any]]:
        """Return each model's runtime and threshold from the metadata that `predict` writes."""
        try:
            runs = parse_json(self.metadata(RUNS)[0][1], "the table's metadata")
            return {str(k): dict(v) for k, v in runs.items()}
        except (UserError, IndexError, ValueError, TypeError, AttributeError):
            return {}

    @property
    def counts_scores(self) -> bool:
        """Whether scores can be counted; False for a table in a database."""
        return True

    @property
    def holds_cells(self) -> bool:
        """Whether the table holds cells, where each line counts several rows."""
        return ROWS in self.columns

    def require(self, name: str, role: str) -> None:
        """Raise UserError unless the column exists, is unique, and holds values that can be counted."""
        if name not in self.columns:
            if any(d in c for c in self.columns for d in DELIMITERS):  # lines of different lengths
                for path in self.paths:
                    refuse_uneven(path)
            raise UserError(
                f"{self.name} has no column {name!r} ({role})." + did_you_mean(name, self.columns)
            )
        if _UNSUPPORTED_TYPE.match(self.columns[name]):
            self.column(name)  # a frame raises a more specific error
            kind = self.columns[name].lower()
            content = "periods, durations or numbers of more than 38 digits" if kind == "nested" else kind
            raise UserError(
                f"{self.name}: the column {name!r} ({role}) holds {content}, not plain values; write them as text or "
                "numbers."
            )
        positions = self._positions.get(name, [])
        if positions and (without := self._table_without(positions[0])) is not None:
            raise UserError(
                f"{without} has no column {name!r} ({role}), which other tables of this audit have; all tables need "
                "the same columns."
            )
        for position in positions[1:]:
            self._load(position)
            a, b = f"{self.column(name)}::VARCHAR", f"c{position}::VARCHAR"
            if self.read(f"SELECT 1 FROM {self.relation} WHERE {a} IS DISTINCT FROM {b} LIMIT 1").num_rows:
                raise UserError(
                    f"{self.name} has two columns {name!r} ({role}) that differ; rename one of them."
                )

    def _table_without(self, position: int) -> str | None:
        """Return the name of a table that lacks the column at a position; None where all have it."""
        part = next((i for i, origin in enumerate(self._origin[position]) if origin is None), None)
        if part is None:
            return None
        return self._first_files[part] if part < self._files_read else "one of the tables"

    def holds_numbers(self, name: str) -> bool:
        """Return whether the column exists and all of its values are numbers."""
        if name not in self.columns:
            return False
        if _NUMBER.match(self.columns[name]):
            return True
        return self.columns[name] == "VARCHAR" and self.numbers([name])[name].non_numeric == 0

    def numbers(self, names: Sequence[str]) -> dict[str, Numbers]:
        """Summarize the values of some columns as numbers, in one pass."""
        pending = [n for n in names if n not in self._numbers]
        if pending:
            measures = []
            for i, name in enumerate(pending):
                c, x = self.column(name), self.as_number(name)
                is_number = f"({x} IS NOT NULL AND NOT isnan({x}))"
                measures += [
                    f"count(*) FILTER (WHERE {c} IS NOT NULL AND {x} IS NULL) AS non_numeric{i}",
                    f"count(*) FILTER (WHERE NOT {is_number}) AS missing{i}",
                    f"min({x}) FILTER (WHERE {is_number}) AS low{i}",
                    f"max({x}) FILTER (WHERE {is_number}) AS high{i}",
                    f"count(*) FILTER (WHERE {is_number} AND "
                    f"({x} < {-CAST_TOLERANCE!r} OR {x} > {1 + CAST_TOLERANCE!r})) AS outside{i}",
                ]
            result = self.read(
                f"SELECT count(*) AS n, {', '.join(measures)} FROM {self.relation}"
            ).to_pylist()[0]
            for i, name in enumerate(pending):
                self._numbers[name] = Numbers(
                    result[f"non_numeric{i}"],
                    result[f"missing{i}"],
                    result[f"low{i}"],
                    result[f"high{i}"],
                    result[f"outside{i}"],
                    result["n"],
                )
        return {n: self._numbers[n] for n in names}

    def as_number(self, name: str) -> str:
        """Return SQL for a column's values as DOUBLE; text that is not a number becomes NULL."""
        column = self.column(name)
        if self.columns[name] != "VARCHAR":
            return f"{column}::DOUBLE"
        # DuckDB parses 18_24 as 1824.
        return f"TRY_CAST(CASE WHEN contains({column}, '_') THEN NULL ELSE {column} END AS DOUBLE)"

    def repeats(self, name: str, rows: int = 1_000_000) -> bool:
        """Return whether a value occurs twice among the first rows of a column."""
        first_rows = f"(SELECT {self.column(name)} AS v FROM {self.relation} LIMIT {rows})"
        query = f"SELECT 1 FROM {first_rows} WHERE v IS NOT NULL GROUP BY v HAVING count(*) > 1 LIMIT 1"
        return bool(self.read(query).num_rows)

    def varies(self, name: str) -> bool:
        """Return whether a column has more than one value."""
        column = self.column(name)
        result = self.read(f"SELECT min({column}) IS DISTINCT FROM max({column}) AS v FROM {self.relation}")
        return bool(result["v"][0].as_py())

    def number(self, name: str, role: str) -> None:
        """Raise UserError unless the column exists and holds numbers."""
        self.require(name, role)
        kind = self.columns[name]
        if _NUMBER.match(kind):
            return
        if kind != "VARCHAR":
            raise UserError(
                f"{self.name}: the column {name!r} ({role}) must hold numbers, not {kind.lower()}."
            )
        if self.numbers([name])[name].non_numeric:
            self.refuse_repeated_header()
            c, x = self.column(name), self.as_number(name)
            first = self.read(
                f"SELECT r, v FROM (SELECT row_number() OVER () AS r, {c} AS v, {x} AS x FROM {self.relation}) "
                "WHERE v IS NOT NULL AND x IS NULL LIMIT 1"
            ).to_pylist()[0]
            raise UserError(
                f"{self.name}: the column {name!r} ({role}) must hold numbers, but row {first['r']:,} has "
                f"{first['v']!r}; correct it, and leave missing values empty."
            )

    def refuse_repeated_header(self) -> None:
        """Raise UserError where a row repeats the header, as in concatenated files."""
        names = [name for name, positions in self._positions.items() for _ in positions]
        for path in self.paths:
            if is_text(path) and (line := repeated_header(path, header(path)[1])):
                raise UserError(
                    f"{path}, line {line}: the header is repeated in the middle of the table; delete this line, or "
                    "pass the original files as a list."
                )
        text_columns = [n for n in names if self.columns[n] == "VARCHAR"]
        if not text_columns:
            return
        listed = ", ".join(self.column(n) for n in dict.fromkeys(text_columns))
        condition = " AND ".join(
            f"{self.column(n)} IN ({', '.join(map(text_literal, names))})"
            for n in dict.fromkeys(text_columns)
        )
        rows = f"(SELECT row_number() OVER () AS r, {listed} FROM {self.relation})"
        matches = self.read(f"SELECT * FROM {rows} WHERE {condition} LIMIT 1").to_pylist()
        if matches and len(set(map(str, matches[0].values()))) == len(matches[0]):
            raise UserError(
                f"{self.name}, row {matches[0]['r']:,}: the header is repeated in the middle of the table; delete "
                "this row."
            )

    def count(
        self,
        columns: Sequence[str],
        decisions: Mapping[str, Decision],
        *,
        weight: str | None = None,
        bins: Mapping[str, Sequence[float]] | None = None,
    ) -> CellCounts:
        """Count every combination of the columns and decisions in one pass over the table.

        Parameters
        ----------
        weight
            Column of row weights.
        bins
            Column → edges that cut its numbers into groups; a value equal to an edge belongs to the upper group.
        """
        expressions = [self.binned(c, bins[c]) if bins and c in bins else self.column(c) for c in columns]
        expressions += [self._decision_expression(m, d) for m, d in decisions.items()]
        select = ", ".join(f"{expression} AS k{i}" for i, expression in enumerate(expressions))
        measures = self._measures(weight)
        # Sorted, so that the order of summation, and every digit of the audit, is independent of the number of threads.
        query = f"SELECT {select}, {measures} FROM {self.relation} GROUP BY ALL ORDER BY ALL"
        return to_cell_counts(self.read(query), self.name, columns, decisions, weight)

    def _measures(self, weight: str | None) -> str:
        if self.holds_cells:
            missing = [c for c in (WEIGHT, WEIGHT_SQUARES) if weight is not None and c not in self.columns]
            if missing:
                raise UserError(f"{self.name} holds cells without weights; export the cells with `weight=`.")
            for name in (ROWS, WEIGHT, WEIGHT_SQUARES)[: 3 if weight is not None else 1]:
                self.number(name, "of a table of cells")
            n = f"sum({self.as_number(ROWS)})::DOUBLE"
            if weight is not None:
                w, ww = (f"sum({self.as_number(c)})::DOUBLE" for c in (WEIGHT, WEIGHT_SQUARES))
                return f"{n} AS n, {w} AS w, {ww} AS ww, 0 AS bad"
            return f"{n} AS n"
        if weight is None:
            return "count(*)::DOUBLE AS n"
        self.number(weight, "the weight")
        c = self.as_number(weight)
        bad = f"{c} IS NULL OR isnan({c}) OR isinf({c}) OR {c} < 0"
        return (
            f"count(*)::DOUBLE AS n, sum({c}) AS w, sum({c} * {c}) AS ww, "
            f"count(*) FILTER (WHERE {bad})::DOUBLE AS bad"
        )

    def binned(self, name: str, edges: Sequence[float]) -> str:
        self.number(name, "to cut into bins")
        column, names = self.as_number(name), bin_names(edges)
        below = " ".join(
            f"WHEN {column} < {float(e)!r} THEN {text_literal(n)}" for e, n in zip(edges, names, strict=False)
        )
        return f"CASE WHEN {column} IS NULL OR isnan({column}) THEN NULL {below} ELSE {text_literal(names[-1])} END"

    def _decision_expression(self, model: str, decision: Decision) -> str:
        if decision.among:
            return self._largest_score(model, decision.among)
        self.require(decision.column, f"model {model!r}")
        if not decision.sign:
            return self.column(decision.column)
        self.number(decision.column, f"the score of model {model!r}")
        sign = "=" if decision.sign == "==" else decision.sign
        x = self.as_number(decision.column)
        # In SQL, NaN compares as the largest number and would silently become a positive prediction.
        return f"CASE WHEN isnan({x}) THEN NULL ELSE ({x} {sign} {decision.number!r}) END"

    def _largest_score(self, model: str, columns: Sequence[str]) -> str:
        for name in columns:
            self.number(name, f"a score of model {model!r}")
        scores = [self.as_number(c) for c in columns]
        unknown = " OR ".join(f"{s} IS NULL OR isnan({s})" for s in scores)
        names = ", ".join(text_literal(c.removeprefix(f"{model}.score.")) for c in columns)
        among = ", ".join(scores)
        return (
            f"CASE WHEN {unknown} THEN NULL ELSE [{names}][list_position([{among}], greatest({among}))] END"
        )

    def _narrowed(self, query: str) -> str:
        """Restrict a query to the columns it needs: binding thousands of columns takes seconds."""
        if not self.relation.startswith("(SELECT * FROM read_") or "SELECT * FROM (SELECT *" in query:
            return query
        # Text literals in the query may look like columns.
        positions = {int(p) for p in _COLUMN_INDEX.findall(query.replace(self.relation, ""))} & set(
            range(len(self._origin))
        )
        needed = ", ".join(f"c{position}" for position in sorted(positions or {0}))
        narrowed = self.relation.replace("SELECT *", f"SELECT {needed}", 1)
        return query.replace(self.relation, narrowed)

    def read(self, query: str) -> Any:
        """Run a query and return the result as an Arrow table."""
        import duckdb

        if self._stale:
            for i, frame in enumerate(self._frames):
                self._connection.register(f"f{i}", frame.arrow())
            self._stale = False
        try:
            with show_progress(
                f"reading {self.name}", getattr(self._connection, "query_progress", None)
            ):  # since DuckDB 1.3
                return self._connection.sql(self._narrowed(query)).to_arrow_table()
        except duckdb.Error as error:
            if any(word in str(error) for word in ("CSV", "sniffing")):
                for path in self.paths:
                    refuse_uneven(path)
            raise UserError(read_error(self.name, str(error))) from None


def arrow_schema(table: Any) -> Any:
    """Return the schema of a pyarrow table; None for anything else."""
    return table.schema if type(table).__module__.startswith("pyarrow") else None


def is_number(kind: str) -> bool:
    """Return whether a DuckDB type is numeric."""
    return _NUMBER.match(kind) is not None


def _with_occurrence(names: Sequence[str]) -> list[tuple[str, int]]:
    """Return each name with the number of its earlier occurrences, which makes equal names distinct."""
    occurrences: dict[str, int] = {}
    out = []
    for name in names:
        occurrences[name] = occurrences.get(name, -1) + 1
        out.append((name, occurrences[name]))
    return out


def _common_type(kinds: set[str]) -> str:
    """Return the common type of a column that tables hold in these types: numeric if all are, else text."""
    if len(kinds) == 1:
        return next(iter(kinds))
    if any(_UNSUPPORTED_TYPE.match(k) for k in kinds):
        return next(k for k in sorted(kinds) if _UNSUPPORTED_TYPE.match(k))
    if kinds <= _INTEGERS:
        return "BIGINT"
    if kinds <= {*_INTEGERS, *_LONG_INTEGERS}:
        return "VARCHAR"  # preserves every digit
    return "DOUBLE" if all(_NUMBER.match(k) for k in kinds) else "VARCHAR"


def _cast(column: str, kind: str, target: str) -> str:
    if kind == target or _UNSUPPORTED_TYPE.match(target):
        return column if kind == target else "NULL"
    if kind == "BOOLEAN":  # as pandas writes it
        return f"CASE WHEN {column} THEN 'True' WHEN NOT {column} THEN 'False' END"
    if kind == "FLOAT" and target == "DOUBLE":  # by its shortest digits: .1 of either precision is one value
        return f"{column}::VARCHAR::DOUBLE"
    if kind.startswith("TIMESTAMP"):  # as `values.spelling` does: a day without a time is written as one
        return f"regexp_replace({column}::VARCHAR, ' 00:00:00(\\.0+)?$', '')"
    return f"{column}::{target}"


def to_cell_counts(
    table: Any, name: str, columns: Sequence[str], decisions: Mapping[str, Decision], weight: str | None
) -> CellCounts:
    """Convert a query's result: columns ``k0`` … of the combinations, ``n``, and with weights ``w``, ``ww``, "
    "``bad``."""
    if not table.num_rows or not float(np.sum(numbers(table["n"]))):
        raise UserError(f"{name} has no rows; provide a table with predictions.")
    if weight is not None:
        bad = int(np.sum(numbers(table["bad"])))
        if bad:
            raise UserError(
                f"{name}: the weight {weight!r} is missing, negative or not a number in {bad:,} rows; correct them."
            )
    encoded = [encode(table[f"k{i}"]) for i in range(len(columns) + len(decisions))]
    measures = ("n", "n", "n") if weight is None else ("n", "w", "ww")
    rows, w, ww = (numbers(table[k]) for k in measures)
    if not np.isfinite(ww.sum()):
        raise UserError(
            f"{name}: the weights {weight!r} overflow when squared; divide all of them by the largest."
        )
    if not w.sum() > 0:
        raise UserError(f"{name}: the weights {weight!r} sum to 0; leave out `weight=`, or correct them.")
    return CellCounts(
        dict(zip(columns, encoded[: len(columns)], strict=True)),
        dict(zip(decisions, encoded[len(columns) :], strict=True)),
        rows,
        w,
        ww,
    )


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


def _values(array: Any) -> np.ndarray:
    """Return an Arrow array of float64 or int32 without nulls, read from its buffer."""
    kind = {"double": np.float64, "int32": np.int32}[str(array.type)]
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
