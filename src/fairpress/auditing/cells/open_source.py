"""Open a table for counting, wherever it is."""

from __future__ import annotations

from typing import Any

from fairpress.auditing.cells.duckdb_source import TableSource
from fairpress.auditing.cells.ibis_source import WarehouseSource, is_address, is_ibis


def open_source(table: Any) -> TableSource:
    """Return a source of a table; an Ibis table or an address is counted in its database. An open source is returned."""
    if isinstance(table, TableSource):
        return table
    return WarehouseSource(table) if is_address(table) or is_ibis(table) else TableSource(table)
