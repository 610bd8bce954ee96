"""Tables on disk."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fairpress.core.files import write_whole

if TYPE_CHECKING:
    import pyarrow as pa


def write_table(path: str | os.PathLike[str], table: pa.Table) -> None:
    """Write a table as Parquet, whole or not at all. Raises UserError when the place cannot be written."""
    import pyarrow.parquet as pq

    write_whole(path, lambda place: pq.write_table(table, place))
