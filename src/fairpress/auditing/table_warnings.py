"""Warnings about a whole table: copied rows, people with several rows, a poor baseline, near-duplicate group names.

Each is a sentence to show above all results. All checks are cheap: the first rows, then one pass over single columns.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Sequence
from typing import Any

import numpy as np

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.cells.duckdb_source import TableSource
from fairpress.auditing.cells.encoding import MISSING
from fairpress.auditing.options import AuditOptions
from fairpress.auditing.table_checks.copied_rows import copied_rows
from fairpress.auditing.table_checks.repeated_people import repeated_people
from fairpress.core.attribute import Attribute, names_of
from fairpress.core.values import near_equal, told_apart


def table_warnings(
    source: TableSource,
    cells: Cells,
    options: AuditOptions,
    models: Sequence[str],
    by: Sequence[Attribute],
) -> Iterator[str]:
    """Yield warnings about an audited table; the first of the models is the baseline."""
    yield from _worse_than_constant(source, cells, models[0])
    columns = {c for c in source.columns if any(c == m or c.startswith(f"{m}.score") for m in models)}
    yield from row_warnings(source, cells, options, columns, by, options.label)


def row_warnings(
    source: TableSource,
    cells: Cells,
    options: AuditOptions,
    columns: Collection[str],
    by: Sequence[Attribute],
    label: str = "",
) -> Iterator[str]:
    """Yield warnings about the groups and rows of a table; `columns` hold what models predict, or how they are judged."""
    subject, seed_column, row_id = options.subject, options.seed_column, options.row_id
    yield from _equal_groups(cells)
    copied = yield from _copied_files(source)
    if source.holds_cells or not source.counts_scores:
        return
    attributes = set(names_of(by))
    stacked = yield from _unnamed_columns(source, subject, seed_column, row_id)
    if subject is not None or stacked:
        return
    skipped = {label, row_id, seed_column, "subject", *columns, *attributes}
    sample = source.head([n for n in skipped if n is not None])
    repeated = yield from repeated_people(
        source,
        sample,
        [n for n in sample if n not in skipped],
        sorted(attributes & sample.keys()),
        seed_column,
    )
    if not repeated and not copied and seed_column is None and sample.rows:
        yield from copied_rows(source, round(float(cells.rows.sum())), sample, label, set(columns))


def _worse_than_constant(source: TableSource, cells: Cells, baseline: str) -> Iterator[str]:
    """Warn about a baseline that is less accurate than the best constant prediction."""
    total = cells.weight.sum()
    right = cells.weight[cells.correct(baseline)].sum() / total
    shares = np.bincount(cells.label, weights=cells.weight, minlength=len(cells.classes)) / total
    best = int(shares.argmax())
    if shares[best] == 1:  # right or wrong: there is no constant answer
        return
    if right >= shares[best] - 1e-12:
        return
    scored = baseline not in source.columns
    digits = 1 if shares[best] - right > 0.001 else 4
    check = (
        "check `positive=` and the score column"
        if scored
        else "check that its column and the label use the same class names"
    )
    yield (
        f"The baseline {baseline!r} is right in {100 * right:.{digits}f} % of the rows, less often than always "
        f"answering {cells.classes[best]!r} ({100 * shares[best]:.{digits}f} %): {check}."
    )


def _equal_groups(cells: Cells) -> Iterator[str]:
    for name, column in cells.attributes.items():
        for near_duplicates in near_equal(n for n in column.names if n != MISSING):
            rows = [
                f"{quoted} ({cells.rows[column.codes == column.names.index(n)].sum():,.0f} rows)"
                for n, quoted in zip(near_duplicates, told_apart(near_duplicates), strict=True)
            ]
            yield (
                f"Groups of {name!r} differ only in capitalization, blanks, a dot or characters that cannot be seen: "
                f"{' and '.join(rows)}. They are audited as separate groups; spell them the same way if they are one "
                "group."
            )


def _copied_files(source: TableSource) -> Generator[str, None, bool]:
    """Warn about files that have the same content; return whether there are any."""
    copied = source.copied_files()
    for paths in copied:
        yield (
            f"{', '.join(paths[:-1])} and {paths[-1]} have the same content, and their rows count as different people: "
            "if they are copies, intervals are too narrow. Name only one of them."
        )
    return bool(copied)


def _unnamed_columns(source: TableSource, subject: str | None, seed_column: str | None, row_id: str) -> Any:
    """Warn about conventional columns (seed, subject, row id) that were not named; return whether rows are repeated."""
    if seed_column is not None:
        return False
    if "seed" in source.columns and source.varies("seed"):
        yield (
            "The column 'seed' has several values. If runs are stacked, each example was counted once per run and the "
            "intervals are too narrow: name the column with `seed_column='seed'`."
        )
        return True
    if subject is None and "subject" in source.columns and source.repeats("subject"):
        yield (
            "The column 'subject' has people with several rows, counted here as different people: intervals are too "
            "narrow unless the column is named with `subject='subject'`."
        )
        return True
    if subject is None and row_id in source.columns and source.repeats(row_id):
        column = source.column(row_id)
        counts = source.read(
            f"SELECT count({column}) AS n, count(DISTINCT {column}) AS d FROM {source.relation}"
        ).to_pylist()[0]
        yield (
            f"The column {row_id!r} has {counts['d']:,} different values in {counts['n']:,} rows: examples that occur "
            "several times count as different people, and intervals are too narrow. Delete the copies, or name the "
            f"column of the runs with `seed_column=`, or audit with `subject={row_id!r}`."
        )
        return True
    return False
