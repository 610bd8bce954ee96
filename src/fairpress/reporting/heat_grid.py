"""The grid of who pays: groups (or architectures) by compressed models, each cell the loss behind its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fairpress.auditing.result import Audit, Comparison, GroupComparison, Verdict
from fairpress.auditing.verdicts.wording import deciding_loss, group_name
from fairpress.reporting.formatting import SYMBOL, worst_loss_value
from fairpress.reporting.group_rows import SEVERITY

MAX_ROWS = 60


@dataclass(frozen=True)
class GridCell:
    """A loss as a table has it, with the verdict that sets its colour; `error` is named where it is not the deciding one."""

    text: str
    verdict: Verdict
    error: str = ""

    @property
    def sign(self) -> str:
        return SYMBOL[self.verdict]


@dataclass(frozen=True)
class GridRow:
    """A group with its number of people, or an architecture without; `cells` by column, None where there is no loss."""

    name: str
    n: float | None
    cells: tuple[GridCell | None, ...]

    @property
    def assessed(self) -> bool:
        return any(c is not None and c.verdict != "not_estimable" for c in self.cells)


@dataclass(frozen=True)
class HeatGrid:
    """Rows by compressed models; `left_out` groups are not among them, the least severe ones."""

    columns: tuple[str, ...]
    rows: tuple[GridRow, ...]
    of_groups: bool
    left_out: int = 0


def heat_grid(audits: Sequence[tuple[str, Audit]]) -> HeatGrid | None:
    """Return the grid of some audits with labels: of one, its groups; of several, the worst assessed group of each.

    None for one audit of one model, whose forest plot has the same numbers with their intervals.
    """
    compared = [(label, a) for label, a in audits if a.comparisons]
    if not compared or (len(compared) == 1 and len(compared[0][1].comparisons) == 1):
        return None
    if len(compared) > 1:
        columns = tuple(dict.fromkeys(c.compressed for _, a in compared for c in a.comparisons))
        return HeatGrid(columns, tuple(_row_of(label, a, columns) for label, a in compared), False)
    comparisons = compared[0][1].comparisons
    groups = [[c.overall, *(g for a in c.attributes for g in a.groups)] for c in comparisons]
    rows = [
        GridRow(group_name(of_models[0].values), of_models[0].n, tuple(map(_cell, of_models)))
        for of_models in zip(*groups, strict=True)
    ]
    kept = rows if len(rows) <= MAX_ROWS else [rows[0], *sorted(rows[1:], key=_severity)[: MAX_ROWS - 1]]
    return HeatGrid(tuple(c.compressed for c in comparisons), tuple(kept), True, len(rows) - len(kept))


def _row_of(label: str, audit: Audit, columns: Sequence[str]) -> GridRow:
    by_name = {c.compressed: c for c in audit.comparisons}
    return GridRow(label, None, tuple(_worst(by_name[n]) if n in by_name else None for n in columns))


def _worst(comparison: Comparison) -> GridCell | None:
    """Return the largest loss of an assessed group, with the verdict of the model."""
    assessed = [
        g
        for a in comparison.attributes
        for g in a.groups
        if g.verdict != "not_estimable" and deciding_loss(g).estimate.value is not None
    ]
    if not assessed:
        return None
    cell = _cell(max(assessed, key=worst_loss_value))
    return GridCell(cell.text, comparison.verdict, cell.error)


def _cell(group: GroupComparison) -> GridCell:
    loss = deciding_loss(group)
    # Of a group that was not assessed no number is drawn: it would be the most striking of all.
    if group.verdict == "not_estimable" or loss.estimate.value is None:
        return GridCell("", "not_estimable")
    error = "" if loss.metric == group.losses[0].metric else loss.measure.short
    return GridCell(loss.measure.signed(loss.estimate.value), group.verdict, error)


def _severity(row: GridRow) -> tuple[int, ...]:
    return tuple(sorted(SEVERITY.index(c.verdict) for c in row.cells if c is not None))
