"""Count a table into cells, after checking the columns and options."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.cells.decision import Decision, parse_decision
from fairpress.auditing.cells.duckdb_source import TableSource
from fairpress.auditing.cells.encoding import build
from fairpress.auditing.cells.positive_class import TASK, recorded_task
from fairpress.auditing.cells.relation import is_plain
from fairpress.auditing.cells.score_columns import check_scores, score_columns
from fairpress.core.attribute import Attribute, names_of
from fairpress.core.errors import UserError


def count(
    source: TableSource,
    *,
    label: str,
    models: Sequence[str],
    by: Sequence[Attribute],
    positive: Any = None,
    decide: Mapping[str, str] | None = None,
    weight: str | None = None,
    bins: Mapping[str, Sequence[float]] | None = None,
    missing: str = "group",
    keys: Mapping[str, str] | None = None,
    require_explicit_positive: bool = True,
    warned: bool = False,
) -> Cells:
    """Return the cells of a table; see `audit.audit` for the arguments.

    `keys` maps the roles ``"subject"``, ``"seed"`` and ``"row"`` to columns. With `require_explicit_positive`, thresholded
    scores are refused when only a convention determines the class they belong to. With `warned`, `table_warnings` follow,
    which look at all columns: a small CSV file is read once for both.
    """
    keys = keys or {}
    if len(set(models)) < len(models):
        raise UserError("a model is named twice; name each column once in `baseline=` and `compressed=`.")
    if label in models:
        raise UserError(f"the label {label!r} is not a model; name the column that a model predicted.")
    attributes = names_of(by)
    source.require(label, "the label")
    for name in attributes:
        source.require(name, "a sensitive attribute")
    roles = {
        "subject": "the subject",
        "seed": "the seed column",
        "row": "the row id, which identifies the same row under different seeds",
    }
    for role, name in keys.items():
        source.require(name, roles[role])
        if source.holds_cells:
            raise UserError(
                f"{source.name} holds cells, which do not record a {role}; audit the table of rows."
            )
    if label in attributes:
        raise UserError(f"the label {label!r} cannot be a sensitive attribute too.")
    predicted = [name for name in attributes if name in models]
    if predicted:
        raise UserError(
            f"{predicted[0]!r} holds a model's predictions and cannot be a sensitive attribute: in a group of equal "
            "predictions, changes can go in one direction only."
        )
    bin_edges = {name: bin_edges_of(name, edges, attributes) for name, edges in (bins or {}).items()}
    decided_by = decisions(source, models, decide or {})
    if warned and "subject" not in keys and source.counts_scores and not source.holds_cells:
        scores = [c for m in models for c in score_columns(source, m)]
        source.hold([label, *attributes, *keys.values(), *scores, *(d.column for d in decided_by.values())])
    _keep_scores(source, [label, *attributes, *models, *keys.values()], decided_by, weight, bin_edges)
    check_scores(source, models, decide or {})
    cell_counts = source.count(
        list(dict.fromkeys([label, *attributes, *keys.values()])),
        decided_by,
        weight=weight,
        bins=bin_edges,
        merge=not {"seed", "row"} <= keys.keys(),  # complete runs have each row once under each seed
    )
    # Where files were concatenated with their headers, a row contains the column names.
    if any(str(v).removeprefix("\ufeff") in source.columns for v in cell_counts.columns[label].values):
        source.refuse_repeated_header()
    return build(
        cell_counts,
        label=label,
        attributes=attributes,
        decision_columns={m: d.column for m, d in decided_by.items() if d.sign},
        positive=positive,
        recorded=recorded_task(source.metadata(TASK)),
        keys=keys,
        missing=missing,
        source_name=source.name,
        require_explicit_positive=require_explicit_positive,
    )


def _keep_scores(
    source: TableSource,
    names: Sequence[str],
    decided_by: Mapping[str, Decision],
    weight: str | None,
    bins: Mapping[str, Sequence[float]],
) -> None:
    """Keep the columns of an audit in memory if it has scores, for which the table is read many times."""
    scores = [c for model in decided_by for c in score_columns(source, model)]
    scores += [d.column for d in decided_by.values() if d.sign]
    if not scores or source.holds_cells or not source.counts_scores:
        return
    numbers = [*scores, *bins, *([] if weight is None else [weight])]
    for name in dict.fromkeys(numbers):
        if name in source.columns and not is_plain(source.columns[name]):
            return
    source.keep([n for n in names if n not in bins], numbers)


def bin_edges_of(name: str, edges: Any, attributes: Sequence[str]) -> list[float]:
    try:
        edges = [float(e) for e in ([edges] if isinstance(edges, (int, float, str)) else edges)]
    except (TypeError, ValueError):
        raise UserError(
            f"the bins of {name!r} are a list of numbers, such as `bins={{{name!r}: [25, 45]}}`."
        ) from None
    if name not in attributes:
        raise UserError(f"`bins=` names {name!r}, which is not a sensitive attribute; add it to `by=`.")
    if not all(math.isfinite(e) for e in edges):
        raise UserError(f"the bins of {name!r} need finite edges, such as `bins={{{name!r}: [25, 45]}}`.")
    if not edges or list(edges) != sorted(set(edges)):
        raise UserError(f"the bins of {name!r} need ascending edges, such as `bins={{{name!r}: [25, 45]}}`.")
    return list(edges)


def decisions(source: TableSource, names: Sequence[str], decide: Mapping[str, str]) -> dict[str, Decision]:
    """Return how each model's predicted class follows from the table's columns.

    The rule in `decide` comes first; then the column with the model's name; then ``M.score`` at a threshold of 0.5; then the
    class with the largest ``M.score.<class>``.
    """
    unknown = [m for m in decide if m not in names]
    if unknown:
        raise UserError(
            f"`decide=` names {unknown[0]!r}, which is neither the baseline nor a compressed model."
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
