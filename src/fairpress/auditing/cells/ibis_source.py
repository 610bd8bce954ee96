"""A table that is aggregated in its database through Ibis, so that only cells are transferred."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from fairpress.auditing.cells.column_inspection import CAST_TOLERANCE, Numbers
from fairpress.auditing.cells.decision import Decision
from fairpress.auditing.cells.duckdb_source import CellCounts, TableSource, to_cell_counts
from fairpress.auditing.cells.query_result import QueryResult
from fairpress.auditing.cells.relation import is_number
from fairpress.core.errors import UserError
from fairpress.core.urls import credentials_in, first_line, redact_url
from fairpress.datasets.binning import bin_names

SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def is_address(table: Any) -> bool:
    """Return whether a table is an address, such as ``snowflake://account/database/schema/table``."""
    return isinstance(table, str) and SCHEME.match(table) is not None


def is_ibis(table: Any) -> bool:
    """Return whether an object is an Ibis table, without importing Ibis."""
    kind = type(table)
    return kind.__module__.startswith("ibis.") and kind.__name__ == "Table"


class WarehouseSource(TableSource):
    """A table in a database, counted by one query. The methods are those of `TableSource`.

    Parameters
    ----------
    table
        An Ibis table, or an address whose last part is the table's name: ``duckdb:///folder/file.db/predictions``; with
        Spark also a Parquet file or folder: ``pyspark:///folder/predictions.parquet``.

    Raises
    ------
    UserError
        Ibis or the database's driver is not installed, the database cannot be reached, or the table does not exist. No
        message contains the user or password in the address.
    """

    def __init__(self, table: Any) -> None:
        self.relation, self.paths, self.single = "", [], True
        self._positions: dict[str, list[int]] = {}
        self._secrets = credentials_in(table) if isinstance(table, str) else ()
        self.name = redact_url(table) if isinstance(table, str) else _table_name(table)
        self.locations = (self.name,) if isinstance(table, str) else ()
        self._expression = _open(table, self.name) if isinstance(table, str) else table
        self.columns = {name: _duckdb_type(kind) for name, kind in self._expression.schema().items()}

    def column(self, name: str) -> str:
        return name

    def metadata(self, key: bytes) -> list[tuple[str, bytes]]:
        return []

    def refuse_repeated_header(self) -> None:
        """Do nothing: tables in a database have no header line."""

    def number(self, name: str, role: str) -> None:
        self.require(name, role)
        if not self.holds_numbers(name):
            raise UserError(
                f"{self.name}: the column {name!r} ({role}) must hold numbers, not {self.columns[name].lower()}."
            )

    def holds_numbers(self, name: str) -> bool:
        return name in self.columns and is_number(self.columns[name])

    def numbers(self, names: Sequence[str]) -> dict[str, Numbers]:
        import ibis

        if not names:
            return {}
        table = self._expression
        measures: dict[str, Any] = {}
        for i, name in enumerate(names):
            x = table[name].cast("float64")
            is_number = x.notnull() & ~x.isnan()
            y = ibis.ifelse(is_number, x, ibis.null("float64"))
            outside = is_number & ((x < -CAST_TOLERANCE) | (x > 1 + CAST_TOLERANCE))
            measures |= {
                f"missing{i}": ibis.ifelse(is_number, 0, 1).sum(),
                f"low{i}": y.min(),
                f"high{i}": y.max(),
                f"outside{i}": ibis.ifelse(outside, 1, 0).sum(),
            }
        result = self._read(table.aggregate(n=table.count(), **measures)).to_pylist()[0]
        return {
            name: Numbers(
                0,
                result[f"missing{i}"] or 0,
                result[f"low{i}"],
                result[f"high{i}"],
                result[f"outside{i}"] or 0,
                result["n"],
            )
            for i, name in enumerate(names)
        }

    @property
    def counts_scores(self) -> bool:
        return False

    def repeats(self, name: str, rows: int = 1_000_000) -> bool:
        first_rows = self._expression.select(name).limit(rows).filter(lambda t: t[name].notnull())
        repeated = first_rows.group_by(name).aggregate(n=first_rows.count()).filter(lambda t: t.n > 1)
        return bool(self._read(repeated.limit(1)).num_rows)

    def varies(self, name: str) -> bool:
        column = self._expression[name]
        result = self._read(self._expression.aggregate(low=column.min(), high=column.max())).to_pylist()[0]
        return bool(result["low"] != result["high"])

    def count(
        self,
        columns: Sequence[str],
        decisions: Mapping[str, Decision],
        *,
        weight: str | None = None,
        bins: Mapping[str, Sequence[float]] | None = None,
        merge: bool = True,
    ) -> CellCounts:
        table = self._expression
        expressions = [self._binned(c, bins[c]) if bins and c in bins else table[c] for c in columns]
        expressions += [self._decision_expression(m, d) for m, d in decisions.items()]
        keys = [expression.name(f"k{i}") for i, expression in enumerate(expressions)]
        result = self._read(table.group_by(keys).aggregate(**self._aggregates(weight)), len(expressions))
        return to_cell_counts(result, self.name, columns, decisions, weight)

    def _aggregates(self, weight: str | None) -> dict[str, Any]:
        import ibis

        table = self._expression
        if self.holds_cells:
            raise UserError(f"{self.name} holds cells; export them as Parquet and audit that file.")
        if weight is None:
            return {"n": table.count().cast("float64")}
        self.number(weight, "the weight")
        w = table[weight].cast("float64")
        bad = w.isnull() | w.isnan() | w.isinf() | (w < 0)
        return {
            "n": table.count().cast("float64"),
            "w": w.sum(),
            "ww": (w * w).sum(),
            "bad": ibis.ifelse(bad, 1, 0).sum().cast("float64"),
        }

    def _binned(self, name: str, edges: Sequence[float]) -> Any:
        import ibis

        self.number(name, "to cut into bins")
        column, names = self._expression[name].cast("float64"), bin_names(edges)
        cases = [(column.isnull() | column.isnan(), ibis.null("string"))]
        cases += [(column < edge, ibis.literal(n)) for edge, n in zip(edges, names, strict=False)]
        return ibis.cases(*cases, else_=names[-1])

    def _decision_expression(self, model: str, decision: Decision) -> Any:
        import ibis

        if decision.among:
            raise UserError(
                f"{self.name}: model {model!r} has a score per class but no column of classes; add a column {model!r}."
            )
        self.require(decision.column, f"model {model!r}")
        column = self._expression[decision.column]
        if not decision.sign:
            return column
        self.number(decision.column, f"the score of model {model!r}")
        number = column.cast("float64")
        condition = {
            ">=": number >= decision.number,
            "<=": number <= decision.number,
            ">": number > decision.number,
            "<": number < decision.number,
            "==": number == decision.number,
        }[decision.sign]
        return ibis.ifelse(number.isnan(), ibis.null("boolean"), condition)

    def _read(self, expression: Any, keys: int = 0) -> QueryResult:
        """Return the answer, sorted by its first columns, ``k0`` …, if it has `keys` of them.

        Sums are then added in one order, and every digit of the audit is independent of the database.
        """
        try:
            with _suppress_warnings():
                answer = expression.to_pyarrow()
            if keys:
                answer = answer.sort_by([(f"k{i}", "ascending") for i in range(keys)])
            return QueryResult.of_arrow(answer)
        except Exception as error:  # each database has its own
            raise UserError(
                f"{self.name} cannot be counted ({type(error).__name__}{first_line(error, self._secrets)})."
            ) from None


def _open(address: str, name: str) -> Any:
    """Return the table of an address."""
    try:
        import ibis
    except ModuleNotFoundError:
        raise UserError(
            f"auditing {name} needs Ibis; python -m pip install 'fairpress[warehouse]'."
        ) from None
    parts = urlsplit(address)
    database, _, table = parts.path.rpartition("/")
    if not table:
        raise UserError(f"{name}: end the address with the table's name, such as …/predictions.")
    # Open read-only: other processes may be reading the file.
    query = parts.query or ("read_only=True" if parts.scheme == "duckdb" else "")
    try:
        with _suppress_warnings():
            database_path = "" if parts.scheme == "pyspark" and table.endswith(".parquet") else database
            connection = ibis.connect(parts._replace(path=database_path, query=query).geturl())
    except (ImportError, ModuleNotFoundError):
        raise UserError(
            f"{name}: the driver is not installed; python -m pip install 'ibis-framework[{parts.scheme}]'."
        ) from None
    except Exception as error:  # each database has its own
        raise UserError(
            f"cannot connect to {name} ({type(error).__name__}{first_line(error, credentials_in(address))}); "
            "check the address and the credentials."
        ) from None
    try:
        with _suppress_warnings():
            # Spark also reads Parquet files and folders from any file system that it supports.
            files = connection.name == "pyspark" and table.endswith(".parquet")
            return connection.read_parquet(parts.path) if files else connection.table(table)
    except Exception as error:  # TableNotFound, or an error of the database
        raise UserError(
            f"{redact_url(parts._replace(path=database).geturl())} has no table {table!r} that can be read "
            f"({type(error).__name__})."
        ) from None


@contextmanager
def _suppress_warnings() -> Iterator[None]:
    """Suppress deprecation warnings about how Ibis uses a driver."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _table_name(table: Any) -> str:
    """Return the name of an Ibis table; a filtered or joined table has none."""
    try:
        return f"the table {table.get_name()}"
    except AttributeError:
        return "the table"


def _duckdb_type(kind: Any) -> str:
    """Return an Ibis type as the DuckDB type that `TableSource` uses."""
    if kind.is_integer():
        return "BIGINT"
    if kind.is_floating() or kind.is_decimal():
        return "DOUBLE"
    if kind.is_nested() or kind.is_binary():
        return f"STRUCT {kind}"
    return str(kind).upper()
