"""Names of the files in a task's result, and functions to read and write them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from fairpress.core.errors import FairpressError
from fairpress.store.local import Entry, Store

if TYPE_CHECKING:
    import pyarrow as pa

PREDICTIONS, FACTS, MODELS = "predictions.parquet", "facts.json", "models.json"


def read_entry(store: Store, key: str) -> Entry:
    """Return the entry of a finished task; raise FairpressError if it no longer exists."""
    entry = store.get(key)
    if entry is None:
        # Another process may be recomputing it.
        with store.lock(key):
            entry = store.get(key)
    if entry is None:
        raise FairpressError(
            f"the result {key[:12]}, an input of this task, no longer exists; run the study again."
        )
    return entry


def read_table(entry: Entry) -> pa.Table:
    """Return the joined predictions of a finished join task."""
    import pyarrow.parquet as pq

    return pq.read_table(io.BytesIO(entry.files[PREDICTIONS]))


def parquet_bytes(table: pa.Table) -> bytes:
    """Return a table as the bytes of a Parquet file."""
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()
