"""Columns of CSV files that are parsed once and kept in memory, because an audit with scores queries them ten times."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fairpress.auditing.cells.table_readers import text_literal

KEPT = "kept"
"""The table of DuckDB that holds them."""
FIRST_ROWS, MAX_VALUES = 20_000, 200
"""A column with at most so many values in the first rows is kept as codes of a byte each, if no other value follows."""
_COLUMN = re.compile(r"\bc(\d{1,6})\b")
_NUMBER = re.compile(r"\b(?:number|wrong)(\d{1,6})\b")


@dataclass(frozen=True)
class KeptColumns:
    """Columns that are kept, by position.

    Attributes
    ----------
    texts
        Kept as they are, under the names ``c0``, ``c1`` … that queries use.
    numbers
        Position → SQL of the column as DOUBLE: kept as ``number5``, with ``wrong5`` where a value is not a number.
    """

    texts: frozenset[int]
    numbers: Mapping[int, str]

    def selected(self, values: Mapping[int, Sequence[str]]) -> str:
        """Return the list of all kept columns, in SQL; those of few values (position → sorted values) as codes of them."""
        texts = []
        for i in sorted(self.texts):
            codes = f"::ENUM({', '.join(map(text_literal, values[i]))})" if i in values else ""
            texts.append(f"c{i}{codes} AS c{i}")
        return ", ".join(texts + [x for i in sorted(self.numbers) for x in self._derived(i)])

    def suffices(self, query: str, columns: int) -> bool:
        """Return whether a query, without the relation, needs no other of so many columns."""
        return bool(self.texts or self.numbers) and (
            positions(query, columns) <= self.texts and _numbers(query) <= self.numbers.keys()
        )

    def sources(self, query: str) -> set[int]:
        """Return the columns from which the numbers of a query are computed."""
        return _numbers(query) & self.numbers.keys()

    def derived(self, query: str) -> str:
        """Return the list of the numbers that a query uses, computed from columns, in SQL."""
        return ", ".join(x for i in sorted(self.sources(query)) for x in self._derived(i))

    def _derived(self, position: int) -> Iterable[str]:
        number = self.numbers[position]
        yield f"{number} AS number{position}"
        yield f"(c{position} IS NOT NULL AND {number} IS NULL) AS wrong{position}"


NOTHING = KeptColumns(frozenset(), {})


def positions(query: str, columns: int) -> set[int]:
    """Return the positions of the columns that a query names; text literals in it may look like one."""
    return {p for text in _COLUMN.findall(query) if (p := int(text)) < columns}


def _numbers(query: str) -> set[int]:
    return {int(p) for p in _NUMBER.findall(query)}
