"""Predictions tables on disk, and the description of their task."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fairpress.core.output import write_file

if TYPE_CHECKING:
    import pyarrow as pa


TASK_KEY = "fairpress.task"
RUNTIMES_KEY = "fairpress.runtimes"
OUTCOME_KEY = "fairpress.outcome"
"""The outcome by which `audit` judges the table, where the models predict no classes."""


def task_json(label: str, classes: Sequence[str], positive: str | None) -> str:
    """Return the task of a predictions table as JSON: label, classes, and the positive class that scores refer to."""
    return json.dumps({"label": label, "classes": list(classes), "positive": positive})


def write_table(
    path: str | os.PathLike[str], table: pa.Table, *, kind: str = "predictions", force: bool = False
) -> None:
    """Write a table as Parquet, atomically.

    Raises UserError if the path cannot be written, or is a file that fairpress did not write and `force` is false.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    write_file(path, memoryview(sink.getvalue()), kind=kind, force=force)
