"""Notes of an audit: what was assumed, left out, or could not be assessed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.cells.encoding import MISSING
from fairpress.auditing.cells.positive_class import PositiveClass, positive_note
from fairpress.auditing.inference.group_estimator import GroupEstimator, per_group
from fairpress.auditing.inference.seed_estimator import SeedGroupEstimator
from fairpress.auditing.options import AuditOptions
from fairpress.auditing.statistics.two_way import ENOUGH_SEEDS
from fairpress.auditing.verdicts.wording import group_name, name_groups
from fairpress.core.attribute import Attribute

MAX_NAMES = 5

ONE_LOOK = (
    "This audit is for one look: repeated after more rows or for another release, it clears a loss of the margin more often "
    "than it states. `fairpress audit --monitor LEDGER.json` accounts for every look."
)
"""Measured (`benchmarks/simulated/monitoring.py`): .08 to .10 for .05 after up to six looks, .36 after ten releases."""

_CORRECTION = {
    "bh": "Benjamini and Hochberg's correction controls the false discovery rate, not the family-wise error rate.",
    "by": "Benjamini and Yekutieli's correction controls the false discovery rate under any dependence.",
}


def notes(
    cells: Cells,
    evidence: GroupEstimator,
    by: Sequence[Attribute],
    options: AuditOptions,
    scores: Sequence[str],
) -> Iterator[str]:
    """Yield the notes of an audit of the attributes `by`; `scores` are the notes on score columns."""
    chosen = positive_note(PositiveClass(cells.positive, cells.positive_from), cells.classes)
    if chosen is not None:
        yield chosen
    if len(cells.classes) > 2:
        rest = (
            f"rates compare {cells.positive!r} with all other classes; accuracy and flips use all classes."
            if cells.positive is not None
            else "only accuracy and flips are audited, because no positive class was named."
            if not options.judges_classes
            else "accuracy, flips and the recall of every class are audited."
        )
        yield f"The label has {len(cells.classes)} classes; {rest}"
        if options.judges_classes:
            yield from _classes(cells)
    if options.weight is not None:
        yield f"Rows are weighted by {options.weight!r}, scaled to a mean of one; every n is a weighted number of rows."
    if options.subject is not None:
        yield (
            f"{evidence.table_rows:,} rows belong to {evidence.subjects:,} people ({options.subject!r}), the unit of every "
            "interval."
        )
    if isinstance(evidence, SeedGroupEstimator):
        unit = "rows" if options.subject is None else "people"
        yield (
            f"Intervals treat both the {evidence.seeds} training seeds and the {unit} as random, so they are about "
            "the recipe."
        )
        if evidence.seeds < ENOUGH_SEEDS:
            yield (
                f"With fewer than {ENOUGH_SEEDS} seeds, a bound is the sum of one for the {unit} and one for the seeds, "
                f"which {evidence.seeds} seeds leave wide: little can be shown or ruled out. More seeds help most."
            )
    if options.correction in _CORRECTION:
        yield _CORRECTION[options.correction]
    if options.family == "study":
        yield "Findings are corrected over all compressed models together."
    yield from _missing_values(cells, evidence)
    if cells.positive is not None:
        yield from _groups_left_out(cells, by)
    yield from scores


def _classes(cells: Cells) -> Iterator[str]:
    """Name the classes that nobody has, and those that are judged together because they are rare."""
    unlabelled = sorted(set(range(len(cells.classes))) - set(cells.label.tolist()))
    if unlabelled:
        names = name_groups([cells.classes[c] for c in unlabelled])
        yield f"Predicted, but never the label, and therefore without a recall: {names}."
    if cells.rare_classes:
        yield (
            "Too few rows to be assessed even over all people, therefore also judged together: "
            f"{name_groups(cells.rare_classes)}. A rare class can lose without moving all of them."
        )


def _missing_values(cells: Cells, evidence: GroupEstimator) -> Iterator[str]:
    for name, column in cells.attributes.items():
        if MISSING in column.names:
            rows = cells.rows[column.codes == column.names.index(MISSING)].sum() / evidence.repeats
            if rows:
                yield f"{name!r} is missing in {rows:,.0f} rows; they form a separate group, {MISSING}."


def _groups_left_out(cells: Cells, by: Sequence[Attribute]) -> Iterator[str]:
    """Name the groups without positives or negatives: a missing group must not make a gap look smaller."""
    y = cells.binary(cells.label)
    for attribute in by:
        grouping = cells.grouping(attribute)
        for value, rows_name, gap in ((1, "positives", "TPR"), (0, "negatives", "FPR")):
            lacking = np.flatnonzero(per_group(cells.rows * (y == value), grouping.index, grouping.size) == 0)
            if len(lacking):
                names = ", ".join(group_name(grouping.values[int(g)]) for g in lacking[:MAX_NAMES])
                more = f" and {len(lacking) - MAX_NAMES} more" if len(lacking) > MAX_NAMES else ""
                yield (
                    f"Gaps of the {gap} by {str(attribute)!r} are over {grouping.size - len(lacking)} of {grouping.size} "
                    f"groups: {names}{more} {'has' if len(lacking) == 1 else 'have'} no {rows_name}. The gap does not "
                    "cover them."
                )
