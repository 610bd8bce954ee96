"""Open a predictions table, whatever it is in, and read the columns an audit asks for."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fairpress.core.errors import UserError, did_you_mean

_DECIDE = re.compile(
    r"\s*(?P<column>.+?)\s*(?P<sign>>=|<=|>|<|==)\s*(?P<number>[-+]?[0-9.]+(?:[eE][-+]?\d+)?)\s*"
)


@dataclass(frozen=True)
class Columns:
    """Distinct combinations of the asked columns: name → values [combinations], and how often each occurs."""

    values: Mapping[str, np.ndarray]
    counts: np.ndarray


@dataclass(frozen=True)
class Decision:
    """How a model's class comes from a column: as it stands, or by ``column sign number``."""

    column: str
    sign: str = ""
    number: float = 0.0


def parse_decision(text: str, model: str) -> Decision:
    """Read ``decile_score>=5``. Raises UserError for anything else; nothing is ever evaluated as code."""
    match = _DECIDE.fullmatch(text)
    try:
        if match:
            return Decision(match["column"], match["sign"], float(match["number"]))
    except ValueError:
        match = None
    raise UserError(
        f"cannot read the decision {text!r} for {model!r}; write column>=number, such as decile_score>=5."
    )


class Source:
    """A table that can be counted.

    Parameters
    ----------
    table
        A pandas, polars or pyarrow frame, or the path or glob of Parquet or CSV files.

    Raises
    ------
    UserError
        No such file, or DuckDB cannot read it; the sentence names the file.
    """

    def __init__(self, table: Any) -> None:
        import duckdb

        self._connection = duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false"})
        self.name = "the table"
        if isinstance(table, (str, os.PathLike)):
            self.name = os.fspath(table)
            self._relation = f"({self._reader(self.name)})"
        else:
            self._connection.register("predictions", _frame(table))
            self._relation = "predictions"
        described = self._fetch(f"DESCRIBE SELECT * FROM {self._relation}")
        names, kinds = described["column_name"].tolist(), described["column_type"].tolist()
        self.columns: dict[str, str] = dict(zip(names, kinds, strict=True))

    def require(self, name: str, role: str) -> None:
        """Raise UserError unless the column is there."""
        if name not in self.columns:
            raise UserError(
                f"{self.name} has no column {name!r} ({role})." + did_you_mean(name, self.columns)
            )

    def distinct(self, columns: Sequence[str], decisions: Mapping[str, Decision]) -> Columns:
        """Count every combination of the columns and decisions in one pass over the table."""
        wanted = [self._alias(c, quote(c)) for c in columns]
        wanted += [self._alias(m, self._decided(m, d)) for m, d in decisions.items()]
        table = self._fetch(
            f'SELECT {", ".join(wanted)}, count(*) AS "#n" FROM {self._relation} GROUP BY ALL'
        )
        counts = table.pop("#n")
        if not len(counts):
            raise UserError(f"{self.name} has no rows; bring predictions to audit.")
        return Columns(table, counts.astype(float))

    def rows(self, columns: Sequence[str], decisions: Mapping[str, Decision]) -> dict[str, np.ndarray]:
        """Return the columns and decisions row by row."""
        wanted = [self._alias(c, quote(c)) for c in columns]
        wanted += [self._alias(m, self._decided(m, d)) for m, d in decisions.items()]
        return self._fetch(f"SELECT {', '.join(wanted)} FROM {self._relation}")

    def _alias(self, name: str, expression: str) -> str:
        return f"{expression} AS {quote(name)}"

    def _decided(self, model: str, decision: Decision) -> str:
        self.require(decision.column, f"model {model!r}")
        column = quote(decision.column)
        if not decision.sign:
            return column
        sign = "=" if decision.sign == "==" else decision.sign
        kind = self.columns[decision.column]
        if not re.match(r"(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL)", kind):
            raise UserError(
                f"column {decision.column!r} is no number ({kind.lower()}), so it cannot be held against one."
            )
        # NaN compares as the largest number in SQL: it would silently become a positive prediction.
        return f"CASE WHEN isnan({column}::DOUBLE) THEN NULL ELSE ({column} {sign} {decision.number!r}) END"

    def _reader(self, path: str) -> str:
        if not any(c in path for c in "*?[") and not Path(path).is_file():
            raise UserError(f"there is no file {path}.")
        if Path(path).suffix.lower() in (".pkl", ".pickle", ".pt", ".joblib"):
            raise UserError(f"{path} is a pickle, which can run any code when opened; bring Parquet or CSV.")
        text = "'" + path.replace("'", "''") + "'"
        if Path(path).suffix.lower() in (".parquet", ".pq"):
            return f"SELECT * FROM read_parquet({text})"
        # A column of yes and no holds classes, not truth values; dates are groups as they are written.
        types = "auto_type_candidates=['BIGINT', 'DOUBLE', 'VARCHAR']"
        strict = "header=true, sample_size=-1, null_padding=false, strict_mode=true"
        return f"SELECT * FROM read_csv({text}, {strict}, {types})"

    def _fetch(self, query: str) -> dict[str, np.ndarray]:
        import duckdb

        try:
            table = self._connection.sql(query).fetchall() if query.startswith("DESCRIBE") else None
            if table is not None:
                return {
                    "column_name": np.array([r[0] for r in table]),
                    "column_type": np.array([r[1] for r in table]),
                }
            arrow = self._connection.sql(query).to_arrow_table()
        except duckdb.Error as error:
            line = re.search(r"[Ll]ine:? (\d+)", str(error))
            place = f", line {line[1]}" if line else ""
            first = str(error).splitlines()[0]
            raise UserError(
                f"cannot read {self.name}{place}: {first[:200]} Is it complete, UTF-8, and CSV or Parquet?"
            ) from None
        return {
            name: np.array(column.to_pylist(), dtype=object)
            if str(column.type) not in ("int64",)
            else column.to_numpy()
            for name, column in zip(arrow.column_names, arrow.columns, strict=True)
        }


def quote(name: str) -> str:
    """Return a name as an SQL identifier; whatever it holds, it stays a name."""
    return '"' + name.replace('"', '""') + '"'


def _frame(table: Any) -> Any:
    """Return what DuckDB can scan. Raises UserError for other types."""
    kind = f"{type(table).__module__.partition('.')[0]}.{type(table).__name__}"
    if kind in ("pandas.DataFrame", "polars.DataFrame", "polars.LazyFrame", "pyarrow.Table"):
        return table
    if isinstance(table, Mapping):
        import pyarrow as pa

        return pa.table(dict(table))
    raise UserError(
        f"cannot audit a {kind}; bring a pandas, polars or pyarrow frame, or a path to Parquet or CSV."
    )
