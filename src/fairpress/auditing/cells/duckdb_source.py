"""Count combinations of the columns of a table with DuckDB."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fairpress.auditing.cells.column_inspection import InspectedRelation
from fairpress.auditing.cells.decision import Decision
from fairpress.auditing.cells.query_result import DictionaryColumn, QueryResult, encode, numbers
from fairpress.auditing.cells.table_readers import text_literal
from fairpress.core.errors import UserError
from fairpress.datasets.binning import bin_names

ROWS, WEIGHT, WEIGHT_SQUARES = "fairpress.rows", "fairpress.weight", "fairpress.weight_squares"
"""Columns of a table of cells: the number of rows of each line, the sum of their weights and of squared weights."""
_FUZZY = ("FLOAT", "DOUBLE", "INTERVAL")
"""Types of which different values may be equal: 0 and −0, 30 days and a month."""


@dataclass(frozen=True)
class CellCounts:
    """Distinct combinations of the requested columns, with the number of rows and the weights of each."""

    columns: Mapping[str, DictionaryColumn]
    models: Mapping[str, DictionaryColumn]
    rows: np.ndarray
    weight: np.ndarray
    weight_squares: np.ndarray


class TableSource(InspectedRelation):
    """A table that can be counted: one or several tables as `relation.Relation` reads them."""

    _counted: tuple[frozenset[str], np.ndarray] = (frozenset(), np.zeros(0))

    @property
    def counts_scores(self) -> bool:
        """Whether scores can be counted; False for a table in a database."""
        return True

    @property
    def holds_cells(self) -> bool:
        """Whether the table holds cells, where each line counts several rows."""
        return ROWS in self.columns

    def count(
        self,
        columns: Sequence[str],
        decisions: Mapping[str, Decision],
        *,
        weight: str | None = None,
        bins: Mapping[str, Sequence[float]] | None = None,
        merge: bool = True,
    ) -> CellCounts:
        """Count every combination of the columns and decisions in one pass over the table.

        Parameters
        ----------
        weight
            Column of row weights.
        bins
            Column → edges that cut its numbers into groups; a value equal to an edge belongs to the upper group.
        merge
            False: return each row as a combination of its own, which saves the counting where no two are equal.
        """
        expressions = [self.binned(c, bins[c]) if bins and c in bins else self.column(c) for c in columns]
        expressions += [self.decision_expression(m, d) for m, d in decisions.items()]
        select = ", ".join(f"{expression} AS k{i}" for i, expression in enumerate(expressions))
        if not merge:
            query = f"SELECT {select}, {self._measures_of_row(weight)} FROM {self.relation}"
            return to_cell_counts(self.read(query), self.name, columns, decisions, weight)
        measures = self._measures(weight)
        # Sorted, so that the order of summation, and every digit of the audit, is independent of the number of threads.
        result = self.read(f"SELECT {select}, {measures} FROM {self.relation} GROUP BY ALL ORDER BY ALL")
        if not bins and all(not d.sign and not d.among for d in decisions.values()):
            names = frozenset((*columns, *(d.column for d in decisions.values())))
            self._counted = (names, result["n"].values)
        return to_cell_counts(result, self.name, columns, decisions, weight)

    def counted_rows(self, names: Collection[str]) -> np.ndarray | None:
        """Return how often each different row occurs, of these columns, if `count` has counted just them; else None."""
        counted, rows = self._counted
        known = counted == frozenset(names) and not any(self.columns[n] in _FUZZY for n in names)
        return rows.astype(np.int64) if known else None

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
        c, bad = self._weight(weight)
        return (
            f"count(*)::DOUBLE AS n, sum({c}) AS w, sum({c} * {c}) AS ww, "
            f"count(*) FILTER (WHERE {bad})::DOUBLE AS bad"
        )

    def _measures_of_row(self, weight: str | None) -> str:
        if weight is None:
            return "1::DOUBLE AS n"
        c, bad = self._weight(weight)
        return f"1::DOUBLE AS n, {c} AS w, {c} * {c} AS ww, ({bad})::INTEGER::DOUBLE AS bad"

    def _weight(self, name: str) -> tuple[str, str]:
        """Return the weight of a row, and where it is none."""
        self.number(name, "the weight")
        c = self.as_number(name)
        return c, f"{c} IS NULL OR isnan({c}) OR isinf({c}) OR {c} < 0"

    def binned(self, name: str, edges: Sequence[float]) -> str:
        self.number(name, "to cut into bins")
        column, names = self.as_number(name), bin_names(edges)
        below = " ".join(
            f"WHEN {column} < {float(e)!r} THEN {text_literal(n)}" for e, n in zip(edges, names, strict=False)
        )
        return f"CASE WHEN {column} IS NULL OR isnan({column}) THEN NULL {below} ELSE {text_literal(names[-1])} END"

    def decision_expression(self, model: str, decision: Decision) -> str:
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


def to_cell_counts(
    table: QueryResult,
    name: str,
    columns: Sequence[str],
    decisions: Mapping[str, Decision],
    weight: str | None,
) -> CellCounts:
    """Convert a query's result: columns ``k0`` … of the combinations, ``n``, and with weights ``w``, ``ww``, "
    "``bad``."""
    if not table.num_rows or not float(np.sum(numbers(table["n"]))):
        raise UserError(f"{name} has no rows; provide a table with predictions.")
    if weight is not None:
        bad = int(np.sum(numbers(table["bad"])))
        if bad:
            where = "1 row" if bad == 1 else f"{bad:,} rows"
            raise UserError(
                f"{name}: the weight {weight!r} is missing, negative or not a number in {where}; correct it."
            )
    encoded = [encode(table[f"k{i}"]) for i in range(len(columns) + len(decisions))]
    rows = numbers(table["n"])
    w, ww = (rows, rows) if weight is None else (numbers(table["w"]), numbers(table["ww"]))
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
