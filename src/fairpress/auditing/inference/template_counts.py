"""Count the rows of counterfactual templates: rows that share a value of a column and should differ in identity alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.cells.counting import decisions
from fairpress.auditing.cells.duckdb_source import TableSource
from fairpress.auditing.cells.encoding import build
from fairpress.auditing.options import AuditOptions
from fairpress.core.attribute import Attribute, names_of
from fairpress.core.errors import UserError
from fairpress.core.values import spelling


@dataclass(frozen=True)
class TemplateCounts:
    """Combinations of template, groups, label and predictions.

    `template` is the number of each combination's template, `column` holds them; `without` counts the rows that have none.
    """

    cells: Cells
    template: np.ndarray
    column: str
    without: int


def count_templates(
    source: TableSource,
    cells: Cells,
    options: AuditOptions,
    models: Sequence[str],
    attributes: Sequence[Attribute],
) -> TemplateCounts | None:
    """Count the templates of the option `counterfactual`; None without it.

    Raises
    ------
    UserError
        The column does not suit: it is absent, an audited attribute, the label or a model, or the table holds cells; or
        rows are weighted, or belong to people or seeds (people may be the templates).
    """
    column = options.counterfactual
    if column is None:
        return None
    source.require(column, "the template of counterfactual pairs")
    names = names_of(attributes)
    if column in names:
        raise UserError(
            f"`counterfactual={column!r}` is an audited attribute, in which the rows of a pair have to differ; name the "
            "column whose value two rows share if they differ in identity alone, such as the id of a template."
        )
    if column == options.label or column in models:
        raise UserError(
            f"`counterfactual={column!r}` is the label or a model; name the column whose value two rows share if they "
            "differ in identity alone, such as the id of a template."
        )
    if source.holds_cells:
        raise UserError(
            f"{source.name} holds cells, which do not record a template; audit the table of rows."
        )
    if len(models) < 2:
        raise UserError("`counterfactual=` compares two models; name a compressed one with `compressed=`.")
    for option, name in (
        ("weight", options.weight),
        ("subject", options.subject),
        ("seed_column", options.seed_column),
    ):
        if name is not None and (option, name) != ("subject", column):
            raise UserError(
                f"counterfactual pairs are counted, and inferred over templates; leave out `{option}={name!r}`, or audit "
                "the pairs on their own."
            )
    decided = decisions(source, models, options.decide)
    counted = source.count(list(dict.fromkeys([options.label, *names, column])), decided, bins=options.bins)
    texts = [spelling(v) for v in counted.columns[column].values]
    names_of_templates = sorted({t for t in texts if t is not None})
    if not names_of_templates:
        raise UserError(f"{source.name}: the column {column!r} of templates is empty.")
    number = {name: i for i, name in enumerate(names_of_templates)}
    template = np.array([-1 if t is None else number[t] for t in texts])[counted.columns[column].codes]
    lines = build(
        counted,
        label=options.label,
        attributes=names,
        decision_columns={m: d.column for m, d in decided.items() if d.sign},
        positive=cells.positive,
        recorded=None,
        keys={},
        missing=options.missing,
        source_name=source.name,
        require_explicit_positive=False,
    )
    known = template >= 0
    return TemplateCounts(lines.select(known), template[known], column, int(counted.rows[~known].sum()))
