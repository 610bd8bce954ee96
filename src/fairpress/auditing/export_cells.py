"""Count a predictions table into cells and write them as a table."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fairpress.core.public_function import public_function

if TYPE_CHECKING:
    import pyarrow as pa

    from fairpress.auditing.options import AuditOptions


@public_function
def export_cells(
    table: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    label: str = "label",
    baseline: str,
    compressed: Sequence[str] | str = (),
    by: Sequence[str] | str,
    positive: str | float | None = None,
    decide: Mapping[str, str] | None = None,
    weight: str | None = None,
    bins: Mapping[str, Sequence[float]] | None = None,
    missing: str = "group",
    force: bool = False,
) -> pa.Table:
    """Count a predictions table into cells, and write them as Parquet where a path is given.

    The table of cells can be audited in place of the rows, alone or with those of other sites:
    ``audit([cells_a, cells_b], …)``. Arguments are those of `audit`. An existing file that is not such a table is
    replaced only with `force`.
    """
    options = {name: value for name, value in locals().items() if name not in ("table", "path", "force")}
    from fairpress.auditing.options import AuditOptions

    return export_table(table, AuditOptions(**options), path, force=force)


def export_table(
    table: Any, options: AuditOptions, path: str | os.PathLike[str] | None = None, *, force: bool = False
) -> pa.Table:
    """Return the cells of a table, and write them as Parquet where a path is given; see `export_cells`.

    Only options of counting are used. Raises UserError for a table that cannot be counted.
    """
    from fairpress.auditing.cells.counting import count
    from fairpress.auditing.cells.export import cells_table
    from fairpress.auditing.cells.open_source import open_source
    from fairpress.auditing.table_metadata import with_records_of
    from fairpress.core.attribute import parse_attributes
    from fairpress.runtime.predictions_file import write_table

    source = open_source(table)
    models = (*((options.baseline,) if options.baseline is not None else ()), *(options.compressed or ()))
    cells = count(
        source,
        label=options.label,
        models=models,
        by=parse_attributes(options.by, source.columns),
        positive=options.positive,
        decide=options.decide,
        weight=options.weight,
        bins=options.bins,
        missing=options.missing,
    )
    exported = with_records_of(source, cells_table(cells, options.label, options.weight is not None))
    if path is not None:
        write_table(path, exported, kind="cells", force=force)
    return exported
