"""Tables in any supported form as one relation of DuckDB, whose columns are read by position."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from fairpress.auditing.cells.frames import Frame
from fairpress.auditing.cells.kept_columns import (
    FIRST_ROWS,
    KEPT,
    MAX_VALUES,
    NOTHING,
    KeptColumns,
    positions,
)
from fairpress.auditing.cells.query_result import QueryResult
from fairpress.auditing.cells.repeated_files import equal_files
from fairpress.auditing.cells.table_readers import DELIMITERS, files, read_error, refuse_uneven
from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.json_file import parse_json
from fairpress.core.slow import show_progress

_Result = TypeVar("_Result")
RUNS = b"fairpress.runtimes"
"""Metadata of a predictions table: JSON, model → ``{"runtime": …, "threshold": …}``."""

_NUMBER = re.compile(r"(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL.*)$")
_INTEGERS = frozenset(("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"))
_LONG_INTEGERS = frozenset(("UBIGINT", "HUGEINT", "UHUGEINT"))
_UNSUPPORTED_TYPE = re.compile(r"(STRUCT|MAP|UNION|BLOB|BIT|NESTED)|.*\]$")

_SMALL = 2**24
"""Bytes of CSV files that are held in memory while they are audited."""

# By default DuckDB downloads and loads extensions, such as for a table named by an address.
WITHOUT_EXTENSIONS = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}


class Relation:
    """Tables that are concatenated by column name.

    DuckDB treats ``g`` and ``G`` as one column, so queries name columns by position, ``c0``, ``c1`` … (`column`); users
    name them exactly.

    Parameters
    ----------
    table
        A pandas, polars or pyarrow frame, a dict of columns, a path or glob of Parquet or CSV files, or a list of those.

    Attributes
    ----------
    name, relation
        What messages call the tables, and the SQL of the concatenation.
    paths, text_paths
        The files, and those of them that are CSV.
    columns
        Name → type as named by DuckDB. All columns of a CSV file are text.
    is_text
        Whether the tables are CSV files with the same columns.
    single
        Whether the table is not a list of tables.
    locations
        The paths or addresses that were given.

    Raises
    ------
    UserError
        A file does not exist, or DuckDB cannot read it; the message names the file.
    """

    _kept = NOTHING
    _held: tuple[str, frozenset[str]] | None = None
    """A table of DuckDB that holds all rows, and what queries call its columns."""

    def __init__(self, table: Any) -> None:
        import duckdb

        self._connection = duckdb.connect(":memory:", config=WITHOUT_EXTENSIONS)
        # Progress is measured and not printed: DuckDB prints on standard output, where --json has the audit.
        self._connection.execute("SET enable_progress_bar = true")
        self._connection.execute("SET enable_progress_bar_print = false")
        # Columns of objects are text, whatever DuckDB would guess of their first values.
        self._connection.execute("SET pandas_analyze_sample = 0")
        tables = list(table) if isinstance(table, (list, tuple)) else [table]
        if not tables:
            raise UserError("the list of tables is empty; name at least one.")
        frames = [t for t in tables if not _is_path(t)]
        if len({id(frame) for frame in frames}) < len(frames):
            raise UserError(
                "a table is in the list twice, and its rows would count twice; name each table once."
            )
        given = [os.fspath(t) for t in tables if _is_path(t)]
        self.name = " + ".join(given) if len(given) == len(tables) else "the table"
        self.single = not isinstance(table, (list, tuple))
        self.locations = tuple(given)
        file_groups = files(given, self._connection)
        self.paths = [p for part in file_groups for p in part.paths]
        self._frames = [Frame(t) for t in frames]
        self._metadata = [("the table", _arrow_metadata(t)) for t in tables]
        for part in file_groups:
            self._metadata += zip(part.paths, part.metadata, strict=False)
        self.text_paths = [p for part in file_groups if part.text for p in part.paths]
        parts = [(part.names, f"({part.query})") for part in file_groups]
        parts += [(tuple(frame.names), f"f{i}") for i, frame in enumerate(self._frames)]
        self._files_read = len(file_groups)
        self._first_files = [part.paths[0] for part in file_groups]
        self._unreadable = [part.unreadable for part in file_groups]
        self._stale = bool(self._frames)
        self._union(parts)
        self.is_text = self.relation.startswith("(SELECT * FROM read_csv")

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
        self._kinds = united
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

    def metadata(self, key: bytes) -> list[tuple[str, bytes]]:
        """Return the schema metadata under a key as (table name, bytes), for each table that has it."""
        entries = [(table_name, entries.get(key)) for table_name, entries in self._metadata]
        return [(table_name, value) for table_name, value in entries if isinstance(value, bytes)]

    def runs(self) -> dict[str, dict[str, Any]]:
        """Return each model's runtime and threshold from the metadata that `predict` writes."""
        try:
            runs = parse_json(self.metadata(RUNS)[0][1], "the table's metadata")
            return {str(k): dict(v) for k, v in runs.items()}
        except (UserError, IndexError, ValueError, TypeError, AttributeError):
            return {}

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

    def as_number(self, name: str) -> str:
        """Return SQL for a column's values as DOUBLE; text that is not a number becomes NULL."""
        if (position := self._positions[name][0]) in self._kept.numbers:
            return f"number{position}"
        column = self.column(name)
        if self.columns[name] != "VARCHAR":
            return f"{column}::DOUBLE"
        # DuckDB parses 18_24 as 1824.
        return f"TRY_CAST(CASE WHEN contains({column}, '_') THEN NULL ELSE {column} END AS DOUBLE)"

    def is_wrong(self, name: str) -> str:
        """Return SQL for whether a value is there and is not a number."""
        if (position := self._positions[name][0]) in self._kept.numbers:
            return f"wrong{position}"
        return f"({self.column(name)} IS NOT NULL AND {self.as_number(name)} IS NULL)"

    def keep(self, texts: Iterable[str], numbers: Iterable[str]) -> None:
        """Parse columns of CSV files once, and keep them in memory for later queries.

        Tables that are in memory or in Parquet files are queried where they are; names of no column are passed over.
        """
        import duckdb

        if not self.text_paths or self._kept is not NOTHING:
            return
        texts, numbers = ([n for n in names if n in self.columns] for names in (texts, numbers))
        for name in texts:
            self.column(name)  # loads it from frames, which are beside the files
        kept = KeptColumns(
            frozenset(self._positions[n][0] for n in texts),
            {self._positions[n][0]: self.as_number(n) for n in numbers},
        )
        create = f"CREATE TEMP TABLE {KEPT} AS SELECT"
        few_values = self._few_values(kept.texts)
        try:
            self._execute(f"{create} {kept.selected(few_values)} FROM {self.relation}", _nothing)
        except duckdb.Error:  # a value that the first rows do not have
            self._run(f"{create} {kept.selected({})} FROM {self.relation}", _nothing)
        self._kept = kept

    def copied_files(self) -> list[list[str]]:
        """Return the sets of files with rows that have the same content."""

        def has_rows(path: str) -> bool:  # the parts that a cluster writes may all be empty
            query = files([path], self._connection)[0].query
            return self.read(f"SELECT 1 FROM ({query}) LIMIT 1").num_rows > 0

        return [paths for paths in equal_files(self.paths) if has_rows(paths[0])]

    def shares_file(self, other: Relation) -> bool:
        """Return whether a file of another relation is one of these, under whatever name."""
        return any(os.path.samefile(a, b) for a in self.paths for b in other.paths)

    def _few_values(self, texts: Iterable[int]) -> dict[int, list[str]]:
        """Return the sorted values of the text columns that have few of them in the first rows."""
        columns = [c for c in sorted(texts) if self._kinds[c] == "VARCHAR"]
        if not columns:
            return {}
        lists = ", ".join(f"list(DISTINCT c{c}) FILTER (WHERE c{c} IS NOT NULL) AS c{c}" for c in columns)
        names = ", ".join(f"c{c}" for c in columns)
        first = f"(SELECT {names} FROM {self.relation} LIMIT {FIRST_ROWS})"
        values = self.read(f"SELECT {lists} FROM {first}").to_pylist()[0]
        return {c: sorted(v) for c in columns if (v := values[f"c{c}"]) and len(v) <= MAX_VALUES}

    def release(self) -> None:
        """Release the memory of the columns that `keep` kept; later queries read the files again."""
        if self._kept is not NOTHING:
            self._run(f"DROP TABLE {KEPT}", _nothing)
            self._kept = NOTHING

    def is_small_text(self, rows: int) -> bool:
        """Return whether the tables are CSV files that can be held in memory, and seem to have no more rows than these.

        Most values of a table take four bytes with their delimiter, or more.
        """
        if not self.is_text:
            return False
        size = sum(os.path.getsize(path) for path in self.text_paths)
        return size <= min(_SMALL, 4 * rows * len(self._origin))

    def reads_from(self, table: str, columns: Iterable[str]) -> None:
        """Let queries of some columns, as they name them, read a table of DuckDB that holds all rows of them."""
        self._held = (table, frozenset(columns))

    def _narrowed(self, query: str) -> str:
        """Restrict a query to the columns it needs: binding thousands of columns takes seconds."""
        files_alone = self.relation.startswith("(SELECT * FROM read_")
        if not (files_alone or self._kept is not NOTHING) or "SELECT * FROM (SELECT *" in query:
            return query
        rest, relation = query.replace(self.relation, ""), self.relation
        if self._kept.suffices(rest, len(self._origin)):
            return query.replace(relation, KEPT)
        if files_alone:
            used = positions(rest, len(self._origin)) | self._kept.sources(rest)
            needed = [f"c{position}" for position in sorted(used or {0})]
            if self._held is not None and self._held[1].issuperset(needed):
                relation = self._held[0]
            else:
                relation = relation.replace("SELECT *", f"SELECT {', '.join(needed)}", 1)
        if derived := self._kept.derived(rest):
            relation = f"(SELECT *, {derived} FROM {relation})"
        return query.replace(self.relation, relation)

    def run(self, statement: str) -> None:
        """Run a statement that has no result."""
        self._run(statement, _nothing)

    def read(self, query: str) -> QueryResult:
        """Run a query and return the result."""
        return self._run(query, QueryResult.of)

    def read_arrow(self, query: str) -> Any:
        """Run a query and return the result as an Arrow table."""
        return self._run(query, lambda relation: relation.to_arrow_table())

    def _run(self, query: str, fetch: Callable[[Any], _Result]) -> _Result:
        import duckdb

        try:
            return self._execute(query, fetch)
        except duckdb.Error as error:
            if any(word in str(error) for word in ("CSV", "sniffing")):
                for path in self.paths:
                    refuse_uneven(path)
            raise UserError(read_error(self.name, str(error))) from None

    def _execute(self, query: str, fetch: Callable[[Any], _Result]) -> _Result:
        if self._stale:
            for i, frame in enumerate(self._frames):
                # The concatenation of several tables selects every column.
                frame.register(self._connection, f"f{i}", complete=len(self._frames) + self._files_read > 1)
            self._stale = False
        # Progress is known since DuckDB 1.3.
        with show_progress(f"reading {self.name}", getattr(self._connection, "query_progress", None)):
            return fetch(self._connection.sql(self._narrowed(query)))


def _is_path(table: Any) -> bool:
    return isinstance(table, (str, os.PathLike))


def _nothing(_: Any) -> None:
    """Return nothing for a statement that has no result."""


def _arrow_metadata(table: Any) -> Mapping[bytes, bytes]:
    """Return the schema metadata of a pyarrow table; empty for anything else."""
    return (table.schema.metadata or {}) if type(table).__module__.startswith("pyarrow") else {}


def is_number(kind: str) -> bool:
    """Return whether a DuckDB type is numeric."""
    return _NUMBER.match(kind) is not None


def is_plain(kind: str) -> bool:
    """Return whether values of a DuckDB type can be counted."""
    return _UNSUPPORTED_TYPE.match(kind) is None


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
