"""Inspect the columns of a relation: which hold numbers, in which range, and whether values repeat."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from fairpress.auditing.cells.head import ROWS, Head, plain_columns
from fairpress.auditing.cells.relation import Relation, is_number
from fairpress.auditing.cells.table_readers import (
    MAX_COLUMNS,
    header,
    repeated_header,
    text_literal,
)
from fairpress.core.errors import UserError

CAST_TOLERANCE = 1e-6
"""Tolerance for probabilities outside 0 … 1 due to rounding."""


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


class InspectedRelation(Relation):
    """A relation whose columns can be inspected; summaries of numbers are remembered."""

    _head: Head | None = None

    def __init__(self, table: Any) -> None:
        super().__init__(table)
        self._numbers: dict[str, Numbers] = {}

    def head(self, used: Collection[str] = ()) -> Head:
        """Return the first rows; of a CSV file, the columns that are `used` are read at once."""
        if self._head is None:
            self._head = Head(self, used)
        return self._head

    def hold(self, used: Collection[str]) -> None:
        """Read a small CSV file once, before it is counted: its head is all of it."""
        if self.is_small_text(ROWS):
            self.head(used)

    def plain_table(self) -> Any:
        """Return all columns of plain values, by name, as an Arrow table."""
        chosen = plain_columns(self, MAX_COLUMNS)
        selected = ", ".join(chosen.values()) or "1 AS nothing"
        return self.read_arrow(f"SELECT {selected} FROM {self.relation}").rename_columns(
            list(chosen) or ["nothing"]
        )

    def holds_numbers(self, name: str) -> bool:
        """Return whether the column exists and all of its values are numbers."""
        if name not in self.columns:
            return False
        if is_number(self.columns[name]):
            return True
        return self.columns[name] == "VARCHAR" and self.numbers([name])[name].non_numeric == 0

    def numbers(self, names: Sequence[str]) -> dict[str, Numbers]:
        """Summarize the values of some columns as numbers, in one pass."""
        pending = [n for n in names if n not in self._numbers]
        if pending:
            measures = []
            for i, name in enumerate(pending):
                x = self.as_number(name)
                present = f"({x} IS NOT NULL AND NOT isnan({x}))"
                measures += [
                    f"count(*) FILTER (WHERE {self.is_wrong(name)}) AS non_numeric{i}",
                    f"count(*) FILTER (WHERE NOT {present}) AS missing{i}",
                    f"min({x}) FILTER (WHERE {present}) AS low{i}",
                    f"max({x}) FILTER (WHERE {present}) AS high{i}",
                    f"count(*) FILTER (WHERE {present} AND "
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

    def repeats(self, name: str, rows: int = 1_000_000) -> bool:
        """Return whether a value occurs twice among the first rows of a column."""
        first_rows = f"(SELECT {self.column(name)} AS v FROM {self.relation} LIMIT {rows})"
        query = f"SELECT 1 FROM {first_rows} WHERE v IS NOT NULL GROUP BY v HAVING count(*) > 1 LIMIT 1"
        return bool(self.read(query).num_rows)

    def varies(self, name: str) -> bool:
        """Return whether a column has more than one value."""
        column = self.column(name)
        result = self.read(f"SELECT min({column}) IS DISTINCT FROM max({column}) AS v FROM {self.relation}")
        return bool(result.value())

    def number(self, name: str, role: str) -> None:
        """Raise UserError unless the column exists and holds numbers."""
        self.require(name, role)
        kind = self.columns[name]
        if is_number(kind):
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
        for path in self.text_paths:
            if line := repeated_header(path, header(path)[1]):
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
