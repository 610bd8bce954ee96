"""Tables on disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from fairpress.core.files import write_whole

if TYPE_CHECKING:
    import pyarrow as pa


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
