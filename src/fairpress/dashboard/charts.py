"""The chart of losses on the page of a study."""

from __future__ import annotations

from functools import lru_cache

from fairpress.auditing.result import Verdict
from fairpress.auditing.verdicts.wording import metric_name
from fairpress.dashboard.study_reader import ComparisonRow
from fairpress.reporting.forest_plot import MAX_GROUPS, ForestRow, forest_of
from fairpress.reporting.palette import self_themed


@lru_cache(maxsize=128)
def drawn(rows: tuple[ComparisonRow, ...], group: str, margin: float) -> str:
    """Return the losses in one group as SVG, one row per comparison, at most 60; light or dark as the reader prefers."""
    lines = [
        # Over all people, `upper` is that of another group, `whose`.
        ForestRow(_line(r), r.loss, _verdict(r), f"n = {r.n:,.0f}", None if r.whose else r.upper)
        for r in rows[:MAX_GROUPS]
    ]
    error = metric_name(rows[0].metric) if rows else "error"
    return self_themed(forest_of(lines, margin, error, f"what {group} loses"))


def _verdict(row: ComparisonRow) -> Verdict:
    """Return the verdict that sets the mark of a row: not green if groups were not assessed."""
    return "inconclusive" if row.verdict == "no_harm" and row.lacking else row.verdict


def _line(row: ComparisonRow) -> str:
    name = f"{row.recipe} against {row.baseline}"
    return f"{row.part.label}: {name}" if row.part.label else name
