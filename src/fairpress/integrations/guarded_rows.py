"""The two sets of rows of a guard: tables of labels, groups and the baseline's predictions, which share nobody."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fairpress.auditing.cells.open_source import open_source
from fairpress.auditing.cells.positive_class import TASK
from fairpress.auditing.cells.relation import RUNS
from fairpress.auditing.table_metadata import LABEL, MODELS, recorded_text
from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.values import spelling
from fairpress.integrations.decided_classes import ClassNames, decided_classes

if TYPE_CHECKING:
    import pyarrow as pa

WHOLE_NUMBER = re.compile(r"([+-]?\d+)\.0+")


@dataclass(frozen=True)
class GuardedRows:
    """One of the two sets.

    Attributes
    ----------
    whose
        What messages call the rows.
    table
        The columns, with the metadata that `predict` writes.
    label, models
        The column of true classes; the models that the table records, the first being the default baseline.
    """

    whose: str
    table: pa.Table
    label: str
    models: tuple[str, ...]

    @classmethod
    def read(cls, table: Any, whose: str, label: str | None) -> GuardedRows:
        """Read a table: a frame, or the path of Parquet or CSV files.

        Raises UserError where it cannot be read, holds cells, or has no label.
        """
        source = open_source(table)
        if source.holds_cells or not source.counts_scores:
            raise UserError(
                f"the {whose} have to be rows, one line each, not cells or a table of a database; read them first."
            )
        rows = source.plain_table()
        chosen = label or recorded_text(source, LABEL) or "label"
        source.require(chosen, "the label")
        metadata = {key: value for key in (TASK, RUNS) for _, value in source.metadata(key)[:1]}
        models = tuple(filter(None, (recorded_text(source, MODELS) or "").split("\n")))
        if not rows.num_rows:
            raise UserError(f"the table of the {whose} has no rows; give rows with labels and groups.")
        return cls(whose, rows.replace_schema_metadata(metadata), chosen, models)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def require(self, column: str) -> None:
        """Raise UserError where the table has no such column."""
        if column not in self.table.column_names:
            raise UserError(
                f"the table of the {self.whose} has no column {column!r}."
                + did_you_mean(column, self.table.column_names)
            )

    def texts(self, column: str) -> list[str]:
        """Return a column as text, in the spelling of the audit; missing values are empty."""
        self.require(column)
        return [spelling(value) or "" for value in self.table[column].to_pylist()]

    def identities(self, column: str) -> list[str]:
        """Return a column that identifies people or rows. Raises UserError where a value is missing.

        Whole numbers are the same in a column of integers and in one of floats, as pandas makes of it: 7 and 7.0.
        """
        values = [WHOLE_NUMBER.sub(r"\1", text) for text in self.texts(column)]
        if "" in values:
            raise UserError(
                f"{values.count(''):,} {self.whose} have no {column!r}, so their person is unknown; fill it in, "
                "or leave them out."
            )
        return values

    def recorded_classes(self) -> tuple[tuple[str, ...], str | None]:
        """Return the classes in the order of the outputs, and the positive one, that `predict` recorded; or () and None."""
        try:
            task = json.loads((self.table.schema.metadata or {})[TASK])
            return tuple(str(c) for c in task["classes"]), task.get("positive")
        except (KeyError, TypeError, ValueError):
            return (), None

    def select(self, columns: Sequence[str]) -> GuardedRows:
        """Return the rows with these columns alone."""
        kept = [name for name in self.table.column_names if name in columns]
        return GuardedRows(self.whose, self.table.select(kept), self.label, self.models)

    def with_model(self, name: str, decided: Sequence[str], run: Any = None) -> pa.Table:
        """Return the table with one more model; `run` is what produced its predictions (`predict`'s metadata)."""
        import pyarrow as pa

        if name in self.table.column_names:
            raise UserError(
                f"a model cannot be named {name!r}: the table of the {self.whose} has a column of that name."
            )
        table = self.table.append_column(name, pa.array(list(decided), pa.string()))
        if not run:
            return table
        metadata = dict(table.schema.metadata or {})
        runs = json.loads(metadata.get(RUNS, b"{}"))
        return table.replace_schema_metadata({**metadata, RUNS: json.dumps({**runs, name: run})})


@dataclass(frozen=True)
class CandidatePredictions:
    """A candidate's decisions in the order of some rows, with its name and what produced them, where known."""

    decided: np.ndarray
    name: str | None = None
    run: Any = None


def read_predictions(
    predicted: Any, rows: GuardedRows, classes: ClassNames, row_id: str
) -> CandidatePredictions:
    """Return what a candidate decided for some rows.

    Parameters
    ----------
    predicted
        An array in the order of the rows (`decided_classes`), or a predictions table of one model (a frame or a path), whose
        rows are matched by `row_id`.

    Raises
    ------
    UserError
        A row has no prediction or several, or a class is unknown.
    """
    is_path = isinstance(predicted, str | os.PathLike)
    if not is_path and not (hasattr(predicted, "columns") and hasattr(predicted, "__arrow_c_stream__")):
        return CandidatePredictions(decided_classes(predicted, classes, len(rows), rows.whose))
    source = open_source(predicted)
    models = (recorded_text(source, MODELS) or "").split("\n")
    if len(models) != 1 or not models[0]:
        raise UserError(
            "the predictions table has to record one model, as `fairpress.predict({'int8': …}, …)` writes it; predict the "
            "candidate alone, or give its predictions as an array."
        )
    table = source.plain_table()
    for column in (row_id, models[0]):
        source.require(column, "the predictions of the candidate")
    position = {spelling(v) or "": i for i, v in enumerate(table[row_id].to_pylist())}
    ids = rows.texts(row_id)
    missing = [r for r in ids if r not in position]
    if missing or len(position) != table.num_rows or len(position) != len(ids):
        raise UserError(
            f"the predictions table has {table.num_rows:,} rows, and the {len(ids):,} {rows.whose} need one each"
            + (f": {missing[0]!r} is missing" if missing else "")
            + "; predict the same part of the same data."
        )
    decided = np.array([spelling(v) or "" for v in table[models[0]].to_pylist()], dtype=object)
    ordered = decided[[position[r] for r in ids]]
    return CandidatePredictions(
        decided_classes(ordered, classes, len(rows), rows.whose), models[0], source.runs().get(models[0])
    )


def require_apart(loop: GuardedRows, verdict: GuardedRows, subject: str | None, row_id: str) -> str:
    """Return the column by which the two sets share nobody: the subject, or where there is none the row id.

    Raises UserError where they share one, or where neither column is in both tables, so that it cannot be verified.
    """
    columns = set(loop.table.column_names) & set(verdict.table.column_names)
    chosen = next((c for c in (subject, row_id) if c is not None and c in columns), None)
    if chosen is None:
        raise UserError(
            "that no row and no person is in both sets cannot be verified without a column that identifies them; name it "
            "with `subject=` (the person) or `row_id=`."
        )
    both = sorted(set(loop.identities(chosen)) & set(verdict.identities(chosen)))
    if both:
        kind = "people" if chosen == subject else "rows"
        raise UserError(
            f"{len(both):,} {kind}, such as {both[0]!r} ({chosen}), are among the rows of the loop and among those of the "
            "verdict: what a loop has optimized cannot be judged by the same rows; divide the rows by "
            f"{'person' if chosen == subject else 'row'} first."
        )
    return chosen
