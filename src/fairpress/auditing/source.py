"""Open a predictions table, whatever it is in, and count the columns an audit asks for."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from glob import glob
from typing import Any

import numpy as np

from fairpress.auditing.opening import (
    DELIMITERS,
    PARQUET,
    frame,
    named_twice,
    quote,
    reader,
    refusal,
    refuse_uneven,
    text,
)
from fairpress.core.errors import UserError, did_you_mean
from fairpress.datasets.groups import bin_names

ROWS, WEIGHT, WEIGHT_SQUARES = "fairpress.rows", "fairpress.weight", "fairpress.weight_squares"
"""Columns of a table of cells: how many rows each line stands for, their weights and squared weights summed."""

RUNS = b"fairpress.runtimes"
"""Metadata of a predictions table: JSON, model → ``{"runtime": …, "threshold": …}``."""

_DECIDE = re.compile(
    r"\s*(?P<column>.+?)\s*(?P<sign>>=|<=|>|<|==)\s*(?P<number>[-+]?[0-9.]+(?:[eE][-+]?\d+)?)\s*"
)
_NUMBER = re.compile(r"(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL.*)$")
_NO_CLASS = re.compile(r"(STRUCT|MAP|UNION|BLOB|BIT)|.*\]$")


@dataclass(frozen=True)
class Encoded:
    """A column as its distinct values and, per line, the index of its value."""

    values: list[Any]
    codes: np.ndarray


@dataclass(frozen=True)
class Counted:
    """Distinct combinations of the asked columns, with how many rows (and weights) each stands for."""

    columns: Mapping[str, Encoded]
    models: Mapping[str, Encoded]
    rows: np.ndarray
    weight: np.ndarray
    weight_squares: np.ndarray


@dataclass(frozen=True)
class Decision:
    """How a model's class comes from a column: as it stands, or by ``column sign number``.

    `among`: columns ``M.score.<class>`` instead, of which the largest decides (the first of equal ones).
    """

    column: str
    sign: str = ""
    number: float = 0.0
    among: tuple[str, ...] = ()


def parse_decision(told: str, model: str) -> Decision:
    """Read ``decile_score>=5``. Raises UserError for anything else; nothing is ever evaluated as code."""
    match = _DECIDE.fullmatch(told)
    try:
        if match:
            return Decision(match["column"], match["sign"], float(match["number"]))
    except ValueError:
        match = None
    raise UserError(
        f"cannot read the decision {told!r} for {model!r}; write column>=number, such as decile_score>=5."
    )


class Source:
    """A table that can be counted.

    Parameters
    ----------
    table
        A pandas, polars or pyarrow frame, the path or glob of Parquet or CSV files, or a list of paths.

    Raises
    ------
    UserError
        No such file, or DuckDB cannot read it; the sentence names the file.
    """

    def __init__(self, table: Any) -> None:
        import duckdb

        self._connection = duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false"})
        # Progress goes to standard output, where --json has the audit.
        self._connection.execute("SET enable_progress_bar = false")
        self.name = "the table"
        self._paths: list[str] = []
        self._table = table[0] if isinstance(table, (list, tuple)) and table else table
        if (
            isinstance(table, (list, tuple))
            and table
            and all(isinstance(t, (str, os.PathLike)) for t in table)
        ):
            self._paths = [os.fspath(t) for t in table]
            self.name = " + ".join(self._paths)
            self.relation = "(" + " UNION ALL BY NAME ".join(f"({reader(p)})" for p in self._paths) + ")"
        elif isinstance(table, (str, os.PathLike)):
            self.name = os.fspath(table)
            self._paths = [self.name]
            self.relation = f"({reader(self.name)})"
        else:
            self._connection.register("predictions", frame(table))
            self.relation = "predictions"
        described = self.read(f"DESCRIBE SELECT * FROM {self.relation}")
        names, kinds = (described[c].to_pylist() for c in ("column_name", "column_type"))
        self.columns: dict[str, str] = dict(zip(names, kinds, strict=True))

    def runs(self) -> dict[str, dict[str, Any]]:
        """Return what the table's metadata says of each model's run (`predict` writes it): runtime, threshold."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = getattr(self._table, "schema", None)
        if isinstance(self._table, (str, os.PathLike)):
            files = sorted(glob(os.fspath(self._table)))
            try:
                schema = pq.read_schema(files[0]) if files and files[0].lower().endswith(PARQUET) else None
            except (OSError, pa.ArrowException):
                return {}
        try:
            found = json.loads((getattr(schema, "metadata", None) or {})[RUNS])
            return {str(k): dict(v) for k, v in found.items()}
        except (KeyError, ValueError, TypeError, AttributeError):
            return {}

    @property
    def scored(self) -> bool:
        """Whether its scores can be counted; of a table in a warehouse only decisions are."""
        return True

    @property
    def counted_already(self) -> bool:
        """Whether the table holds cells, each line standing for several rows."""
        return ROWS in self.columns

    def require(self, name: str, role: str) -> None:
        """Raise UserError unless the column is there and holds values that can be counted."""
        if name not in self.columns:
            if any(d in c for c in self.columns for d in DELIMITERS):  # lines of different lengths
                for path in self._paths:
                    refuse_uneven(path)
            raise UserError(
                f"{self.name} has no column {name!r} ({role})." + did_you_mean(name, self.columns)
            )
        if f"{name}_1" in self.columns and any(named_twice(p, name) for p in self._paths):
            a, b = (f"{quote(c)}::VARCHAR" for c in (name, f"{name}_1"))
            differ = f"SELECT 1 FROM {self.relation} WHERE {a} IS DISTINCT FROM {b} LIMIT 1"
            if self.read(differ).num_rows:
                raise UserError(
                    f"{self.name} has two columns {name!r} ({role}) that differ; rename one of them."
                )
        if _NO_CLASS.match(self.columns[name]):
            raise UserError(
                f"{self.name}: the column {name!r} ({role}) holds {self.columns[name].lower()}, no plain values."
            )

    def holds_numbers(self, name: str) -> bool:
        """Return whether there is such a column and it is one of numbers."""
        return name in self.columns and _NUMBER.match(self.columns[name]) is not None

    def repeats(self, name: str, rows: int = 1_000_000) -> bool:
        """Return whether a value stands twice among the first rows of a column; a look, not a scan of everything."""
        some = f"(SELECT {quote(name)} AS v FROM {self.relation} LIMIT {rows})"
        query = f"SELECT 1 FROM {some} WHERE v IS NOT NULL GROUP BY v HAVING count(*) > 1 LIMIT 1"
        return bool(self.read(query).num_rows)

    def varies(self, name: str) -> bool:
        """Return whether a column has more than one value."""
        column = quote(name)
        found = self.read(f"SELECT min({column}) IS DISTINCT FROM max({column}) AS v FROM {self.relation}")
        return bool(found["v"][0].as_py())

    def number(self, name: str, role: str) -> None:
        """Raise UserError unless the column is there and holds numbers."""
        self.require(name, role)
        if not self.holds_numbers(name):
            raise UserError(
                f"{self.name}: the column {name!r} ({role}) is no number ({self.columns[name].lower()})."
            )

    def count(
        self,
        columns: Sequence[str],
        decisions: Mapping[str, Decision],
        *,
        weight: str | None = None,
        bins: Mapping[str, Sequence[float]] | None = None,
    ) -> Counted:
        """Count every combination of the columns and decisions in one pass over the table.

        Parameters
        ----------
        weight
            Column of row weights.
        bins
            Column → edges that cut its numbers into groups; a value equal to an edge is above it.
        """
        wanted = [self.binned(c, bins[c]) if bins and c in bins else quote(c) for c in columns]
        wanted += [self._decided(m, d) for m, d in decisions.items()]
        select = ", ".join(f"{expression} AS k{i}" for i, expression in enumerate(wanted))
        # Sorted, so that sums are added in one order and the audit is the same to the last digit for any number of threads.
        query = f"SELECT {select}, {self._measures(weight)} FROM {self.relation} GROUP BY ALL ORDER BY ALL"
        return counted(self.read(query), self.name, columns, decisions, weight)

    def _measures(self, weight: str | None) -> str:
        if self.counted_already:
            missing = [c for c in (WEIGHT, WEIGHT_SQUARES) if weight is not None and c not in self.columns]
            if missing:
                raise UserError(f"{self.name} holds cells without weights; export them with --weight.")
            for name in (ROWS, WEIGHT, WEIGHT_SQUARES)[: 3 if weight is not None else 1]:
                self.number(name, "of a table of cells")
            n = f"sum({quote(ROWS)})::DOUBLE"
            if weight is not None:
                w, ww = (f"sum({quote(c)})::DOUBLE" for c in (WEIGHT, WEIGHT_SQUARES))
                return f"{n} AS n, {w} AS w, {ww} AS ww, 0 AS bad"
            return f"{n} AS n"
        if weight is None:
            return "count(*)::DOUBLE AS n"
        self.number(weight, "the weight")
        c = f"{quote(weight)}::DOUBLE"
        bad = f"{c} IS NULL OR isnan({c}) OR isinf({c}) OR {c} < 0"
        return (
            f"count(*)::DOUBLE AS n, sum({c}) AS w, sum({c} * {c}) AS ww, "
            f"count(*) FILTER (WHERE {bad})::DOUBLE AS bad"
        )

    def binned(self, name: str, edges: Sequence[float]) -> str:
        self.number(name, "cut into bins")
        column, names = f"{quote(name)}::DOUBLE", bin_names(edges)
        below = " ".join(
            f"WHEN {column} < {float(e)!r} THEN {text(n)}" for e, n in zip(edges, names, strict=False)
        )
        return f"CASE WHEN {column} IS NULL OR isnan({column}) THEN NULL {below} ELSE {text(names[-1])} END"

    def _decided(self, model: str, decision: Decision) -> str:
        if decision.among:
            return self._largest(model, decision.among)
        self.require(decision.column, f"model {model!r}")
        column = quote(decision.column)
        if not decision.sign:
            return column
        sign = "=" if decision.sign == "==" else decision.sign
        kind = self.columns[decision.column]
        if not _NUMBER.match(kind):
            raise UserError(
                f"{self.name}: column {decision.column!r} is no number ({kind.lower()}), so it cannot be held against one."
            )
        # NaN compares as the largest number in SQL: it would silently become a positive prediction.
        return f"CASE WHEN isnan({column}::DOUBLE) THEN NULL ELSE ({column} {sign} {decision.number!r}) END"

    def _largest(self, model: str, columns: Sequence[str]) -> str:
        for name in columns:
            self.number(name, f"a score of model {model!r}")
        scores = [f"{quote(c)}::DOUBLE" for c in columns]
        unknown = " OR ".join(f"{s} IS NULL OR isnan({s})" for s in scores)
        names = ", ".join(text(c.removeprefix(f"{model}.score.")) for c in columns)
        among = ", ".join(scores)
        return (
            f"CASE WHEN {unknown} THEN NULL ELSE [{names}][list_position([{among}], greatest({among}))] END"
        )

    def read(self, query: str) -> Any:
        """Return the answer as an Arrow table."""
        import duckdb

        try:
            return self._connection.sql(query).to_arrow_table()
        except duckdb.Error as error:
            if "sniffing" in str(error):
                for path in self._paths:
                    refuse_uneven(path)
            raise UserError(refusal(self.name, str(error))) from None


def counted(
    table: Any, name: str, columns: Sequence[str], decisions: Mapping[str, Decision], weight: str | None
) -> Counted:
    """Return what a query counted: columns ``k0`` … of the combinations, ``n``, and with weights ``w``, ``ww``, ``bad``."""
    if not table.num_rows or not float(np.sum(numbers(table["n"]))):
        raise UserError(f"{name} has no rows; bring predictions to audit.")
    if weight is not None:
        bad = int(np.sum(numbers(table["bad"])))
        if bad:
            raise UserError(
                f"{name}: the weight {weight!r} is missing, negative or no number in {bad:,} rows; mend them."
            )
    found = [encode(table[f"k{i}"]) for i in range(len(columns) + len(decisions))]
    measures = ("n", "n", "n") if weight is None else ("n", "w", "ww")
    rows, w, ww = (numbers(table[k]) for k in measures)
    if not np.isfinite(ww.sum()):
        raise UserError(
            f"{name}: the weights {weight!r} are too large to be squared; divide them all by the largest."
        )
    if not w.sum() > 0:
        raise UserError(f"{name}: the weights {weight!r} sum to nothing; leave --weight out.")
    return Counted(
        dict(zip(columns, found[: len(columns)], strict=True)),
        dict(zip(decisions, found[len(columns) :], strict=True)),
        rows,
        w,
        ww,
    )


def encode(column: Any) -> Encoded:
    """Return an Arrow column as its distinct values and their indices."""
    import pyarrow as pa
    import pyarrow.compute as pc

    array = _whole(column)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    coded = pc.dictionary_encode(array, null_encoding="encode")
    return Encoded(coded.dictionary.to_pylist(), np.asarray(_values(coded.indices), dtype=np.int64))


def numbers(column: Any) -> np.ndarray:
    """Return an Arrow column of numbers without gaps as float64.

    Arrow's own ``to_numpy`` imports pandas where it is installed, which takes longer than most audits.
    """
    import pyarrow as pa

    return _values(_whole(column).cast(pa.float64()))


def _values(array: Any) -> np.ndarray:
    """Return an Arrow array of float64 or int32 without gaps, read from its own memory."""
    kind = {"double": np.float64, "int32": np.int32}[str(array.type)]
    memory = array.buffers()[1]
    if memory is None:
        return np.array([], dtype=kind)
    return np.asarray(np.frombuffer(memory, dtype=kind)[array.offset : array.offset + len(array)])


def _whole(column: Any) -> Any:
    import pyarrow as pa

    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    return array
