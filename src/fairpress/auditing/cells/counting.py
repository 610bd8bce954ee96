"""From a table and what is asked of it to its cells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.cells.duckdb_source import Decision, TableSource, parse_decision
from fairpress.auditing.cells.encoding import build
from fairpress.auditing.cells.positive_class import TASK, recorded_positive
from fairpress.auditing.cells.score_columns import check_scores
from fairpress.core.errors import UserError


def count(
    source: TableSource,
    *,
    label: str,
    models: Sequence[str],
    by: Sequence[str],
    positive: Any = None,
    decide: Mapping[str, str] | None = None,
    weight: str | None = None,
    bins: Mapping[str, Sequence[float]] | None = None,
    missing: str = "group",
    keys: Mapping[str, str] | None = None,
    require_explicit_positive: bool = True,
) -> Cells:
    """Return the cells of a table; see `run.audit` for the arguments.

    `keys` names the columns of subject, seed, row. `asks`: whether scores that decide are refused where nothing but a
    convention says which class they speak of.
    """
    keys = keys or {}
    if len(set(models)) < len(models):
        raise UserError("a model is named twice; compare the baseline with other columns.")
    if label in models:
        raise UserError(f"the label {label!r} is not a model; name the column that a model predicted.")
    attributes = tuple(dict.fromkeys(part for b in by for part in b.split("*")))
    source.require(label, "the label")
    for name in attributes:
        source.require(name, "a sensitive attribute")
    roles = {
        "subject": "the subject",
        "seed": "the seed column",
        "row": "the row id, which tells equal rows of different seeds",
    }
    for role, name in keys.items():
        source.require(name, roles[role])
        if source.holds_cells:
            raise UserError(f"{source.name} holds cells, which know no {role}; audit the rows themselves.")
    if label in attributes:
        raise UserError(f"the label {label!r} cannot be a sensitive attribute too.")
    predicted = [name for name in attributes if name in models]
    if predicted:
        raise UserError(
            f"{predicted[0]!r} is a model's predictions and cannot be a sensitive attribute: of rows chosen by what a model "
            "said, it can only get worse, or only better."
        )
    bin_edges = {name: _bin_edges(name, edges, attributes) for name, edges in (bins or {}).items()}
    decided_by = decisions(source, models, decide or {})
    check_scores(source, models, decide or {})
    cell_counts = source.count(
        list(dict.fromkeys([label, *attributes, *keys.values()])), decided_by, weight=weight, bins=bin_edges
    )
    # Of files joined with their headers one row holds the names of the columns.
    if any(str(v).removeprefix("\ufeff") in source.columns for v in cell_counts.columns[label].values):
        source.refuse_repeated_header()
    return build(
        cell_counts,
        label=label,
        attributes=attributes,
        decision_columns={m: d.column for m, d in decided_by.items() if d.sign},
        positive=positive,
        recorded=recorded_positive(source.metadata(TASK)),
        keys=keys,
        missing=missing,
        source_name=source.name,
        require_explicit_positive=require_explicit_positive,
    )


def _bin_edges(name: str, edges: Any, attributes: Sequence[str]) -> list[float]:
    try:
        edges = [float(e) for e in ([edges] if isinstance(edges, (int, float, str)) else edges)]
    except (TypeError, ValueError):
        raise UserError(f"the bins of {name!r} are a list of numbers, such as {name}=25,45.") from None
    if name not in attributes:
        raise UserError(f"--bins names {name!r}, which is not among the sensitive attributes of --by.")
    if not all(math.isfinite(e) for e in edges):
        raise UserError(f"the bins of {name!r} need finite edges, such as {name}=25,45.")
    if not edges or list(edges) != sorted(set(edges)):
        raise UserError(f"the bins of {name!r} need ascending edges, such as {name}=25,45.")
    return list(edges)


def decisions(source: TableSource, names: Sequence[str], decide: Mapping[str, str]) -> dict[str, Decision]:
    """Return how the class of each model comes from the table's columns.

    As told by `decide`; else from the column of the model's name; else from ``M.score`` at 0.5; else the class with the
    largest of ``M.score.<class>``.
    """
    unknown = [m for m in decide if m not in names]
    if unknown:
        raise UserError(
            f"--decide names {unknown[0]!r}, which is neither the baseline nor a compressed model."
        )
    decisions_by_model = {}
    for name in names:
        scores = tuple(c for c in source.columns if c.startswith(f"{name}.score."))
        if name in decide:
            decisions_by_model[name] = parse_decision(decide[name], name)
        elif name in source.columns:
            decisions_by_model[name] = Decision(name)
        elif f"{name}.score" in source.columns:
            decisions_by_model[name] = Decision(f"{name}.score", ">=", 0.5)
        elif len(scores) > 1:
            decisions_by_model[name] = Decision(name, among=scores)
        else:
            decisions_by_model[name] = Decision(name)
    return decisions_by_model
