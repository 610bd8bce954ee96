"""Predictions tables on disk, and what they say of their task."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fairpress.core.files import write_whole

if TYPE_CHECKING:
    import pyarrow as pa


TASK_KEY = "fairpress.task"


def task_json(label: str, classes: Sequence[str], positive: str | None) -> str:
    """Return what a predictions table says of its task: the label, its classes, and the one that scores are of."""
    return json.dumps({"label": label, "classes": list(classes), "positive": positive})


def write_table(path: str | os.PathLike[str], table: pa.Table) -> None:
    """Write a table as Parquet, whole or not at all. Raises UserError when the place cannot be written."""
    import pyarrow.parquet as pq

    write_whole(path, lambda place: pq.write_table(table, place))


def is_predictions(path: Path) -> bool:
    """Return whether a file looks like a predictions table that fairpress wrote: by its first three columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if path.suffix == ".parquet":
            names = pq.read_schema(path).names
        else:
            with path.open(encoding="utf-8") as file:
                names = [n.strip('"') for n in file.readline().strip().split(",")]
    except (OSError, ValueError, pa.ArrowException):
        return False
    return list(names[:3]) == ["row_id", "subject", "label"]
