"""Tables of an audit of many classes: each pair of class and group, worst first; means over classes; confusions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fairpress.auditing.class_recall import class_name, class_of
from fairpress.auditing.class_result import BeforeAfter, Confused
from fairpress.auditing.result import Comparison, Loss, Values
from fairpress.reporting.group_rows import SEVERITY, short_name

MAX_ROWS = 200
"""Rows of the report's table; audit.json has all."""
MAX_CONFUSED = 20


@dataclass(frozen=True)
class ClassRow:
    """A class in a group, with its judged loss; `recall` and `precision` are None for the rare classes together."""

    name: str
    group: str
    values: Values
    loss: Loss
    recall: BeforeAfter | None
    precision: BeforeAfter | None


def class_rows(comparison: Comparison) -> list[ClassRow]:
    """Return every pair of class and group that has rows, everybody included, worst first; empty without classes."""
    if comparison.classes is None:
        return []
    rates = {(tuple(g.values.items()), c.name): c for g in comparison.classes.groups for c in g.classes}
    rows = []
    for group in (comparison.overall, *(g for a in comparison.attributes for g in a.groups)):
        for loss in group.class_losses:
            if not loss.estimate.estimable:
                continue
            one = rates.get((tuple(group.values.items()), class_of(loss.metric) or ""))
            rows.append(
                ClassRow(
                    class_name(loss.metric),
                    short_name(comparison, group.values),
                    group.values,
                    loss,
                    None if one is None else one.recall,
                    None if one is None else one.precision,
                )
            )
    return sorted(rows, key=_rank)


def most_confused(comparison: Comparison) -> list[Confused]:
    """Return the confusions of all people that changed most, the largest increase first."""
    if comparison.classes is None:
        return []
    pairs = [c for c in comparison.classes.groups[0].confusion if c.label != c.predicted]
    changed = sorted((c for c in pairs if c.after > c.before), key=lambda c: c.before - c.after)
    return changed[:MAX_CONFUSED]


def means(comparison: Comparison) -> Iterator[tuple[str, int, BeforeAfter, BeforeAfter]]:
    """Yield each group, its number of classes, macro recall and macro F1."""
    for g in comparison.classes.groups if comparison.classes is not None else ():
        yield short_name(comparison, g.values), g.present, g.macro_recall, g.macro_f1


def _rank(row: ClassRow) -> tuple[int, float]:
    shown = row.loss.verdict in ("harm", "loss")
    size = row.loss.estimate.value if shown else row.loss.upper
    return SEVERITY.index(row.loss.verdict), -(size or 0.0)
