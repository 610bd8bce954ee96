"""The options of a guard, checked and completed from its tables and its policy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from fairpress.auditing.options import AuditOptions
from fairpress.auditing.verdicts.margins import DEFAULT
from fairpress.core.attribute import names_of, parse_attributes
from fairpress.core.errors import UserError, listed
from fairpress.integrations.decided_classes import ClassNames
from fairpress.integrations.guarded_rows import GuardedRows

if TYPE_CHECKING:
    from fairpress.auditing.verdicts.policy import Policy

ERRORS = {"error": "error rate", "fnr": "false negative rate", "fpr": "false positive rate"}
"""The errors that a guard may watch, and their names."""


def fixed_by(policy: Policy | None) -> dict[str, Any]:
    """Return the options that a policy fixes. Raises UserError for weights and outcomes, which a guard does not know."""
    fixed = {} if policy is None else policy.options()
    if unknown := [name for name in ("weight", "outcome") if fixed.get(name) is not None]:
        raise UserError(
            f"a guard judges classes of rows that count once, and the policy names a `{unknown[0]}`; audit by it with "
            "`fairpress.audit`."
        )
    return fixed


def baseline_of(given: str | None, loop: GuardedRows, held_out: GuardedRows) -> str:
    """Return the baseline's column: as given or recorded. Raises UserError where a table lacks it, or none is known."""
    chosen = given or next(iter(loop.models or held_out.models), None)
    if chosen is None:
        raise UserError(
            "name the column of the baseline's predictions, such as `baseline='fp32'`; both tables need it."
        )
    for rows in (loop, held_out):
        rows.texts(chosen)
    return chosen


def class_names(
    given: Sequence[Any] | None, positive: Any, loop: GuardedRows, held_out: GuardedRows
) -> ClassNames:
    """Return the classes as given, as `predict` recorded them, or those of the labels.

    Raises UserError where a row has no label, or a label is none of the classes.
    """
    recorded, recorded_positive = loop.recorded_classes()
    chosen = recorded_positive if positive is None else str(positive)
    labels = {text for rows in (loop, held_out) for text in rows.texts(rows.label)}
    if "" in labels:
        raise UserError(f"some rows have no {loop.label!r}; give every row its label, or leave it out.")
    if isinstance(given, str) or (given is not None and not hasattr(given, "__iter__")):
        raise UserError(f"`classes=` is a list of names in the order of the outputs, not {given!r}.")
    if given is None and not recorded:
        return ClassNames.of_labels(sorted(labels), chosen)
    names = tuple(map(str, given)) if given is not None else recorded
    unknown = sorted(labels - set(names))
    if unknown:
        raise UserError(
            f"the label has the classes {listed(unknown)}, which `classes=` does not name; name all outputs of the model in "
            "their order."
        )
    return ClassNames(names, chosen, True)


def watched(given: Sequence[str] | str, options: AuditOptions) -> tuple[str, ...]:
    """Return the watched errors, by default the one that decides. Raises UserError for an unknown one."""
    chosen = (given,) if isinstance(given, str) else tuple(given or (options.harm,))
    if unknown := [error for error in chosen if error not in ERRORS]:
        raise UserError(f"`watch=` names some of {', '.join(ERRORS)}, not {unknown[0]!r}.")
    return chosen


def joined(names: Iterable[str]) -> str:
    """Return names as a list in text."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def absolute_margin(options: AuditOptions, watch: Sequence[str]) -> float:
    """Return the one margin of the watched errors. Raises UserError where they have several, or a relative one."""
    margins = [options.margin.get(error, options.margin[DEFAULT]) for error in watch]
    margin = margins[0]
    if len({m.value for m in margins}) > 1:
        raise UserError(
            f"a loop needs one number, and the errors of `watch=` ({', '.join(watch)}) have different margins; give "
            "one margin."
        )
    if any(m.relative for m in margins):
        raise UserError(
            "a loop needs one number, and a margin relative to the baseline's error is another in every group; give an "
            "absolute one, such as `margin=0.02`."
        )
    return float(margin.value)


def columns_used(options: AuditOptions, *tables: GuardedRows) -> list[str]:
    """Return the columns that the number of the loop depends on. Raises UserError where a table lacks one."""
    attributes = names_of(parse_attributes(options.by, tables[0].table.column_names))
    used = sorted({options.label, str(options.baseline), *options.keys.values(), *attributes})
    for rows in tables:
        for column in used:
            rows.require(column)
    return used
