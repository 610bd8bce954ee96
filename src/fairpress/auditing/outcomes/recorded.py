"""The outcome that a table records in its metadata, as readers of logs write it."""

from __future__ import annotations

import os
from typing import Any

from fairpress.auditing.cells.duckdb_source import TableSource
from fairpress.auditing.cells.open_source import open_source

OUTCOME = b"fairpress.outcome"
"""Metadata of a table: the text that `outcome.outcome_request` reads."""


def recorded_outcome(table: Any) -> str | None:
    """Return the outcome that a table records; None for a class, and for tables that hold no metadata."""
    is_source = isinstance(table, TableSource)
    is_file = isinstance(table, (str, os.PathLike)) and os.fspath(table).lower().endswith((".parquet", ".pq"))
    is_arrow = type(table).__module__.startswith("pyarrow")
    if not (is_source or is_file or is_arrow):
        return None
    source = table if is_source else open_source(table)
    if not source.single:
        return None
    return next((value.decode("utf-8", "replace") for _, value in source.metadata(OUTCOME)), None)
