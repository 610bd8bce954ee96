"""Names of the files in a task's result, and how they are read and written."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from fairpress.core.errors import FairpressError
from fairpress.store.local import Entry, Store

if TYPE_CHECKING:
    import pyarrow as pa

PREDICTIONS, FACTS, MODELS = "predictions.parquet", "facts.json", "models.json"


def read_entry(store: Store, key: str) -> Entry:
    """Return a finished task's entry. Raises FairpressError when it is gone."""
    entry = store.get(key)
    if entry is None:
        # Another process may be making it again just now.
        with store.lock(key):
            entry = store.get(key)
    if entry is None:
        raise FairpressError(f"the result {key[:12]} that this step reads is gone; run the study again.")
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
