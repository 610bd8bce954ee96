"""What a use of a test set records: the counts of its groups, and digests of its rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.cells.counting import decisions
from fairpress.auditing.cells.duckdb_source import TableSource
from fairpress.auditing.inference.group_estimator import per_group
from fairpress.auditing.metrics.rates import LOSS_SIGN
from fairpress.auditing.monitoring.ledger import GroupCount
from fairpress.core.attribute import OVERALL, Attribute

MAX_ROWS = 5_000_000
"""Of a larger table no digest is taken: its rows would have to be in memory."""
_PIECE = 10_000
"""Rows whose texts are joined at once."""


def group_counts(
    cells: Cells, baseline: str, model: str, by: Sequence[str], metrics: Sequence[str]
) -> tuple[GroupCount, ...]:
    """Return the counts of all rows together (attribute "") and of each group with rows, per metric."""
    counts = []
    for attribute in (OVERALL, *map(Attribute.from_text, by)):
        grouping = cells.grouping(attribute)
        for metric in metrics:
            change = cells.indicator(model, metric) - cells.indicator(baseline, metric)
            inside = ~np.isnan(change)
            loss = LOSS_SIGN[metric] * change[inside]
            lost, gained, n = (
                per_group(w, grouping.index[inside], grouping.size)
                for w in (
                    cells.rows[inside] * (loss > 0),
                    cells.rows[inside] * (loss < 0),
                    cells.rows[inside],
                )
            )
            counts += [
                GroupCount(str(attribute), values, metric, float(lost[g]), float(gained[g]), float(n[g]))
                for g, values in enumerate(grouping.values)
                if n[g] > 0
            ]
    return tuple(counts)


def row_digests(
    source: TableSource,
    *,
    label: str,
    models: Sequence[str],
    by: Sequence[str],
    decide: Mapping[str, str],
    first: int,
) -> tuple[str | None, str | None, str | None]:
    """Return sha256 of the rows in their order: all of them, the `first` of them, and all without the predictions.

    None where rows have no order (a database, a table of cells) or are too many (`MAX_ROWS`); the second also where the
    table has fewer rows.
    """
    if source.holds_cells or not source.counts_scores:
        return None, None, None
    attributes = list(dict.fromkeys(part for b in by for part in b.split("*")))
    decided_by = decisions(source, models, decide)
    predictions = [c for m in models for c in (decided_by[m].among or (decided_by[m].column,))]
    rows = int(source.read(f"SELECT count(*) AS n FROM {source.relation}").value())
    if rows > MAX_ROWS:
        return None, None, None
    texts = _row_texts(source, [label, *attributes, *predictions])
    without = _row_texts(source, [label, *attributes])
    return _digest(texts), _digest(texts[:first]) if first <= rows else None, _digest(without)


def _row_texts(source: TableSource, columns: Sequence[str]) -> np.ndarray:
    """Return each row as one text, with separators that fields of a table hardly contain."""
    parts = ", ".join(f"coalesce({source.column(c)}::VARCHAR, chr(30))" for c in columns)
    return source.read(f"SELECT concat_ws(chr(31), {parts}) || chr(29) AS t FROM {source.relation}")[
        "t"
    ].values


def _digest(texts: np.ndarray) -> str:
    hasher = hashlib.sha256()
    for start in range(0, len(texts), _PIECE):
        hasher.update("".join(texts[start : start + _PIECE]).encode())
    return hasher.hexdigest()
