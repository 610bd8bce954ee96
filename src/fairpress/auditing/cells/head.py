"""The first rows of a table, at which the checks of a whole table look."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

import numpy as np

from fairpress.auditing.cells.query_result import ResultColumn
from fairpress.auditing.cells.relation import Relation, is_plain
from fairpress.auditing.cells.table_readers import first_records
from fairpress.core.errors import UserError
from fairpress.core.values import spelling

ROWS, COLUMNS = 100_000, 500
"""How many rows and columns are looked at."""
FIRST_VALUES = 20
"""Values of a column that show whether it holds fractions, which are no ids."""
FEW_ROWS, FEW_VALUES = 20_000, 2_000_000
"""Up to so many rows and values, columns are read at once: for each of its aggregates, DuckDB takes milliseconds."""
_FRACTION = re.compile(r"[+-]?\d*\.\d*[1-9]\d*([eE].*)?|[+-]?\d+[eE]-\d+")


class Head(Mapping[str, ResultColumn]):
    """The first rows of a relation, by column. DuckDB keeps them; a column is made when it is asked for, and not kept.

    `read_few` makes several at once, which are kept.

    Parsing a CSV file takes time for each column. Of such files, tables of DuckDB hold the columns that are in use, and
    those without fractions, which might be ids; all others follow when one of them is asked for.

    Parameters
    ----------
    source
        The relation.
    used
        The columns that an audit counts.

    Attributes
    ----------
    rows
        How many there are.
    complete
        Whether the table has no other rows.
    whole
        The columns without a fraction among their first values.
    """

    def __init__(self, source: Relation, used: Collection[str]) -> None:
        self._source = source
        self._columns = plain_columns(source, COLUMNS)
        self._hashed = source.is_small_text(ROWS)
        self._tables: list[tuple[str, frozenset[str]]] = []
        self._read: dict[str, ResultColumn] = {}
        held = list(self._columns)
        if source.is_text:
            self.whole = self._whole_numbers(first_records(source.text_paths, FIRST_VALUES))
            held = [n for n in held if n in used or n in self.whole]
        table = self._hold(held, hashed=self._hashed)
        if not source.is_text:
            selected = ", ".join(self._columns.values()) or "*"
            first = source.read(f"SELECT {selected} FROM {table} LIMIT {FIRST_VALUES}")
            values = {n: first[c].to_pylist() for n, c in self._columns.items()}
            self.whole = frozenset(n for n, x in values.items() if no_fractions(x))
        self.rows = int(source.read(f"SELECT count(*) FROM {table}").value())
        self.complete = self.rows < ROWS
        if self.complete:
            source.reads_from(table, [self._columns[n] for n in held])

    def _whole_numbers(self, records: Sequence[Sequence[str]]) -> frozenset[str]:
        """Return the columns without a fraction in some records of a CSV file."""
        index = {n: int(c.removeprefix("c")) for n, c in self._columns.items()}
        return frozenset(n for n, i in index.items() if no_fractions(r[i] for r in records))

    def _hold(self, names: Sequence[str], *, hashed: bool = False) -> str:
        """Hold columns in a table of DuckDB, and with `hashed` a hash ``h`` of each row; return its name."""
        table = f"head{len(self._tables)}"
        every = ", ".join(self._columns.values()) or "1"
        columns = [self._columns[n] for n in names] + ([f"hash({every}) AS h"] if hashed else [])
        selected = ", ".join(columns) or "1 AS nothing"
        self._source.run(
            f"CREATE TEMP TABLE {table} AS SELECT {selected} FROM {self._source.relation} LIMIT {ROWS}"
        )
        self._tables.append((table, frozenset(names)))
        return table

    def _table_with(self, names: Iterable[str]) -> str:
        """Return a table that holds some columns; if there is none, one that holds all."""
        known = (table for table, held in self._tables if held.issuperset(names))
        return next(known, None) or self._hold(list(self._columns))

    def read_few(self, names: Sequence[str]) -> bool:
        """Read columns at once and keep them, if they have few values; return whether they have."""
        if self.rows > FEW_ROWS or self.rows * len(names) > FEW_VALUES:
            return False
        if names:
            columns = ", ".join(self._columns[n] for n in names)
            read = self._source.read(f"SELECT {columns} FROM {self._table_with(names)}")
            self._read.update(zip(names, read, strict=True))
        return True

    def __getitem__(self, name: str) -> ResultColumn:
        if name in self._read:
            return self._read[name]
        column = self._columns[name]
        return next(iter(self._source.read(f"SELECT {column} FROM {self._table_with([name])}")))

    def __contains__(self, name: object) -> bool:  # without reading the column
        return name in self._columns

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def hashes(self) -> np.ndarray:
        """Return a hash of each row of the whole table, over these columns [rows of the table]."""
        if self._hashed and self.complete:
            return self._source.read(f"SELECT h FROM {self._tables[0][0]}")["h"].values
        columns = ", ".join(self._columns.values())
        return self._source.read(f"SELECT hash({columns}) AS h FROM {self._source.relation}")["h"].values

    def distinct(self, names: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Return how many rows of each column have a value, and how many different values there are."""
        if not names:
            return {}
        present = [_present(self._columns[n], self._source.columns[n]) for n in names]
        counts = ", ".join(f"count({x}) AS n{i}, count(DISTINCT {x}) AS d{i}" for i, x in enumerate(present))
        values = self._source.read(f"SELECT {counts} FROM {self._table_with(names)}").to_pylist()[0]
        return {n: (values[f"n{i}"], values[f"d{i}"]) for i, n in enumerate(names)}


def plain_columns(source: Relation, columns: int) -> dict[str, str]:
    """Return the names of the first columns of plain values, and what queries call them."""
    chosen = {}
    for name in [n for n, kind in source.columns.items() if is_plain(kind)][:columns]:
        with suppress(UserError):  # an unreadable column that was not requested
            chosen[name] = source.column(name)
    return chosen


def no_fractions(values: Iterable[object]) -> bool:
    """Return whether no value is a decimal fraction."""
    return not any(_FRACTION.fullmatch(text) for v in values if (text := spelling(v)) is not None)


def _present(column: str, kind: str) -> str:
    """Return SQL for a value, NULL where it is empty text or NaN, which are missing, too."""
    if kind == "VARCHAR":
        return f"nullif({column}, '')"
    return f"CASE WHEN NOT isnan({column}) THEN {column} END" if kind in ("FLOAT", "DOUBLE") else column
