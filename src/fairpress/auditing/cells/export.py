"""Cells as a table, which a site can share instead of its rows. Cells of several sites add up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.cells.duckdb_source import ROWS, WEIGHT, WEIGHT_SQUARES
from fairpress.auditing.cells.positive_class import PositiveClass, task_metadata

if TYPE_CHECKING:
    import pyarrow as pa


def cells_table(cells: Cells, label: str, weighted: bool) -> pa.Table:
    """Return the cells as a table that can be audited in place of the rows.

    Columns: the label, each sensitive attribute, a column of classes per model, and ``fairpress.rows``, the number
    of rows of each line; with weights also their sums and the sums of their squares. The lines are sorted. The metadata
    records the task as `predict` does, with the positive class unless it was chosen by alphabetical order alone.
    """
    import pyarrow as pa

    classes = np.array(cells.classes)
    columns: dict[str, pa.Array] = {label: pa.array(classes[cells.label])}
    for name, column in cells.attributes.items():
        columns[name] = pa.array(np.array(column.names)[column.codes])
    for name, codes in cells.predicted.items():
        columns[name] = pa.array(classes[codes])
    measures = {ROWS: cells.rows}
    if weighted:
        measures |= {
            WEIGHT: cells.weight / cells.weight_scale,
            WEIGHT_SQUARES: cells.weight_squares / cells.weight_scale**2,
        }
    table = pa.table({**columns, **{k: pa.array(v) for k, v in measures.items()}})
    summed = table.group_by(list(columns)).aggregate([(k, "sum") for k in measures])
    summed = summed.rename_columns([*columns, *measures])
    chosen = PositiveClass(cells.positive, cells.positive_from)
    positive = None if chosen.doubtful(cells.classes) else cells.positive
    ordered = summed.sort_by([(k, "ascending") for k in columns])
    none = cells.positive is None and len(cells.classes) == 2
    return ordered.replace_schema_metadata(task_metadata(label, cells.classes, positive, no_positive=none))
