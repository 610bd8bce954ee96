"""Changes of the distance of a preference from ½: near ½ and far from it, ties of 0 to 60 %, items of one template."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from simulated.found import DELTA, Found, Rng, found

from fairpress.auditing.cells.cells import Cells, EncodedTable
from fairpress.auditing.measure import Measure
from fairpress.auditing.outcomes.bounded_evidence import BoundedEvidence
from fairpress.auditing.outcomes.preference import PREFERENCE, PreferenceValues
from fairpress.auditing.outcomes.row_table import RowTable
from fairpress.auditing.statistics.folded_change import FoldedChange
from fairpress.core.attribute import Attribute

ALPHA = 0.05
CHANGED = 0.5
"""Share of the rows that the compressed model answers again."""


def preferences(rng: Rng, rows: int, mean: float, ties: float) -> np.ndarray:
    """Draw preferences minus ½ with this mean, of which a share is tied."""
    first = (1 - ties) / 2 + mean
    return np.asarray(rng.choice([0.5, -0.5, 0.0], rows, p=[first, 1 - ties - first, ties]))


def pair(rng: Rng, rows: int, before: float, after: float, ties: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw the preferences of both models, which agree in most rows."""
    x = preferences(rng, rows, before, ties)
    fresh = preferences(rng, rows, (after - (1 - CHANGED) * before) / CHANGED, ties)
    return x, np.where(rng.random(rows) < CHANGED, fresh, x)


def changes(
    rng: Rng, tables: int, rows: int, size: int, before: float, after: float, ties: float
) -> FoldedChange:
    """Return the change of each of many tables, as groups of one table; `size` rows of a template are alike in half."""
    total = tables * rows
    x, y = pair(rng, total, before, after, ties)
    template = np.arange(total) // size
    if size > 1:
        same_x, same_y = pair(rng, total // size + 1, before, after, ties)
        alike = rng.random(total) < 0.5
        x, y = np.where(alike, same_x[template], x), np.where(alike, same_y[template], y)
    group, ones = np.repeat(np.arange(tables), rows), np.ones(total)
    names = tuple(f"{t:06d}" for t in range(tables))
    keys = {"subject": template} if size > 1 else {}
    cells = Cells({"t": EncodedTable(names, group)}, group * 0, {}, ones, ones, ones, (), None, keys)
    table = RowTable("", cells, {}, {})
    values = PreferenceValues({"base": x, "int8": y}, table)
    evidence = BoundedEvidence(table, "base", values, {PREFERENCE: Measure("", "")}, False)
    change = evidence.loss("int8", "base", PREFERENCE, cells.grouping(Attribute.from_text("t")))
    assert isinstance(change, FoldedChange)
    return change


WORLDS = (
    (0.0, 0.02, "½ before, 2 points from it after"),
    (0.02, 0.04, "2 points from ½ before, 4 after"),
    (0.02, -0.04, "2 points from ½ before, 4 on the other side after"),
    (0.1, 0.12, "10 points from ½ before, 12 after"),
)


def levels(rng: Rng, size: int) -> Iterator[Found]:
    """The distance grows by just the margin: how often it is cleared, and how often called harm; coverage."""
    for before, after, world in WORLDS:
        for rows, template in ((200, 1), (1000, 1), (1000, 5)):
            for ties in (0.0, 0.6):
                x = changes(rng, size, rows, template, before, after, ties)
                setting = f"{world}; {rows:,} rows, {ties:.0%} ties" + (
                    f", {template} a template" if template > 1 else ""
                )
                cleared, harm = x.upper(1 - ALPHA) < DELTA, x.p_above(DELTA) < ALPHA
                low, high = x.interval()
                inside = (low <= DELTA) & (high >= DELTA)
                width = float(np.mean(high - low))
                yield found("False `no harm`, distance from ½", setting, cleared, ALPHA, at_least=False)
                yield found("False `harm`, distance from ½", setting, harm, ALPHA, at_least=False)
                yield found("Coverage, change of the distance", setting, inside, 0.93, width=width)
                plain = x.centre + 1.645 * x.difference.se < DELTA
                yield found("… cleared by the distance's own t", setting, plain, at_least=False)


def null(rng: Rng, size: int) -> Iterator[Found]:
    """The distance does not grow: how often a loss is called; and power where it does."""
    for before in (0.0, 0.02, 0.05):
        for ties in (0.0, 0.6):
            x = changes(rng, size, 1000, 1, before, -before, ties)
            shown = x.p_above(0.0) < ALPHA
            setting = (
                f"{100 * before:.0f} points from ½ before, as far on the other side after, {ties:.0%} ties"
            )
            yield found("False `loss`, distance from ½", setting, shown, ALPHA, at_least=False)
    for before, after in ((0.0, 0.1), (0.1, 0.16)):
        x = changes(rng, size, 1000, 1, before, after, 0.0)
        shown = x.p_above(0.0) < ALPHA
        setting = f"1,000 rows, {100 * before:.0f} points from ½ before, {100 * after:.0f} after"
        yield found("Power: `loss`, distance from ½", setting, shown, 0.8)
    x = changes(rng, size, 4000, 1, 0.1, 0.1, 0.0)
    yield found(
        "Power: `no harm`, distance from ½", "4,000 rows, 10 points from ½ both times", x.upper() < DELTA, 0.6
    )
